"""What the policies of a zoo come from: hypernetworks that write them, or a file that holds them."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nnbench.tasks.policies.architectures import Architecture, architecture_name, parameter_shapes
from nnbench.tasks.policies.mlp import Weights


class Source(Protocol):
    """S policies of an architecture, by seed; `nnbench.tasks.zoo.ghn.GHNEnsemble` and `StoredPolicies` are sources."""

    @property
    def seeds(self) -> tuple[int, ...]: ...

    def policies(self, arch: Architecture) -> dict[int, Weights]: ...


@dataclass(frozen=True)
class StoredPolicies:
    """Policies that were trained one by one, in half precision."""

    seeds: tuple[int, ...]
    observation_dim: int
    action_dim: int
    tensors: dict[str, Tensor]
    """By architecture and key, as `64-32-16-32/0.weight`, over the seeds: (S, ...), float16."""

    def policies(self, arch: Architecture) -> dict[int, Weights]:
        """The policies of this architecture by seed, in single precision; none of one that was not trained."""
        if stacked_name(arch, "0.weight") not in self.tensors:
            return {}
        keys = parameter_shapes(arch, self.observation_dim, self.action_dim)
        return {
            seed: {key: self.tensors[stacked_name(arch, key)][s].float() for key in keys}
            for s, seed in enumerate(self.seeds)
        }


def stacked_name(arch: Architecture, key: str) -> str:
    """What a tensor is called that holds one key of all policies of an architecture."""
    return f"{architecture_name(arch)}/{key}"
