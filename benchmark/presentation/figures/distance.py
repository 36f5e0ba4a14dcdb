"""Success against the distance of an architecture from those trained on: how far does a method carry?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnbench.analysis.methods import Methods
from nnbench.analysis.results import Results
from nnbench.analysis.scores import Scores, UnitName
from nnbench.presentation.figures.drawing import STYLE, Drawing
from nnbench.presentation.figures.marks import DPI, FONTS, PAGE, add_legend, style_methods
from nnbench.protocol import JOINT
from nnbench.tasks.policies.architectures import Architecture, distance_to, parse_architecture

_SPREAD = 0.06
"""Of the axis: what the methods at one distance are drawn apart, so that none hides another."""
_FREE, _BAND = 0.05, 0.16
"""Of the longest distance: what is free at the ends, and how wide the place of another depth is."""


@dataclass(frozen=True)
class Reached:
    """What one method's samples for one architecture solve."""

    method: str
    distance: float | None
    """From the nearest architecture trained on; None for another depth."""
    success: float
    """Of all samples, nothing selected; mean over generator seeds."""


def draw_distance(results: Results, chosen: Sequence[str]) -> Drawing:
    """These methods, and as ceilings what wrote the zoo and what trains each network, one panel per task."""
    trained, protocol = results.track.splits.train, results.protocol
    roles = {name: "wrote the zoo" for name in results.methods.references(results.methods.names)}
    trainers = results.methods.trainers(results.methods.names)
    roles |= dict.fromkeys(trainers, "trains each network by itself")
    asked = [*(name for name in chosen if name not in roles), *roles]
    by_task = {task: reached(results.scores(task), asked, trained) for task in results.tasks}
    found = {task: points for task, points in by_task.items() if points}
    measured = {point.method for points in found.values() for point in points}
    shown = [name for name in asked if name in measured]
    ceilings = [name for name in shown if name in roles]
    dashed = f"Dashed, as ceilings: {', '.join(f'{name}, which {roles[name]}' for name in ceilings)}. "
    what = (
        f"Success of all {protocol.samples} samples, nothing selected, on {protocol.screening_episodes} selection "
        "episodes. A small mark is an architecture, a large one the mean over those that are equally far, to the "
        f"nearest whole number. Across, how far an architecture is from the nearest of the {len(trained)} trained on: "
        "the sum over layers of |log2| of the ratio of widths, 0 for one of them; methods are drawn side by side. At "
        f"the right stand architectures of a depth that none of them has. {dashed if ceilings else ''}Filled: "
        f"generators; open: all others. Track {results.track.name}, protocol {protocol.short}."
    )
    title = "Success of all samples against distance from the architectures trained on"
    return Drawing(title, what, distance_panels(found, shown, ceilings, results.methods), DPI)


def reached(
    scores: Mapping[UnitName, Scores], methods: Sequence[str], trained: Sequence[Architecture]
) -> list[Reached]:
    """Of the units of one task that are of these methods, by method and architecture."""
    solved: dict[tuple[str, str], list[float]] = {}
    for unit, found in scores.items():
        if unit.method in methods and unit.arch != JOINT:
            solved.setdefault((unit.method, unit.arch), []).append(float(found.screening_success.mean()))
    return [
        Reached(method, distance_to(parse_architecture(arch), trained), float(np.mean(solved[method, arch])))
        for method, arch in sorted(solved)
    ]


def distance_panels(
    found: Mapping[str, Sequence[Reached]], shown: Sequence[str], ceilings: Sequence[str], methods: Methods
) -> Figure:
    """One panel per task, one line per method; those of the `ceilings` are dashed."""
    every = [point.distance for points in found.values() for point in points]
    longest = max((distance for distance in every if distance is not None), default=0.0) or 1.0
    styles = {
        name: style | ({"linestyle": "--", "color": "0.45"} if name in ceilings else {"linestyle": "-"})
        for name, style in style_methods(shown, methods).items()
    }
    with matplotlib.rc_context(STYLE | FONTS):
        figure = Figure(figsize=(PAGE, 0.9 + 2.9 * len(found)), layout="constrained")
        axes = figure.subplots(len(found), 1, squeeze=False, sharex=True)[:, 0]
        for ax, (task, points) in zip(axes, found.items(), strict=True):
            ax.set_title(task)
            _scale(ax, longest, deeper=None in every)
            for position, method in enumerate(shown):
                mine = [point for point in points if point.method == method]
                place = partial(_place, longest, (position + 0.5) / len(shown) - 0.5)
                _draw_method(ax, mine, place, styles[method])
        axes[-1].set_xlabel("distance to the nearest architecture trained on (|log2| of the ratio of widths, summed)")
        handles = [Line2D([], [], label=name, markersize=6, **style) for name, style in styles.items()]
        add_legend(figure, handles, handlelength=3)
    return figure


def _draw_method(
    ax: Axes, points: Sequence[Reached], place: Callable[[float | None], float], style: dict[str, Any]
) -> None:
    """Each architecture, and a line through the means of those equally far; that of other depths stands alone."""
    if not points:  # an empty line that is not clipped has no extent, and the layout fails
        return
    steps: dict[int | None, list[tuple[float, float]]] = {}
    for point in points:
        step = None if point.distance is None else round(point.distance)
        steps.setdefault(step, []).append((place(point.distance), 100 * point.success))
    every = [at for found in steps.values() for at in found]
    small = {"linestyle": "none", "markersize": 3.5, "alpha": 0.45, "markeredgewidth": 0.5}
    ax.plot(*zip(*every, strict=True), zorder=2, clip_on=False, **style | small)
    near = [np.mean(steps[step], axis=0) for step in sorted(step for step in steps if step is not None)]
    lone = [np.mean(steps[None], axis=0)] if None in steps else []
    for line in filter(None, (near, lone)):
        ax.plot(*zip(*line, strict=True), linewidth=1.2, markersize=6.5, zorder=3, clip_on=False, **style)


def _place(longest: float, share: float, distance: float | None) -> float:
    """Where one of several methods, by its `share` of -0.5 to 0.5, is drawn across."""
    if distance is None:
        return longest * (1 + _FREE + _BAND * (0.5 + 0.7 * share))
    return distance + _SPREAD * longest * share


def _scale(ax: Axes, longest: float, *, deeper: bool) -> None:
    ax.set_ylim(0, 103)
    ax.set_yticks(range(0, 101, 25))
    ax.set_ylabel("success of all\nsamples (%)")
    ax.set_xticks(range(int(longest) + 1))
    ax.set_xlim(-_FREE * longest, (1 + _FREE + (_BAND if deeper else 0)) * longest)
    if deeper:
        ax.axvspan((1 + _FREE) * longest, (1 + _FREE + _BAND) * longest, color="0.94", zorder=0, linewidth=0)
        look: dict[str, Any] = {"ha": "center", "va": "bottom", "style": "italic", "color": "0.25"}
        ax.text((1 + _FREE + _BAND / 2) * longest, 104, "another depth", **look)
