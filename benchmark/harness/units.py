"""Evaluates units of one task one after the other, for `nnbench.run` and for a job of a sweep."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Self

from nnbench.errors import InputError
from nnbench.harness.evaluation import Simulated, simulate
from nnbench.harness.isolation import Isolated
from nnbench.harness.novelty import Novelty
from nnbench.harness.outcome import Outcome
from nnbench.harness.process import MethodError
from nnbench.protocol import Protocol, Unit
from nnbench.registry import MethodSource
from nnbench.store.checkpoints import Budget, Trained, read_budget
from nnbench.store.errors import StoreError
from nnbench.store.store import Store
from nnbench.tasks.integrity import DamagedError
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.task import Task
from nnbench.tasks.zoo.zoo import Zoo

_LOST = (OSError, StoreError, DamagedError)
"""Raised where another process finishes a unit and removes the journal that this one reads, and for real faults."""


def check_simulated(protocol: Protocol, task: Task) -> None:
    """Raise InputError where a protocol asks for what the simulator does not do: rows would say what is not so."""
    simulated = {"version": Protocol.version, "horizon": task.horizon, "control_mode": Protocol.control_mode}
    for name, value in simulated.items():
        if (asked := getattr(protocol, name)) != value:
            raise InputError(f"protocol: {name}={asked!r}, but {task.name} is simulated with {value!r}; leave it out")


def run_units(
    units: Sequence[Unit],
    sources: Mapping[str, MethodSource],
    trained: Mapping[str, Trained],
    zoo: Zoo,
    store: Store,
    *,
    workers: int | None = None,
    full: bool = False,
) -> Iterator[Outcome]:
    """Finish units of the zoo's task and yield what became of each, in their order, one behind what is simulated.

    `sources` and `trained` are by the method's name. Another process may work on the same units. A `MethodError` is
    part of the outcome, and the other units go on; any other error is raised.
    """
    if not units:
        return
    check_simulated(units[0].protocol, zoo.task)
    names = list(dict.fromkeys(unit.method for unit in units))
    with ExitStack() as stack:
        methods = {
            name: stack.enter_context(Isolated(sources[name], trained[name].folder, zoo.opened_from)) for name in names
        }
        simulator = stack.enter_context(Simulator(zoo.task, workers))
        about = {name: (asdict(sources[name].facts), read_budget(trained[name].folder)) for name in names}
        writer = stack.enter_context(_Writer(store, Novelty(zoo), about))
        for unit in units:
            try:
                done = _simulate(unit, methods[unit.method], simulator, store, full, writer)
            except Exception:  # of this unit alone: the one before is written
                yield from writer.finish()
                raise
            yield from writer.finish()
            if isinstance(done, Outcome):
                yield done
            else:
                writer.take(done)
        yield from writer.finish()


def _simulate(
    unit: Unit, method: Isolated, simulator: Simulator, store: Store, full: bool, writer: "_Writer"
) -> Simulated | Outcome:
    """The unit to be written, or an outcome without rows of ours. The writer begins once the samples are there."""
    if store.finished(unit):
        return Outcome(unit=unit, elsewhere=True)
    try:
        method.open()  # before the clock of `simulate` starts
        return simulate(unit, method, simulator, store, full=full, generated=writer.begin)
    except MethodError as error:
        return Outcome(unit=unit, error=error)
    except _LOST as error:
        return _finished_meanwhile(unit, store, error)


def _finished_meanwhile(unit: Unit, store: Store, error: Exception) -> Outcome:
    """Raises the error where no other process finished the unit."""
    if not store.finished(unit):
        raise error
    return Outcome(unit=unit, elsewhere=True)


class _Writer:
    """Writes the rows of a unit in a thread of its own, while the episodes of the next one are simulated.

    Comparing samples with the zoo keeps one processor busy for seconds in which the simulator's workers would wait. It
    begins only when the next unit's samples are there: the time to generate them is published.
    """

    def __init__(self, store: Store, novelty: Novelty, about: Mapping[str, tuple[dict[str, Any], Budget]]) -> None:
        """`about` has each method's facts, and what its training cost."""
        self._store, self._novelty, self._about = store, novelty, about
        self._thread = ThreadPoolExecutor(1)
        self._taken: Simulated | None = None
        self._writing: Future[Outcome] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """What is being written is written to its end; what only waits keeps its journal."""
        self._thread.shutdown()

    def take(self, done: Simulated) -> None:
        self._taken = done

    def begin(self) -> None:
        """Start to write the unit that was taken, if there is one."""
        if self._taken is not None and self._writing is None:
            self._writing = self._thread.submit(self._write, self._taken)

    def finish(self) -> Iterator[Outcome]:
        """The outcome of the unit that was taken, if there is one."""
        self.begin()
        if self._writing is not None:
            writing, self._taken, self._writing = self._writing, None, None
            yield writing.result()

    def _write(self, done: Simulated) -> Outcome:
        try:
            facts, budget = self._about[done.unit.method]
            return done.write(self._novelty, self._store, facts=facts, trained=budget)
        except _LOST as error:
            return _finished_meanwhile(done.unit, self._store, error)
