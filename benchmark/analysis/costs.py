"""What networks cost: the training of the method that writes them, and the writing itself, in wall seconds.

On how many threads a method trained or wrote is its own affair and is not stored, so these are no seconds of a core.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from nnbench.analysis.methods import Methods
from nnbench.store.checkpoints import Budget


class Cost:
    """Of the networks of one row. What training cost is looked up when first asked for."""

    def __init__(
        self,
        generation_s: float | None,
        trainer_s: float | None,
        find_budgets: Callable[[], Sequence[Budget] | None],
    ) -> None:
        """`find_budgets` has one per generator seed, none for a method that trains nothing, and is None where one of
        them is not kept."""
        self.generation_s = generation_s
        """Per network; None where rows do not say it. In older rows it includes the start of the method's process."""
        self.trainer_s = trainer_s
        """The same of what trains every network by itself, in the mean over all that it wrote for the task on the
        track."""
        self._find_budgets = find_budgets

    @cached_property
    def budgets(self) -> Sequence[Budget] | None:
        """One per generator seed; none where nothing is trained, None where one is not kept any more."""
        return self._find_budgets()

    @property
    def training_s(self) -> float | None:
        """Mean over generator seeds; 0 where nothing is trained, None where it is not kept any more."""
        return self._mean([budget.seconds for budget in self.budgets or ()])

    @property
    def parameters(self) -> float | None:
        """Numbers saved, in all tensors of the trained method; the same."""
        return self._mean([budget.parameters for budget in self.budgets or ()])

    @property
    def break_even(self) -> float | None:
        """So many networks have to be asked for until training has cost no more than training each of them would have.

        0 where nothing is trained; None where a number is missing, or where no number is enough.
        """
        if self.training_s is None or self.training_s == 0:
            return self.training_s
        if self.generation_s is None or self.trainer_s is None or self.trainer_s <= self.generation_s:
            return None
        return self.training_s / (self.trainer_s - self.generation_s)

    def _mean(self, values: Sequence[float]) -> float | None:
        if self.budgets is None:
            return None
        return float(np.mean(values)) if values else 0.0


class Costs:
    """Of one folder's units, which are of one protocol and track."""

    def __init__(
        self, manifests: Sequence[Mapping[str, Any]], find_budgets: Callable[[], Sequence[Budget]], methods: Methods
    ) -> None:
        self._units: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for manifest in manifests:
            unit = manifest["unit"]
            self._units.setdefault((unit["task"], unit["method"]), []).append(manifest)
        self._find_budgets = find_budgets
        self._methods = methods

    def find(self, task: str, method: str, seeds: Collection[int], archs: Collection[str]) -> Cost:
        """Of the units of a method with these generator seeds and architectures."""
        mine = [
            manifest
            for manifest in self._units.get((task, method), ())
            if manifest["unit"]["generator_seed"] in seeds and manifest["unit"]["arch"] in archs
        ]
        trained_alone = [
            manifest
            for name in self._methods.trainers(self._methods.names)
            for manifest in self._units.get((task, name), ())
        ]
        trainer = _seconds_per_network(trained_alone)
        return Cost(_seconds_per_network(mine), trainer, lambda: self._trained(task, method, seeds))

    def _trained(self, task: str, method: str, seeds: Collection[int]) -> Sequence[Budget] | None:
        if self._methods[method].role != "generator":
            return ()
        kept = [
            budget
            for budget in self._find_budgets()
            if (budget.task, budget.method) == (task, method) and budget.seed in seeds
        ]
        return kept if seeds and {budget.seed for budget in kept} == {*seeds} else None


def _seconds_per_network(manifests: Sequence[Mapping[str, Any]]) -> float | None:
    """None where there are none, or one does not say it."""
    seconds = [manifest["info"].get("wall_s", {}).get("generate") for manifest in manifests]
    if not seconds or None in seconds:
        return None
    return float(sum(seconds) / sum(manifest["unit"]["protocol"]["samples"] for manifest in manifests))
