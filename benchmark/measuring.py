"""Measure weight generators: what `nnbench run`, `train`, `roundtrip` and `check` do, from Python.

Everything that these functions finish is stored at once, and a second call does only what is missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnbench.analysis.round_trips import average
from nnbench.errors import InputError
from nnbench.folders import RESULTS, require_usable
from nnbench.harness.checking import CheckResult, run_checks
from nnbench.harness.isolation import Isolated, describe
from nnbench.harness.process import MethodError
from nnbench.harness.roundtrip import Reconstruction, RoundTrip, measure
from nnbench.harness.trained import obtain
from nnbench.preparing import MethodName, Run, check_numbers, check_source, prepare, sources_of
from nnbench.presentation.tables.zoo import round_trip_table
from nnbench.protocol import FIRST_EVALUATION_SEED, Protocol
from nnbench.reading import Tables
from nnbench.registry import MethodSource
from nnbench.store.checkpoints import TRAINED, Trained
from nnbench.store.roundtrip import read_roundtrips
from nnbench.tasks.policies.architectures import Architecture, architectures_of
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.zoo import Zoo
from nnbench.zoos import ZooFolder, open_zoo


def run(
    method: MethodName | Sequence[MethodName],
    *,
    task: str = "PickCube-v1",
    split: str = "unseen",
    archs: str | None = None,
    seed: int = 0,
    protocol: Protocol | str = "paper",
    track: str = "paper",
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
        split: `seen`, `unseen`, `outside`, `widths` or `depths` (other ones than were trained on), or `joint`, where
            the method chooses the architectures.
        archs: Only these architectures of the split, as one string, `"32-32-16-64,16-16-16-32"`; `"all"` with the
            split `seen` for all 64 training architectures.
        seed: Seed of training and of the samples.
        protocol: `paper`, the benchmark's own, `quick` for a first look, or numbers of your own.
        track: What is learned from and asked for: a name that `nnbench tracks` lists, or the path of a track's file.
        zoo: Folder of a zoo that you built; default the one that ships.
        results: Folder for the results.
        plugins: Paths of Python files with further methods.
        workers: Simulation processes; default one per core. Results do not depend on it.
        full: Roll out every sample on all selection episodes, even those that can no longer reach the top.
        retrain: Train the methods anew, also those with a checkpoint.

    Raises InputError for a method that cannot write the split, and CheckpointError for a damaged checkpoint. A method
    that cannot be imported or trained costs only its own units: their outcomes have the error.
    """
    return prepare(
        method,
        task=task,
        split=split,
        archs=archs,
        seed=seed,
        protocol=protocol,
        zoo=zoo,
        results=results,
        plugins=plugins,
        workers=workers,
        full=full,
        retrain=retrain,
        track=track,
    ).train()


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
        """One item per method and architecture.

        Raises MethodError where a method does not answer with policies, after the other methods are done.
        """
        faults: list[MethodError] = []
        with Simulator(self.zoo.task, self.workers) as simulator:
            for name, trained in self.trained.items():
                asked = Reconstruction(
                    method=name,
                    method_sha256=trained.sha256,
                    generator_seed=self.seed,
                    archs=self.archs,
                    episodes=self.episodes,
                )
                try:
                    with Isolated(self.sources[name], trained.folder, self.zoo.opened_from) as method:
                        yield from measure(asked, method, self.zoo, simulator, self.results)
                except MethodError as error:
                    faults.append(error)
        if faults:
            raise MethodError("; ".join(map(str, faults)))

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
    sources = sources_of(method, plugins)
    check_numbers(seed, workers)
    for name, source in sources.items():
        if not describe(source).autoencoder:
            raise InputError(f"method {name} does not encode policies (no `reconstruct`)")
    chosen, opened = architectures_of("seen", archs), open_zoo(task, zoo)
    for source in sources.values():
        check_source(source.facts, opened.track)
    most = FIRST_EVALUATION_SEED - opened.task.filter.first_seed
    if not 1 <= episodes <= most:
        raise InputError(f"--episodes {episodes}: expected 1 to {most}")
    for folder in (Path(results), TRAINED):
        require_usable(folder)
    trained = {name: obtain(source, opened, seed) for name, source in sources.items()}
    return RoundTrips(trained, sources, opened, chosen, episodes, seed, Path(results), workers)


def train(
    method: MethodName,
    *,
    task: str = "PickCube-v1",
    seed: int = 0,
    track: str = "paper",
    zoo: ZooFolder = None,
    plugins: Sequence[str | Path] = (),
    retrain: bool = False,
) -> Trained:
    """Train a method and keep its checkpoint in ./runs/methods; an interrupted training goes on.

    What is trained is returned as it is, unless `retrain`. The other arguments are those of `run`. Raises MethodError
    where the training fails.
    """
    (source,) = sources_of([method], plugins).values()
    check_numbers(seed)
    require_usable(TRAINED)
    opened = open_zoo(task, zoo, track=track)
    check_source(source.facts, opened.track)
    return obtain(source, opened, seed, retrain=retrain)


def check(method: MethodName, *, plugins: Sequence[str | Path] = ()) -> list[CheckResult]:
    """Examine on a toy zoo whether a method keeps the contract of `nnbench.api`; one result per check."""
    (source,) = sources_of([method], plugins).values()
    return list(run_checks(source))
