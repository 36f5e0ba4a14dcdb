"""Success of all samples, novelty and cost of each method in one plane, over all tasks: the report's first picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from nnbench.analysis.methods import Methods
from nnbench.analysis.results import Results
from nnbench.presentation.figures.choice import unseen_rows
from nnbench.presentation.figures.cost import training_minutes
from nnbench.presentation.figures.drawing import STYLE, Drawing, FigureError
from nnbench.presentation.figures.marks import DPI, FONTS, Mark, Named, style_methods
from nnbench.presentation.figures.novelty import PADDED, mark_corner, median_of, novelty_points, scale_novelty

_SMALLEST, _LARGEST = 6.0, 16.0
"""Points across, of a method that trains nothing and of the one that trains longest."""


@dataclass(frozen=True)
class Place:
    """One method, in the mean over the tasks."""

    method: str
    novelty: float
    success: float
    """Of all samples, nothing selected."""
    minutes: float | None
    """Of training, None where it is not known."""


def draw_overview(results: Results, chosen: Sequence[str]) -> Drawing:
    """The chosen methods. Raises FigureError where none was measured on every task that has rows."""
    places = [place for method in chosen if (place := _place(results, method)) is not None]
    if not places:
        raise FigureError("no method has success and novelty on every task that was measured")
    what = (
        "Mean over tasks, on architectures held out. Up, the success of all samples, nothing selected. Across, how far "
        "the median of a method's selected networks lies from the nearest hypernetwork policy, as a share of what two "
        "hypernetworks lie apart; "
        f"{PADDED}. The larger a mark, the longer its "
        f"training: {_say_times(places)}. Filled: generators; open: baselines, and the source. "
        f"Protocol {results.protocol.short}."
    )
    return Drawing("Success, novelty and training time", what, overview_scatter(places, results.methods), DPI)


def overview_scatter(places: Sequence[Place], methods: Methods) -> Figure:
    """One mark per method."""
    longest = max([place.minutes or 0.0 for place in places] + [1e-9])
    with matplotlib.rc_context(STYLE | FONTS):
        figure = Figure(figsize=(4.6, 5.2), layout="constrained")
        ax = figure.subplots()
        scale_novelty(ax, max(place.novelty for place in places))
        ax.set_xlabel("novelty (1: as far as another hypernetwork)")
        corner = mark_corner(ax, "far in weights,\nworks", 7)
        ax.set_ylabel("success of all samples, unseen architectures (%)")
        named = Named(figure, style_methods([place.method for place in places], methods))
        marks = [
            Mark(
                place.method,
                place.novelty,
                place.success,
                size=(_SMALLEST**2 + (_LARGEST**2 - _SMALLEST**2) * (place.minutes or 0.0) / longest) ** 0.5,
                whole=place.minutes is not None,
            )
            for place in places
        ]
        named.draw(ax, marks, [corner])
        named.finish()
    return figure


def _place(results: Results, method: str) -> Place | None:
    """None unless the method is measured on every task that any method has rows of."""
    found = []
    for task in results.tasks:
        rows = unseen_rows(results, task)
        if not rows:
            continue
        at = median_of(novelty_points(results.scores(task), task, [method], results.track.splits.unseen), method)
        if method not in rows or at is None:
            return None
        measured = rows[method].measured
        assert measured is not None
        found.append((at[0], 100 * measured.sample_success.mean, training_minutes(rows[method])))
    minutes = [each for *_, each in found if each is not None]
    novelty, success = np.mean([each[:2] for each in found], axis=0)
    whole = len(minutes) == len(found)
    return Place(method, float(novelty), float(success), float(np.mean(minutes)) if whole else None)


def _say_times(places: Sequence[Place]) -> str:
    trained = [f"{place.minutes:.0f} minutes for {place.method}" for place in places if place.minutes]
    said = [*trained, "the smallest train nothing"]
    unknown = [place.method for place in places if place.minutes is None]
    return ", ".join(said) + (f"; of {', '.join(unknown)} (pale) it is not kept here" if unknown else "")
