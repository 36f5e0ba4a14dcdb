"""What `nnbench run` is asked for, checked before anything is trained or simulated, and the units that follow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nnbench.api import Generator, JointGenerator, Untrained
from nnbench.errors import InputError
from nnbench.harness.outcome import Outcome
from nnbench.harness.trained import obtain
from nnbench.harness.units import run_units
from nnbench.protocol import JOINT, Protocol, Unit, architectures_asked, named_protocol
from nnbench.registry import MethodSource
from nnbench.store.checkpoints import Trained, find
from nnbench.store.store import Store
from nnbench.tasks.policies.architectures import Architecture
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

    def __len__(self) -> int:
        return len(self.units)

    def __iter__(self) -> Iterator[Outcome]:
        """Measure the units one after another. A method's error is in its outcome; the other units are measured."""
        return run_units(
            self.units, self.sources, self.trained, self.zoo, self.store, workers=self.workers, full=self.full
        )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What was asked of one task, before anything is trained or simulated."""

    sources: Mapping[str, MethodSource]
    archs: Sequence[Architecture | None]
    seed: int
    protocol: Protocol
    zoo: Zoo
    store: Store
    workers: int | None
    full: bool

    @cached_property
    def untrained(self) -> list[str]:
        """The methods that learn something and have no checkpoint yet. Raises CheckpointError where one is damaged."""
        missing = [name for name, trained in self._found.items() if trained is None]
        return [name for name in missing if not issubclass(self.sources[name].load(), Untrained)]

    @cached_property
    def missing(self) -> Mapping[str, int]:
        """By method how many units have no results yet."""
        return {
            name: sum(not self.store.finished(unit) for unit in self._units(name, trained))
            if trained
            else len(self.archs)
            for name, trained in self._found.items()
        }

    def train(self) -> Run:
        """Train what is untrained. Raises what training raises."""
        trained = {name: obtain(source, self.zoo, self.seed) for name, source in self.sources.items()}
        units = [unit for name in self.sources for unit in self._units(name, trained[name])]
        missing = [unit for unit in units if not self.store.finished(unit)]
        return Run(missing, trained, self.sources, self.zoo, self.store, self.workers, self.full)

    @cached_property
    def _found(self) -> dict[str, Trained | None]:
        task, zoo = self.zoo.task.name, self.zoo.sha256
        return {name: find(name, task, zoo, self.seed, source.code_sha256) for name, source in self.sources.items()}

    def _units(self, method: str, trained: Trained) -> list[Unit]:
        return [
            Unit(
                protocol=self.protocol,
                task=self.zoo.task.name,
                method=method,
                method_sha256=trained.sha256,
                generator_seed=self.seed,
                arch=arch,
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
) -> Prepared:
    """Check what `run` is asked for; trains nothing. Arguments are those of `run`. Raises InputError."""
    sources = sources_of(method, plugins)
    check_numbers(seed, workers)
    for source in sources.values():
        _check_split(source.load(), split)
    return Prepared(
        sources=sources,
        archs=architectures_asked(split, archs),
        seed=seed,
        protocol=protocol if isinstance(protocol, Protocol) else named_protocol(protocol),
        zoo=open_zoo(task, zoo),
        store=Store(Path(results)),
        workers=workers,
        full=full,
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
    if not 0 <= seed < 2**31:
        raise InputError(f"--seed {seed}: expected 0 to {2**31 - 1}")
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: expected at least 1")


def _check_split(kind: type[Generator], split: str) -> None:
    if kind.seen_only and split not in ("seen", JOINT):
        raise InputError(f"method {kind.name} writes only architectures it was trained on; use --split seen")
    if split == JOINT and not issubclass(kind, JointGenerator):
        raise InputError(f"method {kind.name} does not choose architectures (no `generate_joint`)")
