"""What an autoencoder loses: training policies beside what is left of them, encoded and decoded.

A method that samples in a latent space writes policies no better than its decoder does. Here nothing is sampled.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from nnbench.harness.trained import Trained
from nnbench.tasks.files import file_sha256, read_rows, write_json, write_rows
from nnbench.tasks.policies.architectures import Architecture, architecture_name
from nnbench.tasks.policies.mlp import Weights, flatten_weights
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.zoo import Zoo, score_policies, used_versions


class RoundTripError(RuntimeError):
    """Stored round trips that are damaged."""


class Source(Protocol):
    """Who is asked: an `Isolated` method."""

    def reconstruct(self, arch: Architecture, ghn_seeds: Sequence[int]) -> list[Weights]: ...


def measure(
    method: str,
    trained: Trained,
    generator_seed: int,
    source: Source,
    zoo: Zoo,
    simulator: Simulator,
    archs: Sequence[Architecture],
    results: Path,
    episodes: int,
) -> Iterator[Architecture]:
    """Store one row a training policy, in a file an architecture; yields each architecture when its file is there.

    Policies and reconstructions are rolled out on the first `episodes` validation episodes. Raises MethodError where
    the method does not answer with policies.
    """
    training = zoo.training_set()
    policy_filter = replace(zoo.task.filter, episodes=episodes)
    for arch in archs:
        networks = training.networks(arch)
        asked = {
            "task": zoo.task.name,
            "zoo_sha256": zoo.sha256,
            "method": method,
            "method_sha256": trained.sha256,
            "generator_seed": generator_seed,
            "arch": architecture_name(arch),
            "episodes": episodes,
        }
        path = _file(results, asked)
        if networks and not path.with_suffix(".json").exists():
            decoded = source.reconstruct(arch, list(networks))
            scores = score_policies(simulator, [*networks.values(), *decoded], policy_filter)
            rows = []
            for position, (ghn_seed, network) in enumerate(networks.items()):
                before, after = scores[position], scores[len(networks) + position]
                flat = flatten_weights(network)
                rows.append(
                    asked
                    | {"ghn_seed": ghn_seed, **before}
                    | {f"reconstructed_{name}": value for name, value in after.items()}
                    | {"relative_l2": float((flatten_weights(decoded[position]) - flat).norm() / flat.norm())}
                )
            write_rows(path, rows)
            write_json(path.with_suffix(".json"), {"sha256": file_sha256(path), "versions": used_versions()})
        yield arch


def read(results: Path, task: str) -> list[dict[str, Any]]:
    """All rows of a task. Raises RoundTripError where a file is not what was written."""
    rows: list[dict[str, Any]] = []
    for manifest in sorted(_folder(results).glob("*.json")):  # written last: what it describes is whole
        path = manifest.with_suffix(".parquet")
        try:
            whole = file_sha256(path) == json.loads(manifest.read_text())["sha256"]
        except (FileNotFoundError, ValueError, KeyError):
            whole = False
        if not whole:
            raise RoundTripError(
                f"{path}: missing or corrupt, its sha256 is not the one in its manifest; delete {manifest.name} and "
                "run `nnbench roundtrip` again"
            )
        rows += read_rows(path)
    return [row for row in rows if row["task"] == task]


def _folder(results: Path) -> Path:
    return results / "roundtrip"


def _file(results: Path, asked: Mapping[str, Any]) -> Path:
    """Named by what was asked, so that other numbers have other files."""
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    name = f"{asked['method']}-{asked['task']}-{asked['arch']}-s{asked['generator_seed']}-{digest[:12]}"
    return _folder(results) / f"{name}.parquet"
