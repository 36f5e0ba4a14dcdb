"""The zoo: policies, what they come from, and each policy's validation score.

On disk are GHNs (bfloat16), which write the policies when first asked for, or else the policies themselves (float16).
Beside them are the expert that they learned from, states to compare policies on, an index of scores, and a manifest
with the hash of every file.
"""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch

from nnbench.tasks.files import file_sha256
from nnbench.tasks.policies.architectures import Architecture, load_splits, parse_architecture
from nnbench.tasks.policies.mlp import Weights, weights_sha256
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.registry import load_task
from nnbench.tasks.task import Task
from nnbench.tasks.tensors import parse_tensors
from nnbench.tasks.zoo.ghn import GHNConfig, GHNEnsemble
from nnbench.tasks.zoo.manifest import (
    POLICIES,
    SHIPPED,
    SourceName,
    ZooError,
    read_index,
    read_zoo_file,
    seeds_of,
    source_of,
    verify,
)
from nnbench.tasks.zoo.sources import Source, StoredPolicies


class Zoo:
    """An opened zoo; its files were checked against the manifest."""

    def __init__(
        self,
        task: Task,
        directory: Path,
        source_name: SourceName,
        source: Source,
        valid: dict[Architecture, set[int]],
        states: torch.Tensor,
        manifest_sha256: str,
    ) -> None:
        self.task = task
        self.directory = directory
        self.sha256 = manifest_sha256
        self.states = states
        """States to compare policies in, (1024, O), standardised."""
        self.source_name = source_name
        self._source = source
        self._valid = valid
        self._written: dict[Architecture, dict[int, Weights]] = {}
        self._digests: dict[Architecture, list[str]] = {}

    @classmethod
    def open(cls, task_source: str, directory: Path | None = None) -> Self:
        """Open the zoo in `directory`, without one the zoo that ships for the task.

        `task_source` is what `load_task` takes. Raises TaskError as that does, ZooError and DamagedError as `verify`
        does.
        """
        task = load_task(task_source)
        directory = directory if directory is not None else SHIPPED / task.name
        manifest = verify(directory, task)
        name = source_of(manifest)
        source = read_zoo_file(
            directory, manifest, POLICIES[name], partial(_parse_source, task=task, manifest=manifest)
        )
        valid: dict[Architecture, set[int]] = {}
        for row in read_index(directory):
            if row["valid"]:
                valid.setdefault(parse_architecture(row["arch"]), set()).add(row["ghn_seed"])
        states = read_zoo_file(directory, manifest, "states.safetensors", _parse_states)
        return cls(task, directory, name, source, valid, states, file_sha256(directory / "manifest.json"))

    def hypernetwork_policies(self, arch: Architecture) -> dict[int, Weights]:
        """GHN seed to what that GHN writes for this architecture. Raises ZooError where none wrote the zoo."""
        if self.source_name != "hypernetworks":
            raise ZooError(
                f"{self.directory}: no hypernetworks wrote this zoo (its source is {self.source_name}); choose a zoo "
                "of hypernetworks, as those that ship"
            )
        return self.policies(arch)

    def policies(self, arch: Architecture) -> dict[int, Weights]:
        """Seed to policy of this architecture, held out or not: for metrics, never for generators.

        There are none of an architecture that policies were not trained for.
        """
        if arch not in self._written:
            self._written[arch] = self._source.policies(arch)
            self._digests[arch] = [weights_sha256(weights) for weights in self._written[arch].values()]
        return self._written[arch]

    def changed(self) -> list[Architecture]:
        """Architectures whose policies somebody wrote into after they were handed out."""
        return [
            arch
            for arch, policies in self._written.items()
            if [weights_sha256(weights) for weights in policies.values()] != self._digests[arch]
        ]

    def training_set(self, *, reads: Collection[str] = ("weights",)) -> TrainingSet:
        """The view that a generator gets; with the hypernetworks if `reads` names them (see `nnbench.facts.Facts`)."""

        def networks(arch: Architecture) -> dict[int, Weights]:
            valid = self._valid.get(arch, set())
            return {seed: weights for seed, weights in self.policies(arch).items() if seed in valid}

        hypernetworks = self.hypernetwork_policies if "hypernetworks" in reads else None
        return TrainingSet(self.task, self.sha256, load_splits().train, networks, hypernetworks, self.changed)


def _parse_source(content: bytes, task: Task, manifest: Mapping[str, Any]) -> Source:
    seeds, tensors = seeds_of(manifest), parse_tensors(content)[0]
    if source_of(manifest) == "sgd":
        return StoredPolicies(tuple(seeds), task.observation_dim, task.action_dim, tensors)
    ensemble = GHNEnsemble(seeds, task.observation_dim, task.action_dim, GHNConfig(**manifest["distillation"]["ghn"]))
    ensemble.load_state_dict(tensors)  # bfloat16 values in float32 arithmetic
    return ensemble


def _parse_states(content: bytes) -> torch.Tensor:
    return parse_tensors(content)[0]["observations"]
