"""Logs of trainings as curves over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from nnbench.store.learning import Training

_MS_PER_HOUR = 3_600_000


@dataclass(frozen=True)
class Curve:
    """One stage of a training. Hours count from the beginning of the first stage, without validation."""

    stage: str
    last: bool
    """Whether the method is done after it: only then what it validates is what it writes."""
    loss: tuple[tuple[float, float], ...]
    """Hours, and how much of the stage's loss is left: 1 where it logs first, 0 where it is least. None where it never
    falls. Losses may be negative, so there is no share of them."""
    success: tuple[tuple[float, float], ...]
    """Hours, and per cent of validation episodes; none where nothing was validated."""


def trace(training: Training) -> list[Curve]:
    """One curve per stage, each from where the one before it ends."""
    curves, hours = [], 0.0
    for stage in training.stages:
        steps = [0, *(entry.step for entry in stage.entries)]
        times = []
        for entry, (before, step) in zip(stage.entries, pairwise(steps), strict=True):
            hours += (step - before) * entry.ms_per_step / _MS_PER_HOUR
            times.append(hours)
        logged = list(zip(times, stage.entries, strict=True))
        first, least = stage.entries[0].loss, min(entry.loss for entry in stage.entries)
        curves.append(
            Curve(
                stage.name,
                stage is training.stages[-1],
                tuple((time, (entry.loss - least) / (first - least)) for time, entry in logged if first > least),
                tuple((time, 100 * entry.success) for time, entry in logged if entry.success is not None),
            )
        )
    return curves


def final_success(trainings: Sequence[Training], tasks: Sequence[str]) -> dict[str, float]:
    """By method the success that its last stage ends with, in per cent: the mean over tasks of the mean over seeds.

    A task that a method has no log of, or where it did not validate, counts as nothing solved.
    """
    ends: dict[str, dict[str, list[float]]] = {}
    for training in trainings:
        validated = trace(training)[-1].success
        end = validated[-1][1] if validated else 0.0
        ends.setdefault(training.method, {}).setdefault(training.task, []).append(end)
    return {method: sum(sum(of) / len(of) for of in by_task.values()) / len(tasks) for method, by_task in ends.items()}
