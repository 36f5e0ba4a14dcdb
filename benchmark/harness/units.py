"""Evaluates units of one task one after the other, for `nnbench.run` and for a job of a sweep."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict

from nnbench.errors import InputError
from nnbench.harness.evaluation import evaluate
from nnbench.harness.isolation import Isolated
from nnbench.harness.novelty import Novelty
from nnbench.harness.outcome import Outcome
from nnbench.harness.process import MethodError
from nnbench.protocol import Protocol, Unit
from nnbench.registry import MethodSource
from nnbench.store.checkpoints import Trained
from nnbench.store.errors import StoreError
from nnbench.store.store import Store
from nnbench.tasks.integrity import DamagedError
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.task import Task
from nnbench.tasks.zoo.zoo import Zoo


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
    """Finish units of the zoo's task and yield what became of each, in their order.

    `sources` and `trained` are by the method's name. Another process may work on the same units. A `MethodError` is
    part of the outcome, and the other units go on; any other error is raised.
    """
    if not units:
        return
    check_simulated(units[0].protocol, zoo.task)
    names = list(dict.fromkeys(unit.method for unit in units))
    facts = {name: asdict(sources[name].facts) for name in names}
    with ExitStack() as stack:
        methods = {
            name: stack.enter_context(Isolated(sources[name], trained[name].folder, zoo.opened_from)) for name in names
        }
        simulator, novelty = stack.enter_context(Simulator(zoo.task, workers)), Novelty(zoo)
        for unit in units:
            if store.finished(unit):
                yield Outcome(unit=unit, elsewhere=True)
                continue
            try:
                method = methods[unit.method]
                outcome = evaluate(unit, method, novelty, simulator, store, facts=facts[unit.method], full=full)
            except MethodError as error:
                outcome = Outcome(unit=unit, error=error)
            except (OSError, StoreError, DamagedError):
                # Another process that finishes the unit removes its journal, which we may be reading.
                if not store.finished(unit):
                    raise
                outcome = Outcome(unit=unit, elsewhere=True)
            yield outcome
