"""`nnbench run` and `nnbench roundtrip`: measure methods."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nnbench.commands.options import SCALE, TASK, Scale, Split, print_json, print_tables
from nnbench.folders import RESULTS

if TYPE_CHECKING:
    from nnbench.harness.outcome import Outcome
    from nnbench.measuring import Run
    from nnbench.presentation.tables import Shown


def run(
    method: tuple[str, ...],
    split: Split = "unseen",
    task: str = TASK,
    archs: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    zoo: Path | None = None,
    results: Path = RESULTS,
    plugin: tuple[Path, ...] = (),
    full: bool = False,
    json: bool = False,
    scale: Annotated[Scale, tyro.conf.OmitArgPrefixes] = SCALE,
) -> None:
    """Generate, roll out, score and store; prints the rows of Table 2. Goes on where an interrupted run stopped.

    Args:
        method: Methods to measure; `nnbench methods` lists them.
        split: seen: 8 training architectures; unseen: the 8 held out; outside: 9 outside the space; joint: the method
            chooses.
        task: ManiSkill environment, a Python file that defines a task, or `all`.
        archs: Only these of the split, as in 32-32-16-64,16-16-16-32; `all` with `seen` for the 64 training ones.
        seed: Seed of the method's training and of its samples.
        workers: Simulation processes, default one per core. Results do not depend on it.
        zoo: Folder of a zoo that `nnbench zoo build` wrote, default the one that ships.
        results: Folder for the results.
        plugin: Python files with further methods.
        full: Roll out every sample on all selection episodes, even those that can no longer reach the top.
        json: Print outcomes and tables as JSON.
    """
    import nnbench
    from nnbench.harness.isolation import MethodError
    from nnbench.tasks.registry import expand_tasks

    protocol = scale.protocol()
    outcomes = [
        outcome
        for one in expand_tasks(task)
        for outcome in _measure(
            nnbench.run(
                method,
                task=one,
                split=split,
                archs=archs,
                seed=seed,
                protocol=protocol,
                zoo=zoo,
                results=results,
                plugins=plugin,
                workers=workers,
                full=full,
            ),
            split,
        )
    ]
    name = "3" if split == "joint" else "2"
    tables = nnbench.tables([name], task=task, results=results, protocol=protocol, zoo=zoo, plugins=plugin)
    if json:
        print_json({"outcomes": outcomes, "numbers": [line for table in tables for line in table.lines]})
    else:
        print_tables(tables)
    if failed := sum(outcome.error is not None for outcome in outcomes):
        raise MethodError(f"{failed} units failed, each for the reason printed above")


def roundtrip(
    method: tuple[str, ...],
    task: str = TASK,
    archs: str | None = None,
    episodes: int = 64,
    seed: int = 0,
    workers: int | None = None,
    zoo: Path | None = None,
    results: Path = RESULTS,
    plugin: tuple[Path, ...] = (),
    json: bool = False,
) -> None:
    """Encode and decode training policies, roll out both; prints a table. Goes on where an interrupted run stopped.

    Args:
        method: Methods with an autoencoder.
        task: ManiSkill environment, a Python file that defines a task, or `all`.
        archs: Training architectures, as in 16-16-16-64,64-64-64-64, or `all` 64; default the 8 of the split seen.
        episodes: Validation episodes per policy.
        seed: Seed of the method's training.
        workers: Simulation processes, default one per core.
        zoo: Folder of a zoo that `nnbench zoo build` wrote, default the one that ships.
        results: Folder for the results.
        plugin: Python files with further methods.
        json: Print the tables' numbers as JSON.
    """
    from tqdm import tqdm

    import nnbench
    from nnbench.reading import Tables
    from nnbench.tasks.registry import expand_tasks

    tables: list[Shown] = []
    for one in expand_tasks(task):
        trip = nnbench.roundtrip(
            method,
            task=one,
            archs=archs,
            episodes=episodes,
            seed=seed,
            zoo=zoo,
            results=results,
            plugins=plugin,
            workers=workers,
        )
        for _ in tqdm(trip, f"roundtrip {one}", len(trip), unit="arch", disable=None):
            pass
        tables += trip.tables()
    print_tables(Tables(tables), "json" if json else "text")


def _measure(work: "Run", split: str) -> "Iterable[Outcome]":
    """Show each unit as it is done."""
    from tqdm import tqdm

    for name, trained in work.trained.items():
        print(f"{name}: {trained.folder}", file=sys.stderr)
    for outcome in tqdm(work, f"{work.zoo.task.name} {split}", unit="arch", disable=None):
        if outcome.error is not None:  # the other units are not to blame
            tqdm.write(f"nnbench: {outcome.error}", file=sys.stderr)
        else:
            tqdm.write(str(outcome), file=sys.stderr)
        yield outcome
