"""`nnbench run` and `nnbench roundtrip`: measure methods."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nnbench.commands.options import SCALE, TASK, Scale, Split, print_json, print_tables
from nnbench.commands.progress import Progress, describe_unfinished, say
from nnbench.folders import RESULTS

if TYPE_CHECKING:
    from nnbench.presentation.tables import Shown


def run(
    method: tuple[str, ...],
    split: Split = "unseen",
    task: str = TASK,
    archs: str | None = None,
    seed: int = 0,
    track: str = "paper",
    workers: int | None = None,
    zoo: Path | None = None,
    results: Path = RESULTS,
    plugin: tuple[Path, ...] = (),
    full: bool = False,
    retrain: bool = False,
    json: bool = False,
    scale: Annotated[Scale, tyro.conf.OmitArgPrefixes] = SCALE,
) -> None:
    """Generate, roll out, score and store; prints Table 2. Goes on where an interrupted run stopped.

    Args:
        method: Methods to measure; `nnbench methods` lists them.
        split: seen: 8 training architectures; unseen: the 8 held out; outside: 9 outside the space; widths, depths: 8
            of other widths, of other depths; joint: the method chooses.
        task: ManiSkill environment, a Python file that defines a task, or `all`.
        archs: Only these of the split, as in 32-32-16-64,16-16-16-32; `all` with `seen` for the 64 training ones.
        seed: Seed of the method's training and of its samples.
        track: What is learned from and asked for: one that `nnbench tracks` lists, or a file of your own (.toml).
        workers: Simulation processes, default one per core. Results do not depend on it.
        zoo: Folder of a zoo that `nnbench zoo build` wrote, default the one that ships.
        results: Folder for the results.
        plugin: Python files with further methods.
        full: Roll out every sample on all selection episodes, even those that can no longer reach the top.
        retrain: Train the methods anew, also those with a checkpoint.
        json: Print outcomes and tables as JSON.
    """
    import nnbench
    from nnbench.harness.process import MethodError
    from nnbench.preparing import prepare
    from nnbench.presentation.tables import Choice
    from nnbench.reading import choose_tables
    from nnbench.tasks.registry import expand_tasks

    protocol = scale.chosen()
    work = [
        prepare(
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
            retrain=retrain,
            track=track,
        )
        for one in expand_tasks(task)
    ]
    name, shown_split = "3" if split == "joint" else "2", None if archs == "all" else split
    show = partial(
        nnbench.tables,
        [name],
        task=task,
        split=shown_split,
        detail=archs not in (None, "all"),  # the mean of a split is not finished then
        results=results,
        protocol=protocol,
        zoo=zoo,
        plugins=plugin,
        track=track,
    )
    progress, outcomes = Progress(work), []
    progress.announce(work, split)
    for reason in {reason: None for one in work for reason in one.cannot.values()}:
        say(f"nnbench: {reason}")
    for one in work:
        for outcome in one.train():
            outcomes.append(outcome)
            progress.report(outcome, one.store)
            if progress.method_done(outcome.unit.task, outcome.unit.method) and not progress.done:
                finished = dict.fromkeys(past.unit.method for past in outcomes if past.error is None)
                if finished:
                    say(show(methods=list(finished)).render("text", 100))
    if json:
        print_json({"outcomes": outcomes, "numbers": [line for table in show() for line in table.lines]})
    else:
        choice = Choice(split=shown_split, ran=tuple(work[0].sources))
        folder = None if results == RESULTS else results
        found = choose_tables(
            [name], choice, task, results=folder, zoo=zoo, plugins=plugin, protocol=protocol, track=track
        )
        print_tables(found)
        for line in describe_unfinished(work, split):
            say(line)
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
