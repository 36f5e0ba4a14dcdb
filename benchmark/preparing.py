"""What `nnbench run` is asked for, checked before anything is trained or simulated, and the units that follow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nnbench.api import Generator
from nnbench.errors import InputError, NnbenchError
from nnbench.facts import Facts
from nnbench.folders import require_usable
from nnbench.harness.isolation import Abilities, describe
from nnbench.harness.outcome import Outcome
from nnbench.harness.process import MethodError
from nnbench.harness.trained import obtain
from nnbench.harness.units import check_simulated, run_units
from nnbench.protocol import JOINT, Protocol, Unit, architectures_asked, named_protocol
from nnbench.registry import MethodSource, RegistryError
from nnbench.store.checkpoints import TRAINED, Trained, find
from nnbench.store.store import Store
from nnbench.tasks.policies.architectures import Architecture, load_further
from nnbench.tasks.policies.tracks import Track, load_track
from nnbench.tasks.simulation.workers import check_workers
from nnbench.tasks.zoo.zoo import Zoo
from nnbench.zoos import ZooFolder, open_zoo

MethodName = str | type[Generator]
"""A name that `nnbench methods` lists, or a class `Method` itself."""


@dataclass(frozen=True)
class Run:
    """Units of one task that have no results yet. Iterate over it to measure them."""

    units: Sequence[Unit]
    trained: Mapping[str, Trained]
    """The checkpoint of each method."""
    sources: Mapping[str, MethodSource]
    zoo: Zoo
    store: Store
    workers: int | None = None
    full: bool = False
    failed: Sequence[Outcome] = ()
    """Units of methods that cannot be imported or trained; each names no checkpoint."""

    def __len__(self) -> int:
        return len(self.failed) + len(self.units)

    def __iter__(self) -> Iterator[Outcome]:
        """Measure the units one after another. A method's error is in its outcome; the other units are measured."""
        yield from self.failed
        yield from run_units(
            self.units, self.sources, self.trained, self.zoo, self.store, workers=self.workers, full=self.full
        )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What was asked of one task, before anything is trained or simulated."""

    sources: Mapping[str, MethodSource]
    abilities: Mapping[str, Abilities]
    """Of the methods that can be imported."""
    faults: Mapping[str, NnbenchError]
    """Why the others cannot be."""
    cannot: Mapping[str, str]
    """Methods that are left out, and why: what is asked is nothing that they do."""
    archs: Sequence[Architecture | None]
    seed: int
    protocol: Protocol
    zoo: Zoo
    store: Store
    workers: int | None
    full: bool
    retrain: bool

    @cached_property
    def untrained(self) -> list[str]:
        """The methods that learn something and have no checkpoint yet. Raises CheckpointError where one is damaged."""
        return [name for name, trained in self._found.items() if trained is None and self.abilities[name].learns]

    @cached_property
    def missing(self) -> Mapping[str, int]:
        """By method how many units have no results yet."""
        return {
            name: sum(not self.store.finished(unit) for unit in self._units(name, trained.sha256))
            if trained
            else len(self.archs)
            for name, trained in self._found.items()
        }

    def train(self) -> Run:
        """Train what is untrained. A method that fails in that costs the others nothing: its units have the error.

        Raises CheckpointError where a checkpoint is damaged.
        """
        trained: dict[str, Trained] = {}
        faults = dict(self.faults)
        for name in self.abilities:
            try:
                trained[name] = obtain(self.sources[name], self.zoo, self.seed, retrain=self.retrain)
            except MethodError as error:
                faults[name] = error
        units = [unit for name, found in trained.items() for unit in self._units(name, found.sha256)]
        missing = [unit for unit in units if not self.store.finished(unit)]
        failed = [Outcome(unit=unit, error=error) for name, error in faults.items() for unit in self._units(name, "")]
        return Run(missing, trained, self.sources, self.zoo, self.store, self.workers, self.full, failed)

    @cached_property
    def _found(self) -> dict[str, Trained | None]:
        task, zoo = self.zoo.task.name, self.zoo.sha256
        codes = {name: self.sources[name].code_sha256 for name in self.abilities}
        return {name: None if self.retrain else find(name, task, zoo, self.seed, code) for name, code in codes.items()}

    def _units(self, method: str, method_sha256: str) -> list[Unit]:
        return [
            Unit(
                protocol=self.protocol,
                task=self.zoo.task.name,
                method=method,
                method_sha256=method_sha256,
                generator_seed=self.seed,
                arch=arch,
                **self.zoo.track.unit_fields(arch),
            )
            for arch in self.archs
        ]


def prepare(
    method: MethodName | Sequence[MethodName],
    *,
    task: str,
    split: str,
    archs: str | None,
    seed: int,
    protocol: Protocol | str,
    zoo: ZooFolder,
    results: str | Path,
    plugins: Sequence[str | Path],
    workers: int | None,
    full: bool,
    retrain: bool,
    track: str = "paper",
) -> Prepared:
    """Check what `run` is asked for; trains nothing. Arguments are those of `run`. Raises InputError."""
    sources, asked = sources_of(method, plugins), architectures_asked(split, archs, load_track(track).splits)
    check_numbers(seed, workers)
    protocol = protocol if isinstance(protocol, Protocol) else named_protocol(protocol)
    opened = open_zoo(task, zoo, track=track)
    check_simulated(protocol, opened.task)
    for folder in (Path(results), TRAINED):
        require_usable(folder)
    reasons = {name: _cannot(source.facts, opened.track, split) for name, source in sources.items()}
    cannot = {name: reason for name, reason in reasons.items() if reason}
    sources = {name: source for name, source in sources.items() if name not in cannot}
    if not sources:
        raise InputError("; ".join(cannot.values()))
    abilities: dict[str, Abilities] = {}
    faults: dict[str, NnbenchError] = {}
    for name, source in sources.items():
        try:
            abilities[name] = describe(source)
        except (MethodError, RegistryError) as error:
            faults[name] = error
        else:
            _check_split(source.facts, abilities[name], split)
    return Prepared(
        sources=sources,
        abilities=abilities,
        faults=faults,
        cannot=cannot,
        archs=asked,
        seed=seed,
        protocol=protocol,
        zoo=opened,
        store=Store(Path(results)),
        workers=workers,
        full=full,
        retrain=retrain,
    )


def sources_of(method: MethodName | Sequence[MethodName], plugins: Sequence[str | Path]) -> dict[str, MethodSource]:
    """By name, where the methods are. Raises InputError."""
    methods = [method] if isinstance(method, str | type) else list(method)
    if not methods:
        raise InputError("--method: no method is named; `nnbench methods` lists them")
    for one in methods:
        if not isinstance(one, str | type):
            raise InputError(f"method {one!r}: expected a name that `nnbench methods` lists, or a class")
    found = [MethodSource.of(one, [Path(path) for path in plugins]) for one in methods]
    return {source.name: source for source in found}


def check_numbers(seed: int, workers: int | None = None) -> None:
    """Raises InputError."""
    if type(seed) is not int or not 0 <= seed < 2**31:  # True is a number to Python, and to no file
        raise InputError(f"--seed {seed}: expected 0 to {2**31 - 1}")
    check_workers(workers)


def check_source(facts: Facts, track: Track) -> None:
    """Raises InputError for a method that asks hypernetworks, on a track whose policies none wrote."""
    if reason := _cannot(facts, track, ""):
        raise InputError(reason)


def check_architecture(facts: Facts, track: Track, arch: Architecture) -> None:
    """Raises InputError for an architecture that a method does not write, as its class says."""
    trained = track.splits.train
    if arch in trained:
        return
    if facts.seen_only:
        raise InputError(f"method {facts.name} cannot: it writes only architectures that it was trained on")
    further = {
        "depths": len(arch) not in {len(one) for one in trained},
        "widths": not set(arch) <= {width for one in trained for width in one},
    }
    for split, asked in further.items():
        if asked and (reason := _cannot(facts, track, split)):
            raise InputError(reason)


def _cannot(facts: Facts, track: Track, split: str) -> str:
    """Why a method cannot do what is asked, as its class says; empty where it can."""
    if split in load_further() and split not in facts.writes:
        return f"method {facts.name} cannot: it writes no {split} that it was not trained on"
    if track.source != "hypernetworks" and "hypernetworks" in facts.reads:
        return f"method {facts.name} cannot: no hypernetworks wrote the policies of track {track.name}"
    return ""


def _check_split(facts: Facts, abilities: Abilities, split: str) -> None:
    if facts.seen_only and split not in ("seen", JOINT):
        raise InputError(f"method {facts.name} writes only architectures it was trained on; use --split seen")
    if split == JOINT and not abilities.joint:
        raise InputError(f"method {facts.name} does not choose architectures (no `generate_joint`)")
