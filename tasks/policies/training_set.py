"""What a generator learns from: validated policies of the training architectures, and nothing that is held out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nnbench.errors import NnbenchError
from nnbench.tasks.policies.architectures import Architecture, architecture_name
from nnbench.tasks.policies.mlp import Weights, flatten_weights
from nnbench.tasks.task import Task

NORMALISED_STD = 0.538
"""G.pt's (paper, appendix A: "normalized to a target standard deviation")."""


class HeldOutAccess(NnbenchError, PermissionError):
    """A generator asked for networks that it must not have seen."""


@dataclass(frozen=True)
class TrainingSet:
    """What a generator learns from: the validated policies of the training architectures, and nothing else."""

    task: Task
    sha256: str
    """Identity of the zoo and the track: on the paper's track the hash of the zoo's manifest."""
    architectures: tuple[Architecture, ...]
    _networks: Callable[[Architecture], dict[int, Weights]]
    _hypernetworks: Callable[[Architecture], dict[int, Weights]] | None
    changed: Callable[[], list[Architecture]] = list
    """Architectures whose networks, which are shared, somebody wrote into."""
    _states: Callable[[], Tensor] | None = None
    holds_out: Callable[[Architecture], bool] = lambda arch: False
    """Whether the track asks for an architecture: one that a method draws by itself must not be trained on then."""
    rehearsal: bool = False
    """True in `nnbench check`: a few seconds of training are enough."""

    def networks(self, arch: Architecture) -> dict[int, Weights]:
        """GHN seed to that seed's validated policy. Raises HeldOutAccess for any but a training architecture."""
        if arch not in self.architectures:
            raise HeldOutAccess(
                f"{architecture_name(arch)} is no training architecture: generators learn from `.architectures` only"
            )
        return self._networks(arch)

    @cached_property
    def scale(self) -> float:
        """What to multiply weights by before diffusion: all parameters of all networks then have the standard
        deviation 0.538 (G.pt's; paper, appendix A: "normalized to a target standard deviation")."""
        policies = (policy for arch in self.architectures for policy in self.networks(arch).values())
        return NORMALISED_STD / float(torch.cat([flatten_weights(policy) for policy in policies]).std())

    @property
    def states(self) -> Tensor:
        """States that the expert and policies of one seed visited, standardised, (B, O), for methods whose `reads` name
        `states`; 16,384 in the zoos that ship.

        A zoo has one bank for all its tracks: the policies are of the paper's training architectures, also of those
        that another track holds out, and were not validated.

        Raises HeldOutAccess where `reads` does not name them, and DamagedError.
        """
        if self._states is None:
            raise HeldOutAccess('this method asks for states but does not declare it: add "states" to its `reads`')
        return self._states()

    def hypernetwork_policies(self, arch: Architecture) -> dict[int, Weights]:
        """GHN seed to what that GHN writes for any architecture, for methods whose `reads` name `hypernetworks`."""
        if self._hypernetworks is None:
            raise HeldOutAccess(
                'this method asks the hypernetworks but does not declare it: add "hypernetworks" to its `reads`'
            )
        return self._hypernetworks(arch)
