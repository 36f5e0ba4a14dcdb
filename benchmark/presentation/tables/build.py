"""The tables of one folder of results, with all their columns."""

from collections.abc import Callable, Sequence
from typing import Any

from nnbench.analysis.claims import list_claims
from nnbench.analysis.comparisons import overlap_with_source
from nnbench.analysis.lines import Line
from nnbench.analysis.reported import tasks_of
from nnbench.analysis.results import Results
from nnbench.analysis.round_trips import average
from nnbench.analysis.rows import Row
from nnbench.errors import InputError
from nnbench.presentation.tables.comparison import NoveltyRow, claims_table, differences_table, novelty_table
from nnbench.presentation.tables.cost import cost_table
from nnbench.presentation.tables.generation import table2, table3, table4
from nnbench.presentation.tables.table import MISSING, Table
from nnbench.presentation.tables.zoo import round_trip_table, table1, table6

NAMES = ("1", "2", "3", "4", "6", "claims", "differences", "novelty", "cost", "roundtrip")
"""What `build` builds: the paper's tables by number, and others by name."""


def build(names: Sequence[str], results: Results, *, detail: bool = False) -> list[Table[Any]]:
    """The tables of these `NAMES`, in this order; some are one table per task.

    `detail` shows the architectures of table 2 and all columns of the novelty to people too; machines always get them.
    Tables 1 and 4 are of the task that the paper prints them for. Raises InputError for an unknown name, and TableError
    where rows do not belong together.
    """
    builders: dict[str, Callable[[Results], list[Table[Any]]]] = {
        "1": lambda results: [table1(results.alignment(task), task) for task in tasks_of(1)],
        "2": lambda results: [
            table2(results.conditioned(task), results.protocol, task, per_architecture=detail) for task in results.tasks
        ],
        "3": lambda results: [table3([row for task in results.tasks for row in results.joint(task)], results.protocol)],
        "4": lambda results: [table4(results.single(task), results.protocol, task) for task in tasks_of(4)],
        "6": lambda results: [table6({task: results.zoo_index(task) for task in results.tasks})],
        "claims": lambda results: [claims_table(list_claims(_successes(results)), results.protocol)],
        "differences": lambda results: [
            differences_table([pair for task in results.tasks for pair in results.comparisons(task)], results.protocol)
        ],
        "novelty": lambda results: [_novelty(results, detail)],
        "cost": lambda results: [cost_table([row for task in results.tasks for row in _means(results, task)])],
        "roundtrip": lambda results: [
            round_trip_table(average(results.round_trips(task), task), task) for task in results.tasks
        ],
    }
    unknown = [name for name in names if name not in builders]
    if unknown:
        raise InputError(f"table {unknown[0]!r}: expected one of {', '.join(NAMES)}")
    return [table for name in names for table in builders[name](results)]


def _successes(results: Results) -> list[Line]:
    """What claims are judged by."""
    return [line for table in build(["2", "differences"], results) for line in table.select_lines(["success"])]


def _novelty(results: Results, detail: bool) -> Table[Any]:
    source = next(iter(results.methods.references(results.methods.names)), MISSING)
    rows = [
        NoveltyRow(row, row.measured, overlap_with_source(row, results.scores(task), source))
        for task in results.tasks
        for row in _means(results, task)
        if row.measured is not None
    ]
    return novelty_table(rows, results.protocol, source, detail=detail)


def _means(results: Results, task: str) -> list[Row]:
    """The measured rows of tables 2 and 3, without those of architectures."""
    rows = [*results.conditioned(task), *results.joint(task)]
    return [row for row in rows if row.arch is None and row.measured is not None]
