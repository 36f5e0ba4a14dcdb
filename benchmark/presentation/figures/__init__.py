"""Figures 3 to 6 of the paper, and success against novelty, cost, distance and training, as matplotlib figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnbench.analysis.reported import SUBJECT
from nnbench.analysis.results import Results
from nnbench.presentation.figures.choice import choose_methods
from nnbench.presentation.figures.cost import draw_cost
from nnbench.presentation.figures.distance import draw_distance
from nnbench.presentation.figures.drawing import Drawing, FigureError, as_svg, require_kind, save
from nnbench.presentation.figures.learning import draw_learning
from nnbench.presentation.figures.magnitudes import WIDEST, draw_hypernetworks, draw_seeds
from nnbench.presentation.figures.novelty import draw_novelty
from nnbench.presentation.figures.overview import draw_overview
from nnbench.presentation.figures.similarity import draw_selected_pairs, draw_training_pairs
from nnbench.tasks.policies.architectures import Architecture, parse_architecture

if TYPE_CHECKING:  # torch takes a second to import, and some figures need none of it
    from nnbench.tasks.zoo.zoo import Zoo

__all__ = [
    "OF_METHODS",
    "OF_ONE_TASK",
    "Drawing",
    "FigureError",
    "as_svg",
    "draw",
    "draw_learning",
    "draw_methods",
    "require_kind",
    "save",
]

OF_ONE_TASK = ("3", "4", "5", "6")
"""What `draw` draws."""
OF_METHODS = ("overview", "novelty", "cost", "distance")
"""What `draw_methods` draws."""

_PAPER_FIGURE6 = parse_architecture("16-64-64-32")


def draw_methods(name: str, results: Results, methods: Sequence[str] = ()) -> Drawing:
    """One of `OF_METHODS`, of all tasks of the results: the overview has one panel, the others one for each task.

    `methods` are those to show; `all` shows every one. Without any the paper's are shown, the source, and the best of
    the others. Raises FigureError where something is missing.
    """
    drawn = {"overview": draw_overview, "novelty": draw_novelty, "cost": draw_cost, "distance": draw_distance}
    return drawn[name](results, choose_methods(results, methods))


def draw(name: str, results: Results, task: str, archs: Sequence[Architecture] = (), method: str = SUBJECT) -> Drawing:
    """One of `OF_ONE_TASK`, of other architectures than its own where `archs` are given; `method` is for figure 6.

    Raises FigureError where something is missing, ZooError where the task's zoo is damaged.
    """
    if archs and name == "3":
        raise FigureError("figure 3: its architectures are those measured; leave --archs out")
    if len(archs) > 1 and name in ("5", "6"):
        raise FigureError(f"figure {name}: {len(archs)} architectures, expected one; it is drawn for one at a time")
    if name == "3":
        return draw_seeds(results.alignment(task), lambda: _zoo(results, task), task)
    if name == "4":
        return draw_hypernetworks(_zoo(results, task), task, archs)
    if name == "5":
        return draw_training_pairs(_zoo(results, task), task, archs[0] if archs else WIDEST)
    arch = archs[0] if archs else _PAPER_FIGURE6
    return draw_selected_pairs(results.scores(task), results.protocol, task, arch, method)


def _zoo(results: Results, task: str) -> "Zoo":
    found = results.zoo(task)
    if found is None:
        raise FigureError(
            f"no zoo of {task} comes with this version; `nnbench zoo build --task {task}` makes one, and --zoo names it"
        )
    return found
