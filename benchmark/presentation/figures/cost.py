"""Success against the cost of training: what does it take?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnbench.analysis.methods import Methods
from nnbench.analysis.results import Results
from nnbench.analysis.rows import Row
from nnbench.presentation.figures.choice import unseen_rows
from nnbench.presentation.figures.drawing import STYLE, Drawing
from nnbench.presentation.figures.marks import DPI, FONTS, PAGE, Mark, Named, style_methods

_SECONDS = 60
_LEFT, _RIGHT, _END = -0.4, 1.15, 1.65
"""Of the longest time: the left end, where the unknown begin, and the right end."""


@dataclass(frozen=True)
class Cost:
    """What one method's training took on one task, and what it solves there."""

    method: str
    minutes: float | None
    """0 for a method that trains nothing, None where the trained method is not kept."""
    success: float
    low: float
    high: float


def draw_cost(results: Results, chosen: Sequence[str]) -> Drawing:
    """Success and cost of these methods, one panel per task."""
    by_task = {task: training_costs(results, task, chosen) for task in results.tasks}
    costs = {task: found for task, found in by_task.items() if found}
    protocol = results.protocol
    what = (
        f"Success of the top {protocol.top} of {protocol.samples} on {protocol.test_episodes} test episodes, mean over "
        "the architectures held out, with its 95% interval, against the wall time of training as the checkpoint says. "
        "Methods that train nothing stand side by side at 0, at the left; the time that the zoo took is nobody's here. "
        "At the right stand methods whose checkpoint, and with it the time, is not kept here. Filled: generators; "
        f"open: baselines, and the source, which wrote the zoo. Protocol {protocol.short}."
    )
    title = "Success against training time, on architectures held out"
    return Drawing(title, what, cost_panels(costs, chosen, results.methods), DPI)


def training_minutes(row: Row) -> float | None:
    """The mean over generator seeds; 0 for a method that trains nothing, None where it is not known."""
    seconds = row.cost.training_s if row.cost else None
    return None if seconds is None else seconds / _SECONDS


def training_costs(results: Results, task: str, chosen: Sequence[str]) -> list[Cost]:
    """Of the chosen methods that are finished on the task."""
    rows, found = unseen_rows(results, task), []
    for method in chosen:
        if method in rows and (measured := rows[method].measured) is not None:
            mean, low, high = (100 * value for value in measured.success.interval)
            found.append(Cost(method, training_minutes(rows[method]), mean, low, high))
    return found


def cost_panels(costs: Mapping[str, Sequence[Cost]], chosen: Sequence[str], methods: Methods) -> Figure:
    """One panel per task."""
    known = [cost.minutes for found in costs.values() for cost in found if cost.minutes is not None]
    longest = max([*known, 1.0])
    with matplotlib.rc_context(STYLE | FONTS):
        figure = Figure(figsize=(PAGE, 0.6 + 2.0 * len(costs)), layout="constrained")
        axes = figure.subplots(len(costs), 1, squeeze=False, sharex=True)[:, 0]
        named = Named(figure, style_methods(chosen, methods))
        for ax, (task, found) in zip(axes, costs.items(), strict=True):
            ax.set_title(task)
            places = _place(found, longest)
            _scale(ax, longest, [cost.minutes for cost in found])
            marks = [
                Mark(cost.method, place, cost.success, extent=(cost.low, cost.high))
                for cost, place in zip(found, places, strict=True)
            ]
            named.draw(ax, marks)
        axes[-1].set_xlabel("minutes of training")
        named.finish()
    return figure


def _place(costs: Sequence[Cost], longest: float) -> list[float]:
    """Where each stands across: those that train nothing side by side at the left, the unknown at the right."""
    beside: dict[float | None, int] = {}
    places = []
    for cost in costs:
        before = beside[cost.minutes] = beside.get(cost.minutes, -1) + 1
        alike = sum(other.minutes == cost.minutes for other in costs)
        if cost.minutes == 0:
            places.append(longest * _LEFT * (1 - (before + 0.5) / alike))
        elif cost.minutes is None:
            places.append(longest * (_RIGHT + (_END - _RIGHT) * (before + 0.5) / alike))
        else:
            places.append(cost.minutes)
    return places


def _scale(ax: Axes, longest: float, minutes: Sequence[float | None]) -> None:
    ax.set_ylim(0, 103)
    ax.set_yticks(range(0, 101, 25))
    ax.set_ylabel("success (%)")
    ax.set_xlim(0, longest)
    ax.set_xticks([tick for tick in ax.get_xticks() if 0 <= tick <= 1.1 * longest])
    ax.set_xlim(_LEFT * longest, _END * longest)
    ends = ((0.0, _LEFT, 0.0, "trains nothing"), (None, _RIGHT, _END, "time not kept"))
    for kind, low, high, words in ends:
        if kind in minutes:
            ax.axvspan(low * longest, high * longest, color="0.94", zorder=0, linewidth=0)
            ax.text((low + high) / 2 * longest, 40, words, ha="center", va="center", style="italic", color="0.25")
