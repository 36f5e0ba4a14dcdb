"""Units of one task, evaluated one after the other: what `nnbench run` and a job of a sweep have in common."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from nnbench.harness.evaluation import evaluate
from nnbench.harness.isolation import Isolated, MethodError
from nnbench.harness.novelty import Novelty
from nnbench.harness.trained import Trained
from nnbench.protocol import Unit
from nnbench.store.results import Store, StoreError
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.zoo import Zoo


def run_units(
    units: Sequence[Unit],
    trained: Mapping[str, Trained],
    zoo: Zoo,
    store: Store,
    *,
    plugins: Sequence[Path] = (),
    workers: int | None = None,
    full: bool = False,
) -> Iterator[tuple[Unit, str | MethodError]]:
    """Finish units of the zoo's task; yields each with a line that says what was done, or with what its method did.

    `trained` is by method. Another process may be at the same units. What is no method's fault is raised.
    """
    if not units:
        return
    with ExitStack() as stack:
        sources = {
            name: stack.enter_context(Isolated(name, plugins, trained[name].folder, zoo.task.name, zoo.directory))
            for name in dict.fromkeys(unit.method for unit in units)
        }
        simulator, novelty = stack.enter_context(Simulator(zoo.task, workers)), Novelty(zoo)
        for unit in units:
            if store.finished(unit):
                yield unit, f"{unit.key}: finished meanwhile by another process"
                continue
            try:
                yield unit, evaluate(unit, sources[unit.method], novelty, simulator, store, full=full)
            except MethodError as error:
                yield unit, error
            except (OSError, StoreError):  # another process that finishes a unit removes what it kept while under way
                if not store.finished(unit):
                    raise
                yield unit, f"{unit.key}: finished meanwhile by another process"
