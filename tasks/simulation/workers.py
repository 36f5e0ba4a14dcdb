"""Rollouts of many policies on many episodes: one engine a worker process, one worker process a core.

K is the number of episodes stepped together.
"""

import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Self

import numpy as np
from pebble import ProcessExpired, ProcessPool

from nnbench.errors import InputError
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.engine import Engine, SimulationError
from nnbench.tasks.simulation.episodes import Episodes
from nnbench.tasks.task import Actor, Task

SCENES_PER_WORKER = 25
"""Episodes a worker simulates at a time; a work unit is at most this long."""

HANG_S = 300.0
"""A unit takes seconds; a worker that has not finished one after this long is taken for hung."""

_START_S = 120.0
"""A worker builds its scenes in a second or two."""


@dataclass(frozen=True)
class Rollout:
    """A work unit: up to SCENES_PER_WORKER episodes stepped together by one worker."""

    actor: Actor
    seeds: np.ndarray  # (K,) int64
    record: bool = False


class Simulator:
    """Worker processes that roll out policies in one task; use it as a context manager.

    A worker that dies or hangs is replaced and its unit done once more; Ctrl-C and the end of this process end all.

    Episodes are functions of actor and seeds alone: neither the number of workers nor the order of work changes them.
    That is so bit for bit but for rare contacts, after which bodies may lie a rounding error elsewhere.
    """

    def __init__(self, task: Task, workers: int | None = None, *, hang_s: float = HANG_S) -> None:
        workers = workers if workers is not None else (os.cpu_count() or 1)
        if workers < 1:
            raise InputError(f"workers={workers}: expected at least 1")
        self.task = task
        self.workers = workers
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
            initargs=(self.task.source,),
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
        waiting: list[tuple[int, Rollout, int]] = []  # position, unit, workers lost over it
        pending: dict[Future[Episodes], tuple[int, Rollout, int]] = {}
        source = enumerate(units)
        exhausted = restarted = False
        try:
            while waiting or pending or not exhausted:
                try:
                    while not exhausted and len(waiting) + len(pending) <= self.workers:  # one more, so no worker waits
                        position, unit = next(source, (-1, None))
                        if unit is None:
                            exhausted = True
                        else:
                            self._check(unit)
                            waiting.append((position, unit, 0))
                    while waiting:
                        pending[self._schedule(waiting[0][1])] = waiting[0]
                        del waiting[0]
                    # Two units' time covers one that waits behind another; past it not even a new worker has come up.
                    done, _ = wait(pending, _START_S + 2 * self._hang_s, return_when=FIRST_COMPLETED)
                    if not done and pending:
                        raise BrokenProcessPool
                    for future in sorted(done, key=_failed):  # lose no finished work
                        position, unit, lost = pending[future]
                        try:
                            episodes = future.result()
                        except (ProcessExpired, TimeoutError) as error:
                            if lost > 0:
                                raise self._lost(unit, error) from error
                            waiting.append((position, unit, 1))
                        del pending[future]
                        if future.exception() is None:
                            yield position, episodes
                except BrokenProcessPool as error:  # pebble's pool does not outlive a worker that dies over no unit
                    if restarted:
                        raise SimulationError(
                            f"{self.task.name}: the simulation workers could not start, or all died or hung, twice "
                            "(their own message is above). Finished work is stored; run the same command again, with "
                            "fewer --workers if memory is short"
                        ) from error
                    restarted = True
                    self._stop()
                    self._pool = self._start()
                    waiting += pending.values()
                    pending.clear()
        finally:
            for future in pending:
                future.cancel()

    def episodes(self, units: Sequence[Rollout]) -> list[Episodes]:
        """All units' episodes, in the order of the units."""
        results = dict(self.rollout(units))
        return [results[position] for position in range(len(units))]

    def initial_states(self, seeds: Sequence[int]) -> np.ndarray:
        """What `env.reset(seed=s)` makes of the bodies, rows as of `Engine.capture_initial_states`."""
        return self._pool.schedule(_initial_states_of, (list(seeds),)).result()

    def _check(self, unit: Rollout) -> None:
        if not 1 <= len(unit.seeds) <= SCENES_PER_WORKER:
            raise InputError(f"a rollout of {len(unit.seeds)} episodes: expected 1 to {SCENES_PER_WORKER}")

    def _schedule(self, unit: Rollout) -> Future[Episodes]:
        try:
            future: Future[Episodes] = self._pool.schedule(_rollout, (unit,), timeout=self._hang_s)
        except RuntimeError as error:  # pebble's word for a pool that has been broken for a while
            raise BrokenProcessPool from error
        return future

    def _lost(self, unit: Rollout, error: ProcessExpired | TimeoutError) -> SimulationError:
        if isinstance(error, ProcessExpired):
            how = f"worker process {error.pid} died with exit code {error.exitcode} (negative: the signal's number)"
        else:
            how = f"a worker process was still at it after {self._hang_s:g} s"
        return SimulationError(
            f"{self.task.name}, episode seeds {unit.seeds[0]} to {unit.seeds[-1]}: {how}, for the second time. "
            "Finished work is stored; run the same command again, with fewer --workers if memory is short"
        )


_engine: Engine
"""The worker process's own engine."""
_initial_states: dict[int, np.ndarray] = {}
"""The worker's bank: what ManiSkill's reset made of each episode seed it has met. A reset costs 5 ms."""


def _start_worker(task_source: str) -> None:
    from threadpoolctl import threadpool_limits

    end_with_parent()
    threadpool_limits(1)  # one process a core: more threads would only wait for one another
    global _engine
    _engine = Engine(load_task(task_source), SCENES_PER_WORKER)


def end_with_parent() -> None:
    """Watch from a thread for the end of the process that started this one, and end too."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)  # a killed parent closes no queue: without this the worker would wait for work for ever

    threading.Thread(target=watch, daemon=True).start()


def _failed(future: "Future[Episodes]") -> bool:
    return future.exception() is not None


def _rollout(unit: Rollout) -> Episodes:
    return _engine.rollout(_initial_states_of(unit.seeds.tolist()), unit.actor, unit.seeds, unit.record)


def _initial_states_of(seeds: list[int]) -> np.ndarray:
    missing = [seed for seed in seeds if seed not in _initial_states]
    if missing:
        _initial_states.update(zip(missing, _engine.capture_initial_states(missing), strict=True))
    return np.stack([_initial_states[seed] for seed in seeds])
