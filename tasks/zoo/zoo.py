"""The zoo: policies, what they come from, and each policy's validation score.

On disk are GHNs (bfloat16), which write the policies when first asked for, or else the policies themselves (float16).
Beside them are the expert that they learned from, states to compare policies on, an index of scores, and a manifest
with the hash of every file.
"""

from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Self

import torch

from nnbench.tasks.files import file_sha256
from nnbench.tasks.policies.architectures import Architecture, load_further, parse_architecture
from nnbench.tasks.policies.mlp import Weights, weights_sha256
from nnbench.tasks.policies.tracks import Track, load_track
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.registry import load_task
from nnbench.tasks.task import Filter, Task
from nnbench.tasks.tensors import parse_tensors
from nnbench.tasks.zoo.filtering import keep_best
from nnbench.tasks.zoo.ghn import GHNConfig, GHNEnsemble
from nnbench.tasks.zoo.manifest import (
    POLICIES,
    ZooError,
    read_bank,
    read_index,
    read_zoo_file,
    seeds_of,
    shipped_folder,
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
        track: Track,
        source: Source,
        valid: dict[Architecture, set[int]],
        states: torch.Tensor,
        read_bank: Callable[[], torch.Tensor],
        manifest_sha256: str,
    ) -> None:
        self.task = task
        self.directory = directory
        self.track = track
        self.sha256 = track.identity(manifest_sha256)
        """Identity of what is learned from: of the hash of the manifest, and of the track."""
        self.states = states
        """States to compare policies in, (1024, O), standardised."""
        self.source_name = track.source
        """What the policies come from."""
        self._read_bank = cache(read_bank)
        self._source = source
        self._valid = valid
        self._written: dict[Architecture, dict[int, Weights]] = {}
        self._digests: dict[Architecture, list[str]] = {}

    @classmethod
    def open(cls, task_source: str, directory: Path | None = None, track_source: str = "paper") -> Self:
        """Open the zoo in `directory`, without one the zoo that ships for the task, as a track splits it.

        `task_source` is what `load_task` takes, `track_source` what `load_track` takes. Raises as these do, and
        ZooError and DamagedError as `verify` does.
        """
        task, track = load_task(task_source), load_track(track_source)
        directory = directory if directory is not None else shipped_folder(task.name, track.source)
        manifest = verify(directory, task)
        if (found := source_of(manifest)) != track.source:
            raise ZooError(
                f"{directory}: a zoo of source {found}, but track {track.name} is about {track.source}; choose another "
                "--zoo or --track"
            )
        parse = partial(_parse_source, task=task, manifest=manifest)
        source = read_zoo_file(directory, manifest, POLICIES[track.source], parse)
        valid: dict[Architecture, set[int]] = {}
        rows = read_index(directory)
        if track.name != "paper":  # by whose splits the zoo was filtered when it was built
            rows = keep_best(rows, Filter(**manifest["filter"]), track.splits)
        for row in rows:
            if row["valid"]:
                valid.setdefault(parse_architecture(row["arch"]), set()).add(row["ghn_seed"])
        states = read_zoo_file(directory, manifest, "states.safetensors", _parse_states)
        bank = partial(read_bank, directory, manifest, _parse_states)
        return cls(task, directory, track, source, valid, states, bank, file_sha256(directory / "manifest.json"))

    @property
    def opened_from(self) -> tuple[str, Path, str]:
        """What `open` makes the same zoo of, in any process."""
        return self.task.source, self.directory.absolute(), self.track.origin

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
        """The view that a generator gets; hypernetworks and states only if `reads` names them (`nnbench.facts`)."""

        def networks(arch: Architecture) -> dict[int, Weights]:
            valid = self._valid.get(arch, set())
            return {seed: weights for seed, weights in self.policies(arch).items() if seed in valid}

        hypernetworks = self.hypernetwork_policies if "hypernetworks" in reads else None
        states = self._read_bank if "states" in reads else None
        splits = self.track.splits
        asked = {*splits.unseen, *splits.outside, *chain.from_iterable(load_further().values())}
        return TrainingSet(
            self.task,
            self.sha256,
            splits.train,
            networks,
            hypernetworks,
            self.changed,
            states,
            holds_out=asked.__contains__,
        )


def _parse_source(content: bytes, task: Task, manifest: Mapping[str, Any]) -> Source:
    seeds, tensors = seeds_of(manifest), parse_tensors(content)[0]
    if source_of(manifest) == "sgd":
        return StoredPolicies(tuple(seeds), task.observation_dim, task.action_dim, tensors)
    ensemble = GHNEnsemble(seeds, task.observation_dim, task.action_dim, GHNConfig(**manifest["distillation"]["ghn"]))
    ensemble.load_state_dict(tensors)
    return ensemble.double()  # once, not for every architecture that is asked for


def _parse_states(content: bytes) -> torch.Tensor:
    return parse_tensors(content)[0]["observations"].to(torch.float32)
