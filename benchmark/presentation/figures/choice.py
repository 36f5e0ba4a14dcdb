"""Which methods the figures of several methods show, chosen by facts and numbers."""

from collections.abc import Mapping, Sequence

from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import SUBJECT, reported_cells, tasks_of
from nnbench.analysis.results import Results
from nnbench.analysis.rows import Row
from nnbench.presentation.figures.drawing import FigureError

ALL = "all"
MOST = 7
"""Methods that a figure shows unless it is asked for others."""

_MOST_BASELINES = 2


def unseen_rows(results: Results, task: str) -> dict[str, Row]:
    """Method to its row of table 2 on the architectures held out, of those that are finished."""
    found: dict[str, Row] = {}
    for row in results.conditioned(task):
        if row.partition == "unseen" and row.arch is None and row.measured is not None:
            found.setdefault(row.method, row)  # the mean over generator seeds is first
    return found


def choose_methods(results: Results, asked: Sequence[str] = ()) -> list[str]:
    """The methods to show: those asked for, every one where that is `all`, or else those of `choose_default`.

    Raises FigureError where nothing is finished, or a method that is asked for is not.
    """
    success: dict[str, dict[str, float]] = {}
    for task in results.tasks:
        for method, row in unseen_rows(results, task).items():
            assert row.measured is not None
            success.setdefault(method, {})[task] = row.measured.success.mean
    if not success:
        raise FigureError(
            f"no method was measured on all unseen architectures with protocol {results.protocol.short}; "
            f"`nnbench run --method {SUBJECT} --split unseen` measures one"
        )
    unknown = [name for name in asked if name not in success and name != ALL]
    if unknown:
        raise FigureError(f"method {unknown[0]!r} was not measured here; finished are {', '.join(sorted(success))}")
    if not asked or ALL in asked:
        # What was not measured on a task counts as nothing solved, so that no method leads by its easiest task.
        means = {name: sum(of.values()) / len(results.tasks) for name, of in success.items()}
        return choose_default(means, results.methods, len(means) if asked else MOST)
    return list(dict.fromkeys(asked))


def choose_default(success: Mapping[str, float], methods: Methods, most: int = MOST) -> list[str]:
    """The paper's methods, the source, the two best baselines, and then the best other generators, those that are no
    variant of another one first; at most so many. `success` is the mean of each method that was measured."""
    ranked = sorted(success, key=lambda name: (-success[name], name))
    paper = {cell.method for task in tasks_of(2) for cell in reported_cells(2, task)}
    generators = methods.of_role("generator", ranked)
    baselines = methods.of_role("baseline", ranked)
    first = sorted((name for name in generators if name in paper), key=lambda name: name != SUBJECT)
    first += methods.references(ranked) + baselines[:_MOST_BASELINES]
    others = sorted((name for name in generators if name not in first), key=lambda name: _is_variant(name, methods))
    rest = [name for name in ranked if name not in first and name not in others]
    return [*first, *others, *rest][:most]


def _is_variant(name: str, methods: Methods) -> bool:
    return methods[name].variant_of is not None
