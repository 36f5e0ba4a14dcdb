"""Marks of methods in a plane, told apart by colour and by shape, with their names beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from nnbench.analysis.methods import Methods

PAGE = 8.0
"""Inches, 800 pixels of a page on a screen."""
FONTS = {"font.size": 9.5, "axes.titlesize": 11, "axes.titleweight": "bold"}
"""What is larger here than in figures that are read in print."""
DPI = 144
"""Sharp enough for a page on a screen, and half the size of a file for print."""

_MOST_NAMED = 9
"""Beside more marks there is no room for names; a legend has them."""

_NAME = 1.5
"""Inches across, of a name in the legend."""

# Okabe and Ito: told apart by every kind of colour vision. Without their yellow, which is too light on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vPX<>ph*8"

_DISTANCES = (9, 15, 22, 30, 40, 52, 66)
_ANGLES = (0, -30, 180, -90, -60, -150, -120, 30, 90, 60, 150, 120)


@dataclass(frozen=True)
class Mark:
    """One method in one panel."""

    method: str
    x: float
    y: float
    size: float = 8.0
    """Points across."""
    extent: tuple[float, float] | None = None
    """An interval, drawn upright."""
    whole: bool = True
    """False for one that is drawn pale, as its size or place says less."""


@dataclass
class Named:
    """Panels whose marks get names once the layout is known."""

    figure: Figure
    styles: dict[str, dict[str, Any]]
    _waiting: list[tuple[Axes, list[Mark], list[Text]]] = field(default_factory=list)

    def draw(self, ax: Axes, marks: Sequence[Mark], keep_free: Sequence[Text] = ()) -> None:
        """Draw the marks; names will not cover the texts to keep free."""
        for mark in marks:
            # Open ones lie above, so that a mark below is seen through them.
            order = 5 if "markerfacecolor" in self.styles[mark.method] else 4
            look = {"alpha": 1.0 if mark.whole else 0.55, "markersize": mark.size} | self.styles[mark.method]
            if mark.extent is not None:
                ax.plot([mark.x] * 2, mark.extent, color=look["color"], linewidth=1.2, zorder=3, clip_on=False)
            ax.plot([mark.x], [mark.y], linestyle="none", zorder=order, clip_on=False, **look)
        self._waiting.append((ax, list(marks), list(keep_free)))

    def finish(self) -> None:
        """Write the names: beside the marks, or in a legend where there are many."""
        if len(self.styles) > _MOST_NAMED:
            handles = [
                Line2D([], [], linestyle="none", markersize=7, label=name, **style)
                for name, style in self.styles.items()
            ]
            add_legend(self.figure, handles, int(self.figure.get_figwidth() / _NAME), handletextpad=0.2)
            return
        FigureCanvasAgg(self.figure)
        self.figure.draw_without_rendering()
        for ax, marks, texts in self._waiting:
            _name_marks(ax, marks, self.styles, [text.get_window_extent() for text in texts])


def add_legend(figure: Figure, handles: Sequence[Line2D], most: int = 5, **look: float) -> None:
    """Names above the panels, in so many columns or in fewer where that is wider than the figure."""
    FigureCanvasAgg(figure)
    for columns in range(most, 0, -1):
        legend = figure.legend(handles=handles, loc="outside upper left", ncols=columns, **look)
        figure.draw_without_rendering()
        if columns == 1 or legend.get_window_extent().x1 <= figure.bbox.x1:
            return
        legend.remove()


def style_methods(names: Sequence[str], methods: Methods) -> dict[str, dict[str, Any]]:
    """How each of the methods is drawn, by its place: no two have both colour and shape in common. Generators are
    filled, all others open."""
    styles = {}
    for place, name in enumerate(names):
        colour = _COLOURS[place % len(_COLOURS)]
        style: dict[str, Any] = {"marker": _MARKERS[place % len(_MARKERS)], "color": colour, "markeredgewidth": 1.5}
        if methods[name].role != "generator":
            style["markerfacecolor"] = "none"
        styles[name] = style
    return styles


def _name_marks(ax: Axes, marks: Sequence[Mark], styles: dict[str, dict[str, Any]], taken: list[Bbox]) -> None:
    """Each name at the nearest place that is free, with a line to its mark where that is not beside it."""
    scale = ax.figure.dpi / 72
    centres = [ax.transData.transform((mark.x, mark.y)) for mark in marks]
    taken += [
        Bbox([centre - mark.size * scale / 2, centre + mark.size * scale / 2])
        for mark, centre in zip(marks, centres, strict=True)
    ]
    room = ax.get_window_extent().padded(2 * scale)
    for place in np.lexsort([[-x for x, _ in centres], [y for _, y in centres]]):
        mark, centre = marks[place], centres[place]
        name = ax.text(mark.x, mark.y, mark.method, zorder=6, in_layout=False)
        name.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        size = name.get_window_extent()
        box, near = _free_box(centre, np.array([size.width, size.height]), scale, mark.size / 2, room, taken)
        taken.append(box)
        name.set(position=ax.transData.inverted().transform(box.p0), verticalalignment="bottom")
        if not near:
            end = ax.transData.inverted().transform(_nearest_point(box, centre))
            ax.plot(
                [mark.x, end[0]], [mark.y, end[1]], color=styles[mark.method]["color"], linewidth=0.7, clip_on=False
            )


def _free_box(
    centre: np.ndarray, size: np.ndarray, scale: float, radius: float, room: Bbox, taken: Sequence[Bbox]
) -> tuple[Bbox, bool]:
    """The box of a name, and whether it is beside its mark. Where nothing is free it is the first place."""
    tried = []
    for distance, angle in product(_DISTANCES, _ANGLES):
        way = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        # The middle of the box's side, or corner, that looks at the mark lies at the distance.
        anchor = centre + (distance - 4 + radius) * scale * way
        corner = anchor - size * (1 - np.sign(np.round(way, 6))) / 2
        box = Bbox([corner, corner + size])
        inside = room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1
        tried.append((box, distance == _DISTANCES[0]))
        if inside and not any(box.overlaps(other) for other in taken):
            return tried[-1]
    return tried[0]


def _nearest_point(box: Bbox, point: np.ndarray) -> np.ndarray:
    """Of the box."""
    return np.clip(point, box.p0, box.p1)
