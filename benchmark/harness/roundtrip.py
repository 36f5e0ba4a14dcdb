"""What an autoencoder loses: training policies beside their reconstructions, encoded and decoded.

A method that samples in a latent space writes policies no better than its decoder does. Nothing is sampled here.
"""

import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnbench.store.roundtrip import roundtrip_file, write_roundtrips
from nnbench.tasks.policies.architectures import Architecture, architecture_name
from nnbench.tasks.policies.mlp import Weights, flatten_weights
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.build import used_versions
from nnbench.tasks.zoo.validation import score_policies
from nnbench.tasks.zoo.zoo import Zoo


class Reconstructs(typing.Protocol):
    """Encodes and decodes training policies when asked, as an `Isolated` method does."""

    def reconstruct(self, arch: Architecture, ghn_seeds: Sequence[int]) -> list[Weights]: ...


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What is asked of one autoencoder."""

    method: str
    method_sha256: str
    """`Trained.sha256`."""
    generator_seed: int
    archs: Sequence[Architecture]
    """Training architectures."""
    episodes: int
    """Each policy is rolled out on this many validation episodes, the first ones."""


@dataclass(frozen=True)
class RoundTrip:
    """The round trip of one architecture."""

    arch: Architecture
    policies: int
    """Training policies of this architecture in the zoo. Without one there are no rows."""
    measured: bool
    """False if the rows were there already, or there are none."""


def measure(
    asked: Reconstruction, method: Reconstructs, zoo: Zoo, simulator: Simulator, results: Path
) -> Iterator[RoundTrip]:
    """Store one file per architecture, with one row per training policy; yields each when its file is there.

    Raises MethodError where the method does not answer with policies, and WriteError on a full disk.
    """
    training = zoo.training_set()
    for arch in asked.archs:
        networks = training.networks(arch)
        identity = {
            "task": zoo.task.name,
            "zoo_sha256": zoo.sha256,
            "method": asked.method,
            "method_sha256": asked.method_sha256,
            "generator_seed": asked.generator_seed,
            "arch": architecture_name(arch),
            "episodes": asked.episodes,
        }
        path = roundtrip_file(results, identity)
        missing = bool(networks) and not path.with_suffix(".json").exists()
        if missing:
            decoded = method.reconstruct(arch, list(networks))
            write_roundtrips(path, _rows(identity, networks, decoded, simulator), used_versions())
        yield RoundTrip(arch, len(networks), missing)


def _rows(
    identity: Mapping[str, Any], networks: Mapping[int, Weights], decoded: Sequence[Weights], simulator: Simulator
) -> list[dict[str, Any]]:
    policy_filter = replace(simulator.task.filter, episodes=identity["episodes"])
    scores = score_policies(simulator, [*networks.values(), *decoded], policy_filter)
    rows = []
    for position, (ghn_seed, network) in enumerate(networks.items()):
        before, after = scores[position], scores[len(networks) + position]
        flat = flatten_weights(network)  # (P,)
        rows.append(
            {**identity, "ghn_seed": ghn_seed, **before}
            | {f"reconstructed_{name}": value for name, value in after.items()}
            | {"relative_l2": float((flatten_weights(decoded[position]) - flat).norm() / flat.norm())}
        )
    return rows
