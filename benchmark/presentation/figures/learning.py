"""Success and loss against the hours of training, as methods log them: when has a method learned what it learns?"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nnbench.analysis.learning import Curve, final_success, trace
from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import SUBJECT
from nnbench.facts import find_facts
from nnbench.presentation.figures.choice import ALL, MOST, choose_default
from nnbench.presentation.figures.drawing import STYLE, Drawing, FigureError
from nnbench.presentation.figures.marks import DPI, FONTS, PAGE, add_legend, style_methods
from nnbench.store.learning import Training

_EARLIER = "a stage before the last"
_MARKS = 8
"""On a line of losses, about."""


def draw_learning(trainings: Sequence[Training], asked: Sequence[str] = (), track: str = "paper") -> Drawing:
    """One column per task that there are trainings of, one line per training.

    `asked` are the methods to show, by `choose_trained`; `track` is whose trainings these are.
    """
    methods = Methods(find_facts())
    shown = choose_trained(trainings, methods, asked)
    chosen = [training for training in trainings if training.method in shown]
    curves: dict[str, dict[str, list[list[Curve]]]] = {}
    for training in chosen:
        curves.setdefault(training.task, {}).setdefault(training.method, []).append(trace(training))
    earlier = list(dict.fromkeys(stage.name for training in chosen for stage in training.stages[:-1]))
    dashed = (
        f"Dashed: stages before the last ({', '.join(earlier)}); success there is that of round trips through the "
        "autoencoder, not of samples. "
    )
    what = (
        "Above, success of the averaged weights' samples on a few validation episodes of two or four training "
        "architectures, each tenth of the steps; a method without a line there was trained where nothing validated it. "
        "Below, the loss, from the first that its stage logged (1) to the least (0): a line says how a method's own "
        "loss falls, and losses of different methods or stages cannot be compared. Across, hours of training on "
        "whatever machine each was trained on; validation is not counted. "
        f"{dashed if earlier else ''}Track {track}."
    )
    return Drawing("Success and loss while methods are trained", what, learning_panels(curves, shown, methods), DPI)


def choose_trained(trainings: Sequence[Training], methods: Methods, asked: Sequence[str] = ()) -> list[str]:
    """The methods to show: those asked for, every one where that is `all`, or else those of `choose_default`, by the
    success that they end with.

    Raises FigureError where there are no logs, or none of a method that is asked for.
    """
    if not trainings:
        raise FigureError(
            f"no training left a log here; `nnbench train --method {SUBJECT}` trains a method and keeps its log, with "
            "--retrain also one that is trained already"
        )
    success = final_success(trainings, list(dict.fromkeys(training.task for training in trainings)))
    if unknown := [name for name in asked if name not in success and name != ALL]:
        raise FigureError(f"no log of method {unknown[0]!r} is here; there are logs of {', '.join(sorted(success))}")
    if not asked or ALL in asked:
        return choose_default(success, methods, len(success) if asked else MOST)
    return list(dict.fromkeys(asked))


def learning_panels(
    curves: Mapping[str, Mapping[str, Sequence[Sequence[Curve]]]], shown: Sequence[str], methods: Methods
) -> Figure:
    """By task and method the trainings, each with one curve per stage: a column per task, success above loss."""
    styles = style_methods(shown, methods)
    with matplotlib.rc_context(STYLE | FONTS):
        figure = Figure(figsize=(PAGE, 5.4), layout="constrained")
        axes = figure.subplots(2, len(curves), squeeze=False, sharex="col", sharey="row")
        for (above, below), (task, by_method) in zip(axes.T, curves.items(), strict=True):
            above.set_title(task)
            below.set_xlabel("hours of training")
            for method in shown:
                for stages in by_method.get(method, ()):
                    for curve in stages:
                        _draw_curve(above, below, curve, styles[method])
            below.set_xlim(left=0)
            below.xaxis.set_major_locator(MaxNLocator(4))
        _scale(*axes[:, 0])
        handles = [Line2D([], [], label=name, markersize=6, **style) for name, style in styles.items()]
        if any(not curve.last for of in curves.values() for each in of.values() for stages in each for curve in stages):
            handles.append(Line2D([], [], label=_EARLIER, color="0.45", linestyle="--"))
        add_legend(figure, handles, handlelength=3)
    return figure


def _draw_curve(above: Axes, below: Axes, curve: Curve, style: dict[str, Any]) -> None:
    look = style | {"linestyle": "-" if curve.last else "--", "linewidth": 1.2, "markeredgewidth": 1.0}
    # Small where a stage is short, or else they would cover the dashes.
    size = 4.5 if curve.last else 2.5
    if curve.success:  # an empty line that is not clipped has no extent, and the layout fails
        above.plot(*zip(*curve.success, strict=True), markersize=size, clip_on=False, **look)
    if curve.loss:
        every = max(1, len(curve.loss) // _MARKS)
        below.plot(*zip(*curve.loss, strict=True), markersize=size - 1, markevery=every, **look)


def _scale(above: Axes, below: Axes) -> None:
    """Of the first column; the others share them."""
    above.set_ylim(0, 103)
    above.set_yticks(range(0, 101, 25))
    above.set_ylabel("success on validation\nepisodes (%)")
    below.set_ylim(0, 1.03)
    below.set_ylabel("loss, from the first (1)\nto the least (0)")
