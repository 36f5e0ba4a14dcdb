"""Novelty against success: is what works new?"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import SUBJECT
from nnbench.analysis.scores import Scores, UnitName
from nnbench.presentation.figures.drawing import STYLE, WIDTH, Drawing, FigureError
from nnbench.protocol import JOINT, Protocol
from nnbench.tasks.policies.architectures import load_splits, parse_architecture

_FILLED_MARKERS = "osvX^PDh<*>pd8"
_OPEN_MARKERS = "sD^vo<>ph8"
_COPY = 0.01
"""Novelty is drawn on a linear axis below this and on a logarithmic one above: exact copies have none at all."""


_PARTITIONS = {
    "seen": "architectures trained on",
    "unseen": "architectures held out",
    "outside": "architectures outside the space",
    "other": "other architectures",
    JOINT: "architectures that the method chose",
}


@dataclass(frozen=True)
class Point:
    """One network, selected and tested."""

    method: str
    partition: str
    novelty: float
    """Distance to the nearest hypernetwork policy, as a multiple of that between two hypernetworks."""
    success: float


def draw_novelty(scores: Mapping[UnitName, Scores], protocol: Protocol, task: str, methods: Methods) -> Drawing:
    """The distinct selected networks of all methods. Raises FigureError where nothing was measured."""
    points = novelty_points(scores, task)
    if not points:
        raise FigureError(
            f"nothing on {task} was measured with protocol {protocol.short}; "
            f"`nnbench run --method {SUBJECT} --task {task}` measures a method"
        )
    what = (
        f"A small mark is a network: the distinct ones of the top {protocol.top} of {protocol.samples} that each "
        "method wrote for each architecture, their number in brackets; the large mark is the median of a method's. "
        "Across, the L2 distance to the nearest hypernetwork policy of the architecture, neurons matched, divided by "
        "that between two hypernetworks: 0 is an exact copy, 1 (dotted) as new as another hypernetwork. "
        f"Below {_COPY:g} the axis is linear. Up, the share of {protocol.test_episodes} test episodes solved "
        f"({protocol.headline.replace('_', ' ')}). Filled: generators; open: baselines, and sources, which wrote the "
        f"zoo. Protocol {protocol.short}."
    )
    return Drawing(f"Novelty against success, {task}", what, novelty_scatter(points, methods))


def novelty_points(scores: Mapping[UnitName, Scores], task: str) -> list[Point]:
    """The distinct selected networks of every unit of the task, but those whose novelty has no measure."""
    points, splits = [], load_splits()
    for unit, found in scores.items():
        if unit.task != task:
            continue
        partition = JOINT if unit.arch == JOINT else splits.partition(parse_architecture(unit.arch))
        distances, spreads = found.of_top("ghn_distance"), found.of_top("ghn_spread")
        for position in sorted({network: k for k, network in reversed(list(enumerate(found.networks)))}.values()):
            if spreads[position] > 0:
                novelty = float(distances[position] / spreads[position])
                success = float(found.success[position].mean())
                points.append(Point(unit.method, {"train": "seen"}.get(partition, partition), novelty, success))
    return points


def novelty_scatter(points: Sequence[Point], methods: Methods) -> Figure:
    """One panel per partition, one marker per method: small ones are networks, the large one is their median."""
    partitions = [name for name in _PARTITIONS if any(point.partition == name for point in points)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.1 + 2.1 * len(partitions)), layout="constrained")
        axes = figure.subplots(len(partitions), 1, squeeze=False, sharex=True)[:, 0]
        styles = marker_styles({point.method for point in points}, methods)
        for ax, partition in zip(axes, partitions, strict=True):
            _draw_panel(ax, [point for point in points if point.partition == partition], styles)
            ax.set_title(_PARTITIONS[partition])
        _draw_novelty_axis(axes[-1], max(point.novelty for point in points))
        handles = [
            Line2D([], [], linestyle="none", markersize=6, color="black", **style, label=f"{method} ({count})")
            for method, style in styles.items()
            if (count := sum(point.method == method for point in points))
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=4, handletextpad=0.2)
    return figure


def marker_styles(names: Collection[str], methods: Methods) -> dict[str, dict[str, Any]]:
    """How each of the methods is drawn: generators first and filled, all others open.

    Markers go by the name among all methods that are known, so that a method keeps its own whichever others have rows.
    """
    known = [*methods.names, *sorted(set(names) - set(methods.names))]
    filled = methods.of_role("generator", known)
    hollow = [name for name in known if name not in filled]
    styles: dict[str, dict[str, Any]] = {
        name: {"marker": _FILLED_MARKERS[place % len(_FILLED_MARKERS)]} for place, name in enumerate(filled)
    }
    for place, name in enumerate(hollow):
        marker = _OPEN_MARKERS[place % len(_OPEN_MARKERS)]
        styles[name] = {"marker": marker, "markerfacecolor": "none", "markeredgewidth": 0.9}
    return {name: style for name, style in styles.items() if name in names}


def _draw_panel(ax: Axes, points: Sequence[Point], styles: Mapping[str, Mapping[str, Any]]) -> None:
    ax.axvline(1, color="0.5", linewidth=0.8, linestyle=":")
    for faint in (True, False):
        for method, style in styles.items():
            mine = np.array([(p.novelty, 100 * p.success) for p in points if p.method == method]).reshape(-1, 2)
            if not len(mine):
                continue  # an empty line that is not clipped has no extent, and the layout fails
            if not faint:
                mine = np.median(mine, axis=0, keepdims=True)
            look: dict[str, Any] = {"markersize": 3, "color": "0.65"} if faint else {"markersize": 7, "color": "black"}
            ax.plot(*mine.T, linestyle="none", clip_on=False, zorder=2 + (not faint), **style, **look)
    ax.set_ylim(0, 100)
    ax.set_ylabel("success on\ntest episodes (%)")


def _draw_novelty_axis(ax: Axes, highest: float) -> None:
    ticks = {0.0: "0\ncopy", _COPY: f"{_COPY:g}", 0.1: "0.1", 1.0: "1\nanother GHN", 10.0: "10", 100.0: "100"}
    end = next((tick for tick in (2.0, 10.0, 100.0) if tick > highest), 1.1 * highest)
    shown = {tick: label for tick, label in ticks.items() if tick <= end}
    ax.set_xscale("symlog", linthresh=_COPY, linscale=0.4)
    ax.set_xlim(-_COPY / 10, end)
    ax.set_xticks(list(shown), list(shown.values()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("L2 distance to the nearest GHN policy / L2 distance between GHNs")
