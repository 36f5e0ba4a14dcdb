"""Novelty of weights against success on architectures held out: is what works far from what was copied?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import NullLocator

from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import CLAIMED_UNSEEN
from nnbench.analysis.results import Results
from nnbench.analysis.scores import Scores, UnitName
from nnbench.presentation.figures.drawing import STYLE, Drawing, FigureError
from nnbench.presentation.figures.marks import DPI, FONTS, PAGE, Mark, Named, style_methods
from nnbench.store.schemas import FAR
from nnbench.tasks.policies.architectures import Architecture, architecture_name

PADDED = (
    "far in weights is not yet new: a training policy that is padded to another architecture gets there, and computes "
    "nothing new"
)
"""What a reader of the corner must know; table `novelty` has how far apart the actions are."""

_COPY = 0.01
"""Novelty is drawn on a linear axis below this and on a logarithmic one above: exact copies have none at all."""


@dataclass(frozen=True)
class Point:
    """One network, selected and tested."""

    method: str
    novelty: float
    """Distance to the nearest hypernetwork policy, as a multiple of that between two hypernetworks."""
    success: float


def draw_novelty(results: Results, chosen: Sequence[str]) -> Drawing:
    """The distinct selected networks of these methods, one panel per task."""
    protocol = results.protocol
    unseen = results.track.splits.unseen
    by_task = {task: novelty_points(results.scores(task), task, chosen, unseen) for task in results.tasks}
    points = {task: found for task, found in by_task.items() if found}
    if not points:
        raise FigureError("no network has a measure of novelty: it needs a zoo of several hypernetworks")
    what = (
        f"A large mark is the median of a method's networks, a small one a network: the distinct ones of the top "
        f"{protocol.top} of {protocol.samples} for each architecture held out. Across, the L2 distance to the nearest "
        "hypernetwork policy of the architecture, neurons matched, divided by that between two hypernetworks: 0 is an "
        f"exact copy, 1 (dotted) as far as another hypernetwork. Below {_COPY:g} the axis is linear. Up, the share of "
        f"{protocol.test_episodes} test episodes solved ({protocol.headline.replace('_', ' ')}). The corner: at least "
        f"{FAR:g} of the distance between two hypernetworks, and more success than the {100 * CLAIMED_UNSEEN:.0f} % "
        f"that the paper claims. But {PADDED}. Filled: generators; open: baselines, and the source, which wrote "
        f"the zoo. Protocol {protocol.short}."
    )
    title = "Success against novelty, on architectures held out"
    return Drawing(title, what, novelty_scatter(points, chosen, results.methods), DPI)


def novelty_points(
    scores: Mapping[UnitName, Scores], task: str, chosen: Sequence[str], unseen: Sequence[Architecture]
) -> list[Point]:
    """The distinct selected networks of these methods' units of the task on the architectures held out, `unseen`, but
    those whose novelty has no measure."""
    points, held_out = [], set(map(architecture_name, unseen))
    for unit, found in scores.items():
        if unit.task != task or unit.arch not in held_out or unit.method not in chosen:
            continue
        distances, spreads = found.of_top("ghn_distance"), found.of_top("ghn_spread")
        for position in sorted({network: k for k, network in reversed(list(enumerate(found.networks)))}.values()):
            if spreads[position] > 0:
                novelty = float(distances[position] / spreads[position])
                points.append(Point(unit.method, novelty, float(found.success[position].mean())))
    return points


def median_of(points: Sequence[Point], method: str) -> tuple[float, float] | None:
    """Novelty and success (%) of a method's median network; None where it has none."""
    mine = [(point.novelty, 100 * point.success) for point in points if point.method == method]
    if not mine:
        return None
    novelty, success = np.median(mine, axis=0)
    return float(novelty), float(success)


def novelty_scatter(points: Mapping[str, Sequence[Point]], chosen: Sequence[str], methods: Methods) -> Figure:
    """One panel per task, one marker per method: small ones are networks, the large one is their median."""
    with matplotlib.rc_context(STYLE | FONTS):
        figure = Figure(figsize=(PAGE, 0.7 + 2.0 * len(points)), layout="constrained")
        axes = figure.subplots(len(points), 1, squeeze=False, sharex=True)[:, 0]
        named = Named(figure, style_methods(chosen, methods))
        scale_novelty(axes[-1], max((point.novelty for found in points.values() for point in found), default=1.0))
        for ax, (task, found) in zip(axes, points.items(), strict=True):
            ax.set_title(task)
            corner = mark_corner(ax)
            for method, style in named.styles.items():
                mine = np.array([(p.novelty, 100 * p.success) for p in found if p.method == method]).reshape(-1, 2)
                if len(mine):  # an empty line that is not clipped has no extent, and the layout fails
                    faint = {"markersize": 3, "alpha": 0.35, "markeredgewidth": 0.5}
                    ax.plot(*mine.T, linestyle="none", clip_on=False, zorder=2, **style | faint)
            medians = {method: median_of(found, method) for method in chosen}
            named.draw(ax, [Mark(method, *at) for method, at in medians.items() if at is not None], [corner])
        named.finish()
    return figure


def mark_corner(ax: Axes, words: str = "far in weights, works", size: float = 8) -> Text:
    """Where networks lie far from all hypernetwork policies and work; the words that say so, `size` in points. Sets
    the axis of success."""
    ax.axvline(1, color="0.5", linewidth=0.8, linestyle=":")
    ax.set_ylim(0, 103)
    ax.set_yticks(range(0, 101, 25))
    ax.set_ylabel("success (%)")
    right = ax.get_xlim()[1]
    low = 100 * CLAIMED_UNSEEN
    ax.add_patch(Rectangle((FAR, low), right - FAR, 103 - low, facecolor="0.9", edgecolor="0.6", zorder=0))
    look: dict[str, Any] = {"ha": "right", "va": "bottom", "style": "italic", "color": "0.25", "size": size}
    return ax.annotate(words, (right, low), (-3, 1), textcoords="offset points", **look)


def scale_novelty(ax: Axes, highest: float) -> None:
    """The axis of novelty, to the highest."""
    ticks = {0.0: "0\ncopy", _COPY: f"{_COPY:g}", 0.1: "0.1", 1.0: "1\nanother GHN", 10.0: "10", 100.0: "100"}
    end = next((tick for tick in (2.0, 10.0, 100.0) if tick > highest), 1.1 * highest)
    shown = {tick: label for tick, label in ticks.items() if tick <= end}
    ax.set_xscale("symlog", linthresh=_COPY, linscale=0.4)
    ax.set_xlim(-_COPY / 10, end)
    ax.set_xticks(list(shown), list(shown.values()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("novelty: L2 distance to the nearest GHN policy / L2 distance between GHNs")
