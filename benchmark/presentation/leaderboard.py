"""The report's first table: methods down, tasks and splits across, by success."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nnbench.analysis.methods import Methods
from nnbench.analysis.results import Results
from nnbench.analysis.rows import Row
from nnbench.protocol import JOINT

SPLITS = ("seen", "unseen", JOINT)
RULE = "Marked ★: all in a column whose 95% interval reaches the column's highest mean."


@dataclass(frozen=True)
class Cell:
    """Success in percent, with its interval."""

    mean: float
    low: float
    high: float
    best: bool = False
    """It cannot be told from the highest mean of its column."""


@dataclass(frozen=True)
class Standing:
    """One method."""

    method: str
    role: str
    about: str
    """What it is a variant of; empty for a method of its own."""
    cells: Sequence[Cell | None]
    """One per column, None where it is not finished."""
    unseen: float | None
    """Mean success over the tasks on architectures held out; None unless all are finished."""


@dataclass(frozen=True)
class Leaderboard:
    """Methods by mean success on architectures held out, those without one last."""

    columns: Sequence[tuple[str, str]]
    """Task and split, of which something is finished."""
    standings: Sequence[Standing]

    @property
    def tasks(self) -> dict[str, int]:
        """Each task, and how many columns it has."""
        names = [task for task, _ in self.columns]
        return {task: names.count(task) for task in names}


def rank_methods(results: Results) -> Leaderboard:
    """The leaderboard of all methods with a finished split. Raises TableError where rows do not belong together."""
    found = {
        (task, row.partition, row.method): row
        # The mean over generator seeds is first, and stays.
        for task in results.tasks
        for row in reversed([*results.conditioned(task), *results.joint(task)])
        if row.arch is None and row.measured is not None and row.partition in SPLITS
    }
    return arrange({key: _cell(row) for key, row in found.items()}, results.tasks, results.methods)


def arrange(cells: Mapping[tuple[str, str, str], Cell], tasks: Sequence[str], methods: Methods) -> Leaderboard:
    """The leaderboard of cells by task, split and method."""
    columns = [(task, split) for task in tasks for split in SPLITS if any(key[:2] == (task, split) for key in cells)]
    highest = {column: max(cell.mean for key, cell in cells.items() if key[:2] == column) for column in columns}
    marked = {key: replace(cell, best=cell.high >= highest[key[:2]]) for key, cell in cells.items()}
    standings = [
        _stand(method, [marked.get((*column, method)) for column in columns], columns, methods)
        for method in sorted({method for _, _, method in cells})
    ]
    standings.sort(key=lambda standing: math.inf if standing.unseen is None else -standing.unseen)
    return Leaderboard(columns, standings)


def _stand(method: str, cells: Sequence[Cell | None], columns: Sequence[tuple[str, str]], methods: Methods) -> Standing:
    unseen = [cell for (_, split), cell in zip(columns, cells, strict=True) if split == "unseen"]
    whole = [cell.mean for cell in unseen if cell is not None]
    mean = sum(whole) / len(whole) if whole and len(whole) == len(unseen) else None
    base, change = methods[method].variant_of or ("", "")
    return Standing(method, methods[method].role, f"{base}, but {change}" if base else "", cells, mean)


def _cell(row: Row) -> Cell:
    assert row.measured is not None
    mean, low, high = (100 * value for value in row.measured.success.interval)
    # An interval without bounds holds its mean alone.
    return Cell(mean, mean if math.isnan(low) else low, mean if math.isnan(high) else high)
