"""Measure weight generators: what `nnbench run`, `train`, `roundtrip` and `check` do, from Python.

Everything that these functions finish is stored at once, and a second call does only what is missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nnbench.analysis.round_trips import average
from nnbench.api import Generator
from nnbench.errors import InputError
from nnbench.facts import Facts
from nnbench.folders import RESULTS
from nnbench.harness.checking import CheckResult, run_checks
from nnbench.harness.isolation import Abilities, Isolated, describe
from nnbench.harness.outcome import Outcome
from nnbench.harness.process import MethodError
from nnbench.harness.roundtrip import Reconstruction, RoundTrip, measure
from nnbench.harness.trained import obtain
from nnbench.harness.units import check_simulated, run_units
from nnbench.presentation.tables.zoo import round_trip_table
from nnbench.protocol import JOINT, Protocol, Unit, architectures_asked
from nnbench.reading import Tables
from nnbench.registry import MethodSource, RegistryError
from nnbench.store.checkpoints import Trained
from nnbench.store.roundtrip import read_roundtrips
from nnbench.store.store import Store
from nnbench.tasks.policies.architectures import Architecture, architectures_of
from nnbench.tasks.simulation.workers import Simulator
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
    failed: Sequence[Outcome] = ()
    """Units of methods that could not be trained."""
    workers: int | None = None
    full: bool = False

    def __len__(self) -> int:
        return len(self.failed) + len(self.units)

    def __iter__(self) -> Iterator[Outcome]:
        """Measure the units one after another. A method's error is in its outcome; the other units are measured."""
        yield from self.failed
        yield from run_units(
            self.units,
            self.sources,
            self.trained,
            self.zoo,
            self.store,
            workers=self.workers,
            full=self.full,
        )


def run(
    method: MethodName | Sequence[MethodName],
    *,
    task: str = "PickCube-v1",
    split: str = "unseen",
    archs: str | None = None,
    seed: int = 0,
    protocol: Protocol | None = None,
    zoo: ZooFolder = None,
    results: str | Path = RESULTS,
    plugins: Sequence[str | Path] = (),
    workers: int | None = None,
    full: bool = False,
    retrain: bool = False,
) -> Run:
    """Prepare a measurement: train methods without a checkpoint, and return the units that have no results yet.

    Nothing is simulated until you loop over the returned `Run`. Each item is an `Outcome`, one per method and
    architecture: the unit, counts, seconds, and the error where the method failed. In a script, call this below
    `if __name__ == "__main__":`, for simulation and methods run in processes of their own.

    Args:
        method: One or several methods, by name or as classes.
        task: ManiSkill environment, or a Python file that defines a task.
        split: `seen`, `unseen`, `outside`, or `joint`, where the method chooses the architectures.
        archs: Only these architectures of the split, as one string, `"32-32-16-64,16-16-16-32"`; `"all"` with the
            split `seen` for all 64 training architectures.
        seed: Seed of training and of the samples.
        protocol: Number of samples and episodes; default the benchmark's own.
        zoo: Folder of a zoo that you built; default the one that ships.
        results: Folder for the results.
        plugins: Paths of Python files with further methods.
        workers: Simulation processes; default one per core. Results do not depend on it.
        full: Roll out every sample on all selection episodes, even those that can no longer reach the top.
        retrain: Train anew where other code trained the checkpoint.

    Raises InputError for a method that cannot write the split. A method that cannot be trained costs only its own
    units: their outcomes have the error.
    """
    sources = _sources(method, plugins)
    _check_numbers(seed, workers)
    asked, protocol = architectures_asked(split, archs), protocol or Protocol()
    opened, store = open_zoo(task, zoo), Store(Path(results))
    check_simulated(protocol, opened.task)
    trained: dict[str, Trained] = {}
    failed: list[Outcome] = []
    units: list[Unit] = []
    for name, source in sources.items():
        named = partial(Unit, protocol=protocol, task=opened.task.name, method=name, generator_seed=seed)
        try:
            _check_split(source.facts, describe(source), split)
            trained[name] = obtain(source, opened, seed, retrain=retrain)
        except (MethodError, RegistryError) as error:  # it costs the other methods nothing
            failed += [Outcome(unit=named(method_sha256="", arch=arch), error=error) for arch in asked]
            continue
        units += [named(method_sha256=trained[name].sha256, arch=arch) for arch in asked]
    missing = [unit for unit in units if not store.finished(unit)]
    return Run(missing, trained, sources, opened, store, failed, workers, full)


@dataclass(frozen=True)
class RoundTrips:
    """Training policies to encode and decode. Iterate over it to measure them; what is stored is not done again."""

    trained: Mapping[str, Trained]
    sources: Mapping[str, MethodSource]
    zoo: Zoo
    archs: Sequence[Architecture]
    episodes: int
    seed: int
    results: Path
    workers: int | None = None

    def __len__(self) -> int:
        return len(self.trained) * len(self.archs)

    def __iter__(self) -> Iterator[RoundTrip]:
        """One item per method and architecture. Raises MethodError where a method does not answer with policies."""
        with Simulator(self.zoo.task, self.workers) as simulator:
            for name, trained in self.trained.items():
                asked = Reconstruction(
                    method=name,
                    method_sha256=trained.sha256,
                    generator_seed=self.seed,
                    archs=self.archs,
                    episodes=self.episodes,
                )
                where = trained.folder, self.zoo.task.source, self.zoo.directory
                with Isolated(self.sources[name], *where) as method:
                    yield from measure(asked, method, self.zoo, simulator, self.results)

    def tables(self) -> Tables:
        """One table of these round trips; those of other trainings or numbers of episodes would not average."""
        task, asked = self.zoo.task.name, {(trained.sha256, self.episodes) for trained in self.trained.values()}
        stored = read_roundtrips(self.results, task)
        rows = [row for row in stored if (row["method_sha256"], row["episodes"]) in asked]
        return Tables([round_trip_table(average(rows, task), task)])


def roundtrip(
    method: MethodName | Sequence[MethodName],
    *,
    task: str = "PickCube-v1",
    archs: str | None = None,
    episodes: int = 64,
    seed: int = 0,
    zoo: ZooFolder = None,
    results: str | Path = RESULTS,
    plugins: Sequence[str | Path] = (),
    workers: int | None = None,
) -> RoundTrips:
    """Train the methods where no checkpoint exists, and return the round trips of training policies to measure.

    `archs` names training architectures, with commas between them, or `all`; `episodes` are validation episodes per
    policy. The other arguments are those of `run`. Raises InputError for a method without an autoencoder.
    """
    sources = _sources(method, plugins)
    _check_numbers(seed, workers)
    for name, source in sources.items():
        if not describe(source).autoencoder:
            raise InputError(f"method {name} does not encode policies (no `reconstruct`)")
    if episodes < 1:
        raise InputError(f"--episodes {episodes}: expected at least 1")
    chosen, opened = architectures_of("seen", archs), open_zoo(task, zoo)
    trained = {name: obtain(source, opened, seed) for name, source in sources.items()}
    return RoundTrips(trained, sources, opened, chosen, episodes, seed, Path(results), workers)


def train(
    method: MethodName,
    *,
    task: str = "PickCube-v1",
    seed: int = 0,
    zoo: ZooFolder = None,
    plugins: Sequence[str | Path] = (),
    retrain: bool = False,
) -> Trained:
    """Train a method and keep its checkpoint in ./runs/methods; an interrupted training goes on.

    What is trained is returned as it is, unless `retrain`. The other arguments are those of `run`. Raises MethodError
    where the training fails.
    """
    (source,) = _sources([method], plugins).values()
    _check_numbers(seed)
    return obtain(source, open_zoo(task, zoo), seed, retrain=retrain)


def check(method: MethodName, *, plugins: Sequence[str | Path] = ()) -> list[CheckResult]:
    """Examine on a toy zoo whether a method keeps the contract of `nnbench.api`; one result per check."""
    (source,) = _sources([method], plugins).values()
    return list(run_checks(source))


def _sources(method: MethodName | Sequence[MethodName], plugins: Sequence[str | Path]) -> dict[str, MethodSource]:
    methods = [method] if isinstance(method, str | type) else list(method)
    if not methods:
        raise InputError("--method: no method is named; `nnbench methods` lists them")
    for one in methods:
        if not isinstance(one, str | type):
            raise InputError(f"method {one!r}: expected a name that `nnbench methods` lists, or a class")
    found = [MethodSource.of(one, [Path(path) for path in plugins]) for one in methods]
    return {source.name: source for source in found}


def _check_numbers(seed: int, workers: int | None = None) -> None:
    if not 0 <= seed < 2**31:
        raise InputError(f"--seed {seed}: expected 0 to {2**31 - 1}")
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: expected at least 1")


def _check_split(facts: Facts, abilities: Abilities, split: str) -> None:
    name = facts.name
    if facts.seen_only and split not in ("seen", JOINT):
        raise InputError(f"method {name} writes only architectures it was trained on; use --split seen")
    if split == JOINT and not abilities.joint:
        raise InputError(f"method {name} does not choose architectures (no `generate_joint`)")
