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
from submitit.core.job_environment import SignalHandler
from submitit.core.utils import UncompletedJobError
from submitit.helpers import Checkpointable

from nnbench.errors import NnbenchError
from nnbench.folders import RUNS
from nnbench.slurm.plan import Plan, SweepUnit, load_plan
from nnbench.slurm.sweep import Sweep
from nnbench.tasks.files import file_sha256
from nnbench.tasks.integrity import DamagedError
from nnbench.tasks.simulation.processors import count_processors

if TYPE_CHECKING:
    from nnbench.registry import MethodSource
    from nnbench.store.checkpoints import Trained
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.zoo import Zoo

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
    calm_s: float
    """Told to stop before so many seconds, the job has not met its time limit: it makes way for another."""

    def __call__(self) -> None:
        """Do the units. What a unit fails of is recorded and not raised, and the others are done."""
        environment = JobEnvironment()
        log = None if environment.cluster == "debug" else environment.paths.stdout
        ending = _Ending()
        if log is not None:
            _judge_time_limit(self.calm_s)
            signal.signal(signal.SIGTERM, ending.note)
            os.environ.setdefault("OMP_NUM_THREADS", str(self.workers or count_processors()))
        try:
            sweep = self._open()
            ready = self._ready(sweep, log)
        except NnbenchError as error:  # of all units: nobody knows what they are, or which are done
            for name in self.names:
                _fail(Sweep(self.plan, self.folder, Plan()), name, f"{error}", log)
            return
        for units in _groups(ready):
            self._finish(sweep, units, ending, log)

    def _open(self) -> Sweep:
        """The sweep by the copy of the plan. Raises DamagedError, and ConfigurationError where a plugin is missing."""
        if not self.plan.is_file() or not file_sha256(self.plan).startswith(self.plan.stem):
            raise DamagedError(self.plan, "the copy of the plan is missing or damaged", "submit the sweep again")
        return Sweep(self.plan, self.folder, load_plan(self.plan))

    def _finish(self, sweep: Sweep, units: Sequence[SweepUnit], ending: "_Ending", log: Path | None) -> None:
        left = {unit.name: unit for unit in units}
        while left:
            try:
                for name, outcome in _outcomes(sweep, list(left.values()), self.workers):
                    if isinstance(outcome, Exception):
                        ending.wait_if_told()
                        _fail(sweep, name, f"{outcome}", log)
                    else:
                        print(f"done    {name}: {outcome}", flush=True)
                        sweep.forget_failure(name)
                    del left[name]
            except UncompletedJobError:  # out of submitit's signal handler: no time and no requeue is left
                raise
            except Exception:
                ending.wait_if_told()
                first = next(iter(left))
                _fail(sweep, first, traceback.format_exc(), log)
                del left[first]

    def _ready(self, sweep: Sweep, log: Path | None) -> list[SweepUnit]:
        """The units that are not done and whose needs are; those of methods that were edited meanwhile fail."""
        done = sweep.done()
        missing = [unit for unit in sweep.units if unit.name in self.names and unit.name not in done]
        print(f"{len(self.names)} units, {len(self.names) - len(missing)} of them done already", flush=True)
        ready = []
        for unit in missing:
            method, lacking = unit.method or "", [name for name in unit.needs if name not in done]
            if unit.stage in ("train", "run") and sweep.codes.get(method) != self.codes.get(method):
                error = f"method {method}: its code was edited after this job was submitted; submit the sweep again"
                _fail(sweep, unit.name, error, log)
            # Tables are of whatever there is.
            elif lacking and (unit.stage != "table" or len(lacking) == len(unit.needs)):
                print(f"waits   {unit.name}: for {', '.join(lacking[:3])}{', ...' if lacking[3:] else ''}", flush=True)
            else:
                ready.append(unit)
        return ready


def _judge_time_limit(calm_s: float) -> None:
    """Let submitit's handler tell a time limit from a preemption by the clock.

    By itself it takes every stop of a job of ten minutes or less for a time limit, of which only so many are allowed.
    """
    handler = getattr(signal.getsignal(JobEnvironment._usr_sig()), "__self__", None)
    if isinstance(handler, SignalHandler):
        began = handler._start_time
        handler.has_timed_out = lambda: time.time() - began >= calm_s  # type: ignore[method-assign]


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


def _fail(sweep: Sweep, name: str, error: str, log: Path | None) -> None:
    print(f"FAILED  {name}\n{error}", flush=True)
    sweep.record_failure(name, error, log)


def _groups(units: Sequence[SweepUnit]) -> Iterator[list[SweepUnit]]:
    """Units that can share simulation workers and trained methods."""
    for _, group in groupby(units, key=lambda unit: (unit.stage, unit.task, unit.seed)):
        yield list(group)


def _outcomes(sweep: Sweep, units: Sequence[SweepUnit], workers: int | None) -> Iterator[tuple[str, str | Exception]]:
    """Do units of a group; yields each one's name, and a line or what the method did wrong. Raises anything else."""
    if units[0].stage == "run":
        yield from _run(sweep, units, workers)
        return
    make = {"ghn": _make_ghn, "zoo": _make_zoo, "train": _train, "table": _print_tables}[units[0].stage]
    for unit in units:
        began = time.perf_counter()
        make(sweep, unit, workers)
        yield unit.name, f"{time.perf_counter() - began:.0f} s"


def _run(sweep: Sweep, units: Sequence[SweepUnit], workers: int | None) -> Iterator[tuple[str, str | Exception]]:
    from nnbench.preparing import Run
    from nnbench.registry import MethodSource
    from nnbench.store.store import Store
    from nnbench.tasks.zoo.zoo import Zoo

    plan, task, seed = sweep.plan, units[0].task, units[0].seed
    assert seed is not None
    zoo = Zoo.open(task, plan.zoo_folder(task), plan.track)
    sources, trained, faults = {}, {}, {}
    for method in dict.fromkeys(unit.method for unit in units if unit.method):
        try:
            sources[method] = MethodSource.of(method, plan.plugin)
            trained[method] = _obtain(sources[method], zoo, seed)
        except NnbenchError as error:
            faults[method] = error
    for unit in units:
        if unit.method in faults:
            yield unit.name, faults[unit.method]
    good = [unit for unit in units if unit.method in trained]
    work = [sweep.result(unit, trained[unit.method or ""].sha256) for unit in good]
    run = Run(work, trained, sources, zoo, Store(plan.results), workers=workers)
    for unit, outcome in zip(good, run, strict=True):
        yield unit.name, outcome.error or str(outcome)


def _train(sweep: Sweep, unit: SweepUnit, workers: int | None) -> None:
    from nnbench.registry import MethodSource
    from nnbench.tasks.zoo.zoo import Zoo

    assert unit.method is not None and unit.seed is not None
    zoo = Zoo.open(unit.task, sweep.plan.zoo_folder(unit.task), sweep.plan.track)
    _obtain(MethodSource.of(unit.method, sweep.plan.plugin), zoo, unit.seed)


def _obtain(source: "MethodSource", zoo: "Zoo", seed: int) -> "Trained":
    """The trained method, trained now where it is not; a method that learns nothing takes a moment."""
    from nnbench.harness.trained import obtain
    from nnbench.store.checkpoints import find

    try:
        return obtain(source, zoo, seed)
    except OSError:  # another process that finishes the same training removes what it kept while under way
        found = find(source.name, zoo.task.name, zoo.sha256, seed, source.code_sha256)
        if found is None:
            raise
        return found


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
