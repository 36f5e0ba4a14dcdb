"""Rollouts of many policies on many episodes: one engine per worker process, one worker per processor.

K is the number of episodes stepped together.
"""

import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from pebble import ProcessExpired, ProcessPool

from nnbench.errors import InputError
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.engine import Engine, SimulationError
from nnbench.tasks.simulation.episodes import Episodes
from nnbench.tasks.simulation.memory import peak_memory
from nnbench.tasks.simulation.processors import count_processors
from nnbench.tasks.task import Actor, Task

SCENES_PER_WORKER = 25
"""Episodes that a worker simulates at a time; a work unit has at most so many."""

HANG_S = 300.0
"""A unit takes seconds. A worker that has not finished one after this time counts as hung."""

_MOST = 4
"""Workers per processor: more would only wait for one another."""

_START_S = 120.0
"""A worker builds its scenes in a second or two."""


@dataclass(frozen=True)
class Rollout:
    """A work unit: up to SCENES_PER_WORKER episodes stepped together by one worker."""

    actor: Actor
    seeds: np.ndarray  # (K,) int64
    record: bool = False


def check_workers(workers: int | None) -> None:
    """Raises InputError for a number of workers that cannot be, or that this machine is too small for."""
    most = _MOST * count_processors()
    if workers is not None and (type(workers) is not int or workers < 1):
        raise InputError(f"workers={workers}: expected at least 1, a whole number")
    if workers is not None and workers > most:
        raise InputError(
            f"workers={workers}: expected at most {most}; this process may use {count_processors()} processors, and "
            "each worker takes half a gigabyte of memory"
        )


class Simulator:
    """Worker processes that roll out policies in one task; use it as a context manager.

    A worker that dies or hangs is replaced, and its unit is done once more. Ctrl-C, or the end of this process, ends
    all workers.

    Episodes depend on actor and seeds only, not on the number of workers or the order of work. They repeat bit for bit,
    except that rare contacts may leave a body a rounding error away.
    """

    def __init__(self, task: Task, workers: int | None = None, *, hang_s: float = HANG_S) -> None:
        check_workers(workers)
        self.task = task
        self.workers = workers if workers is not None else count_processors()
        self._hang_s = hang_s
        self._pool = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def _start(self) -> ProcessPool:
        pool = ProcessPool(
            self.workers,
            context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(self.task.source, self.task.code_sha256),
        )
        pool.schedule(os.getpid)  # the workers start now, while the caller prepares their work
        return pool

    def _stop(self) -> None:
        self._pool.stop()
        self._pool.join()

    def rollout(self, units: Iterable[Rollout]) -> Iterator[tuple[int, Episodes]]:
        """Run the units on all workers; yields (position in `units`, episodes) in the order they finish.

        Units are taken from the iterable only as workers become free, so a generator may decide on the next unit by
        the results yielded so far. Raises InputError for a unit that does not fit the task or a worker, and
        SimulationError where workers cannot start or a second worker is lost over the same unit.
        """
        queue = _Queue(enumerate(units))
        restarted = False
        try:
            while queue.is_unfinished():
                try:
                    self._hand_out(queue)
                    for future in self._wait(queue):
                        finished = self._take_result(queue, future)
                        if finished is not None:
                            yield finished
                except BrokenProcessPool as error:  # pebble's pool does not outlive a worker that dies over no unit
                    if restarted:
                        raise self._broken() from error
                    restarted = True
                    self._stop()
                    self._pool = self._start()
                    queue.take_back()
        finally:
            for future in queue.pending:
                future.cancel()

    def episodes(self, units: Sequence[Rollout]) -> list[Episodes]:
        """All units' episodes, in the order of the units."""
        results = dict(self.rollout(units))
        return [results[position] for position in range(len(units))]

    def initial_states(self, seeds: Sequence[int]) -> np.ndarray:
        """Initial states of the bodies after `env.reset(seed=s)`; rows as in `Engine.capture_initial_states`."""
        return self._pool.schedule(_initial_states_of, (list(seeds),)).result()

    def peak_memory(self) -> int:
        """The most bytes that one of the workers held so far; of several, some worker's."""
        peak: int = self._pool.schedule(peak_memory).result()
        return peak

    def _hand_out(self, queue: "_Queue") -> None:
        """Give the workers units until one unit waits behind those that are being worked on."""
        while not queue.exhausted and len(queue.waiting) + len(queue.pending) <= self.workers:
            position, unit = next(queue.source, (-1, None))
            if unit is None:
                queue.exhausted = True
            else:
                if not 1 <= len(unit.seeds) <= SCENES_PER_WORKER:
                    raise InputError(f"a rollout of {len(unit.seeds)} episodes: expected 1 to {SCENES_PER_WORKER}")
                queue.waiting.append(_Job(position, unit, 0))
        while queue.waiting:
            queue.pending[self._schedule(queue.waiting[0].unit)] = queue.waiting[0]
            del queue.waiting[0]

    def _wait(self, queue: "_Queue") -> list[Future[Episodes]]:
        """Futures that are done, at least one where any is pending; those that succeeded come first."""
        # Two units' time covers one that waits behind another; past it not even a new worker has come up.
        done, _ = wait(queue.pending, _START_S + 2 * self._hang_s, return_when=FIRST_COMPLETED)
        if not done and queue.pending:
            raise BrokenProcessPool
        return sorted(done, key=lambda future: future.exception() is not None)

    def _take_result(self, queue: "_Queue", future: Future[Episodes]) -> tuple[int, Episodes] | None:
        """A unit's episodes; None where its worker was lost and the unit waits to be done once more."""
        job = queue.pending[future]
        try:
            episodes = future.result()
        except (ProcessExpired, TimeoutError) as error:
            if job.lost > 0:
                raise self._lost(job.unit, error) from error
            queue.waiting.append(job._replace(lost=1))
            del queue.pending[future]
            return None
        del queue.pending[future]
        return job.position, episodes

    def _schedule(self, unit: Rollout) -> Future[Episodes]:
        try:
            future: Future[Episodes] = self._pool.schedule(_rollout, (unit,), timeout=self._hang_s)
        except RuntimeError as error:  # pebble's word for a pool that has been broken for a while
            raise BrokenProcessPool from error
        return future

    def _broken(self) -> SimulationError:
        return SimulationError(
            f"{self.task.name}: the simulation workers could not start, or all died or hung, twice (their own message "
            "is above). Finished work is stored; run the same command again, with fewer --workers if memory is short"
        )

    def _lost(self, unit: Rollout, error: ProcessExpired | TimeoutError) -> SimulationError:
        if isinstance(error, ProcessExpired):
            how = f"worker process {error.pid} died with exit code {error.exitcode} (negative: the signal's number)"
        else:
            how = f"a worker process was still at it after {self._hang_s:g} s"
        return SimulationError(
            f"{self.task.name}, episode seeds {unit.seeds[0]} to {unit.seeds[-1]}: {how}, for the second time. "
            "Finished work is stored; run the same command again, with fewer --workers if memory is short"
        )


class _Job(NamedTuple):
    position: int
    unit: Rollout
    lost: int
    """Workers lost over it."""


@dataclass
class _Queue:
    """The units of one call of `rollout`: to be taken from the caller, waiting, or handed to the workers."""

    source: Iterator[tuple[int, Rollout]]
    waiting: list[_Job] = field(default_factory=list)
    pending: dict[Future[Episodes], _Job] = field(default_factory=dict)
    exhausted: bool = False
    """The caller has no further unit."""

    def is_unfinished(self) -> bool:
        return bool(self.waiting or self.pending) or not self.exhausted

    def take_back(self) -> None:
        """The workers are gone: what they had waits again."""
        self.waiting += self.pending.values()
        self.pending.clear()


_engine: Engine
"""The worker process's own engine."""
_initial_states: dict[int, np.ndarray] = {}
"""The initial state of every episode seed that this worker has met. A reset by ManiSkill costs 5 ms."""


def _start_worker(task_source: str, code_sha256: str | None) -> None:
    from threadpoolctl import threadpool_limits

    end_with_parent()
    threadpool_limits(1)  # one process per core: more threads would only wait for one another
    global _engine
    task = load_task(task_source)
    if task.code_sha256 != code_sha256:
        raise InputError(f"{task_source}: was edited while its episodes were simulated; run the same command again")
    _engine = Engine(task, SCENES_PER_WORKER)


def end_with_parent() -> None:
    """End this process when the process that started it ends; a thread watches for that."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)  # a killed parent closes no queue: the worker would wait for work for ever

    threading.Thread(target=watch, daemon=True).start()


def _rollout(unit: Rollout) -> Episodes:
    return _engine.rollout(_initial_states_of(unit.seeds.tolist()), unit.actor, unit.seeds, unit.record)


def _initial_states_of(seeds: list[int]) -> np.ndarray:
    missing = [seed for seed in seeds if seed not in _initial_states]
    if missing:
        _initial_states.update(zip(missing, _engine.capture_initial_states(missing), strict=True))
    return np.stack([_initial_states[seed] for seed in seeds])
