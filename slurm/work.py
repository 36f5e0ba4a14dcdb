"""What a job does: its units, one after the other, each unless it is done. Outputs are on disk: a job has no state.

A job that is preempted, or told to stop before its time limit, is queued again by submitit with the same units.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from submitit import JobEnvironment
from submitit.core.utils import UncompletedJobError
from submitit.helpers import Checkpointable

from nnbench.folders import RUNS
from nnbench.slurm.plan import SweepUnit, load_plan
from nnbench.slurm.sweep import Sweep
from nnbench.tasks.simulation.processors import count_processors

if TYPE_CHECKING:
    from nnbench.tasks.simulation.workers import Simulator

_END_S = 600.0
"""A job that was told to end is gone after this long: killed, or queued again."""


@dataclass(frozen=True)
class Work(Checkpointable):
    """The units of a job, as submitit takes it."""

    plan: Path
    folder: Path
    names: tuple[str, ...]
    workers: int | None
    codes: Mapping[str, str | None]
    """The identity of each method's code when the job was submitted."""

    def __call__(self) -> None:
        """Do the units. What a unit fails of is recorded and not raised, and the others are done."""
        environment = JobEnvironment()
        log = None if environment.cluster == "debug" else environment.paths.stdout
        ending = _Ending()
        if log is not None:
            signal.signal(signal.SIGTERM, ending.note)
            os.environ.setdefault("OMP_NUM_THREADS", str(self.workers or count_processors()))
        sweep = Sweep(self.plan, self.folder, load_plan(self.plan))
        for units in _groups(self._unedited(sweep, log)):
            while units:
                finished = 0
                try:
                    for outcome in _outcomes(sweep, units, self.workers):
                        if isinstance(outcome, Exception):
                            ending.wait_if_told()
                            _fail(sweep, units[finished], f"{outcome}", log)
                        else:
                            print(f"done    {units[finished].name}: {outcome}", flush=True)
                            sweep.forget_failure(units[finished].name)
                        finished += 1
                except UncompletedJobError:  # out of submitit's signal handler: no time and no requeue is left
                    raise
                except Exception:
                    ending.wait_if_told()
                    _fail(sweep, units[finished], traceback.format_exc(), log)
                    finished += 1
                units = units[finished:]

    def _unedited(self, sweep: Sweep, log: Path | None) -> list[SweepUnit]:
        """The ready units but for those of methods that were edited since the job was submitted, which fail."""
        kept = []
        for unit in self._ready(sweep):
            method = unit.method if unit.stage in ("train", "run") else None
            if method is None or sweep.codes.get(method) == self.codes.get(method):
                kept.append(unit)
            else:
                error = f"method {method}: its code was edited after this job was submitted; submit the sweep again"
                _fail(sweep, unit, error, log)
        return kept

    def _ready(self, sweep: Sweep) -> list[SweepUnit]:
        """The units that are not done and whose needs are."""
        done = sweep.done()
        missing = [unit for unit in sweep.units if unit.name in self.names and unit.name not in done]
        print(f"{len(self.names)} units, {len(self.names) - len(missing)} of them done already", flush=True)
        ready = []
        for unit in missing:
            lacking = [name for name in unit.needs if name not in done]
            # Tables are of whatever there is.
            if lacking and (unit.stage != "table" or len(lacking) == len(unit.needs)):
                print(f"waits   {unit.name}: for {', '.join(lacking[:3])}{', ...' if lacking[3:] else ''}", flush=True)
            else:
                ready.append(unit)
        return ready


class _Ending:
    """Whether this job was told to end. Its processes are told too, and what breaks then is nobody's failure."""

    def __init__(self) -> None:
        self._told = False

    def note(self, number: int, frame: object) -> None:
        """For SIGTERM."""
        self._told = True

    def wait_if_told(self) -> None:
        """Start nothing more; submitit's signal, which queues the job again, may be about to come."""
        if self._told:
            print("told to end", flush=True)
            time.sleep(_END_S)
            sys.exit(143)


def _fail(sweep: Sweep, unit: SweepUnit, error: str, log: Path | None) -> None:
    print(f"FAILED  {unit.name}\n{error}", flush=True)
    sweep.record_failure(unit, error, log)


def _groups(units: Sequence[SweepUnit]) -> Iterator[list[SweepUnit]]:
    """Units that can share simulation workers and trained methods."""
    for _, group in groupby(units, key=lambda unit: (unit.stage, unit.task, unit.seed)):
        yield list(group)


def _outcomes(sweep: Sweep, units: Sequence[SweepUnit], workers: int | None) -> Iterator[str | Exception]:
    """Do units of a group; a line or what the method did wrong for each. Whatever else goes wrong is raised."""
    if units[0].stage == "run":
        yield from _run(sweep, units, workers)
        return
    make = {"ghn": _make_ghn, "zoo": _make_zoo, "train": _train, "table": _print_tables}[units[0].stage]
    for unit in units:
        began = time.perf_counter()
        make(sweep, unit, workers)
        yield f"{time.perf_counter() - began:.0f} s"


def _run(sweep: Sweep, units: Sequence[SweepUnit], workers: int | None) -> Iterator[str | Exception]:
    from nnbench.preparing import Run
    from nnbench.registry import MethodSource
    from nnbench.store.checkpoints import find
    from nnbench.store.store import Store
    from nnbench.tasks.zoo.zoo import Zoo

    plan, task, seed = sweep.plan, units[0].task, units[0].seed
    assert seed is not None
    zoo, trained = Zoo.open(task, plan.zoo_folder(task)), {}
    for method in {unit.method for unit in units if unit.method}:
        found = find(method, task, zoo.sha256, seed, sweep.codes.get(method))
        assert found is not None  # or the units would not be ready
        trained[method] = found
    work = [sweep.result(unit, trained[unit.method or ""].sha256) for unit in units]
    sources = {method: MethodSource.of(method, plan.plugin) for method in trained}
    for outcome in Run(work, trained, sources, zoo, Store(plan.results), workers=workers):
        yield outcome.error or str(outcome)


def _train(sweep: Sweep, unit: SweepUnit, workers: int | None) -> None:
    from nnbench.harness.trained import obtain
    from nnbench.registry import MethodSource
    from nnbench.store.checkpoints import find
    from nnbench.tasks.zoo.zoo import Zoo

    assert unit.method is not None and unit.seed is not None
    zoo = Zoo.open(unit.task, sweep.plan.zoo_folder(unit.task))
    try:
        obtain(MethodSource.of(unit.method, sweep.plan.plugin), zoo, unit.seed)
    except OSError:  # another process that finishes the same training removes what it kept while under way
        if find(unit.method, unit.task, zoo.sha256, unit.seed, sweep.codes.get(unit.method)) is None:
            raise


def _make_ghn(sweep: Sweep, unit: SweepUnit, workers: int | None) -> None:
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.build import build_ghns, expert_file

    part = sweep.plan.zoo_plan(unit.task)
    assert part is not None and unit.seed is not None
    with Simulator(load_task(unit.task), workers) as simulator:
        work = RUNS / "distillation" / unit.task
        build_ghns(simulator, expert_file(RUNS, unit.task), work, (unit.seed,), part.numbers(unit.task)[1])


def _make_zoo(sweep: Sweep, unit: SweepUnit, workers: int | None) -> None:
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.build import build_zoo, expert_file

    part = sweep.plan.zoo_plan(unit.task)
    assert part is not None
    count, config = part.numbers(unit.task)
    work = RUNS / "distillation" / unit.task
    with Simulator(load_task(unit.task), workers) as simulator:
        if unit.method is None:
            out = sweep.plan.zoo_folder(unit.task)
            build_zoo(simulator, expert_file(RUNS, unit.task), work, out, range(count), config)
        else:
            _compare_alignment(sweep, simulator, unit.task)


def _compare_alignment(sweep: Sweep, simulator: "Simulator", task: str) -> None:
    from nnbench.tasks.zoo.alignment import AlignmentConfig, compare
    from nnbench.tasks.zoo.build import expert_file, gather_pool

    pool = RUNS / "alignment" / "pool" / task  # its own: with the preset `paper` every GHN gathers for itself
    gather_pool(simulator, expert_file(RUNS, task), pool)
    compare(simulator, pool, RUNS / "alignment" / task, sweep.plan.results, AlignmentConfig())


def _print_tables(sweep: Sweep, unit: SweepUnit, workers: int | None) -> None:
    import nnbench
    from nnbench.tasks.files import write_atomically

    plan, done = sweep.plan, sweep.done()
    names, task = map(str, plan.tables), plan.tasks[0] if len(plan.tasks) == 1 else "all"
    tables = nnbench.tables([*names], task=task, results=plan.results, protocol=plan.protocol, plugins=plan.plugin)
    text = str(tables)
    write_atomically(sweep.tables_file, lambda temporary: temporary.write_text(text))
    sweep.mark_tables(done)
    print(text, end="")
