"""A table as a list of columns: what people see and what machines read come from the same ones."""

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from nnbench.analysis.access import EXPLAINED, name_access, rank_access
from nnbench.analysis.lines import Line
from nnbench.analysis.measured import Estimate
from nnbench.facts import Reading

R = TypeVar("R")

MISSING = "—"

_ROUNDING = 0.005
"""What the paper prints is rounded to two digits."""


@dataclass(frozen=True)
class Label(Generic[R]):
    """A column of words, or of numbers that were not measured here; it is not for machines."""

    header: str
    """May have a line break."""
    text: Callable[[R], str]
    once: bool = False
    """Left blank where it, and all columns to its left, say the same as in the row above."""
    right: bool = False
    """Aligned as numbers are."""


@dataclass(frozen=True)
class Number(Generic[R]):
    """A column of one measured metric."""

    header: str | None
    """None where people do not see it."""
    metric: str
    """Its name in the lines."""
    read: Callable[[R], Estimate | float | None]
    """None where it was not measured."""
    format: Callable[[Estimate], str] = str
    missing: Callable[[R], str] = lambda _: MISSING
    """What stands in its place."""
    optional: bool = False
    """There is no line where it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Entry(Generic[R]):
    """One row, and what its lines say."""

    data: R
    task: str
    split: str
    method: str
    generator_seeds: tuple[int, ...] = ()
    arch: str | None = None
    claims: Mapping[str, float] = field(default_factory=dict)
    """Metric to what the paper reports."""
    reads: tuple[Reading, ...] | None = None
    """What the method may use of the zoo; None where the row is of no method."""
    against: str | None = None
    verdict: str | None = None
    """Instead of where the measured interval lies to the claim."""
    shown: bool = True
    """False for a row that only machines read."""


@dataclass(frozen=True)
class Grid:
    """One table for people: cells are printed as they are."""

    title: str
    headers: Sequence[str]
    """May have a line break."""
    text_columns: int
    """So many columns from the left are text, the others numbers."""
    caption: str
    rows: Sequence[Sequence[str]]
    sections: frozenset[int]
    """Rows that a rule is drawn above."""


@dataclass(frozen=True)
class Table(Generic[R]):
    """One table. Cells and lines are computed when asked for."""

    name: str
    """In the lines: the paper's number, or a word."""
    title: str
    caption: str
    columns: Sequence[Label[R] | Number[R]]
    entries: Sequence[Entry[R]]
    section: Callable[[R], Hashable] = lambda _: None
    """A rule is drawn where this changes."""
    grouped: bool = False
    """Whether people see the rows of a section by what methods read, those that read weights alone first."""

    @cached_property
    def grid(self) -> Grid:
        """For people. A table without rows has one of dashes."""
        columns = [column for column in self.columns if column.header is not None]
        grouped = self.grouped and any(entry.reads is not None for entry in self.entries)
        rows: list[list[str]] = []
        sections, before = set(), None
        for entry in self._shown:
            heading = name_access(entry.reads or ()) if grouped else None
            key = self.section(entry.data), heading
            if key != before:
                sections.add(len(rows))
                rows += [] if heading is None else [[heading, *[""] * (len(columns) - 1)]]
            rows.append([_cell(column, entry.data) for column in columns])
            before = key
        rows = rows or [[MISSING] * len(columns)]
        text = [isinstance(column, Label) and not column.right for column in columns]
        return Grid(
            self.title,
            [column.header or "" for column in columns],
            text.index(False),
            f"{self.caption}\n{EXPLAINED}" if grouped else self.caption,
            [_blanked(columns, above, row) for above, row in zip([None, *rows], rows, strict=False)],
            frozenset(sections - {0}),
        )

    @property
    def _shown(self) -> list[Entry[R]]:
        """What people see, in their order."""
        shown = [entry for entry in self.entries if entry.shown]
        if not self.grouped:
            return shown
        sections = list(dict.fromkeys(self.section(entry.data) for entry in shown))

        def order(entry: Entry[R]) -> tuple[int, tuple[int, ...]]:
            return sections.index(self.section(entry.data)), rank_access(entry.reads or ())

        return sorted(shown, key=order)

    @cached_property
    def lines(self) -> list[Line]:
        """For machines: every number of every entry."""
        return self.select_lines()

    def select_lines(self, metrics: Collection[str] | None = None, *, shown: bool = False) -> list[Line]:
        """The lines of these metrics only, or of rows that people see too; only their intervals are computed."""
        found = []
        numbers = [column for column in self.columns if isinstance(column, Number)]
        for entry in self.entries:
            for number in numbers if entry.shown or not shown else []:
                if metrics is None or number.metric in metrics:
                    estimate = _read(number, entry.data)
                    if estimate is not None or not number.optional:
                        found.append(self._line(entry, number.metric, estimate))
        return found

    def _line(self, entry: Entry[R], metric: str, estimate: Estimate | None) -> Line:
        mean, low, high = estimate.interval if estimate else (None, math.nan, math.nan)
        claim = entry.claims.get(metric)
        return Line(
            table=self.name,
            task=entry.task,
            split=entry.split,
            method=entry.method,
            generator_seeds="+".join(map(str, entry.generator_seeds)),
            arch=entry.arch,
            metric=metric,
            measured=mean,
            lo=None if math.isnan(low) else low,
            hi=None if math.isnan(high) else high,
            reported=claim,
            verdict=entry.verdict or verdict(estimate, claim),
            against=entry.against,
            reads=None if entry.reads is None else "+".join(entry.reads) or "nothing",
        )


def verdict(measured: Estimate | None, claim: float | None) -> str:
    """Where the measured interval lies to what the paper prints, which it rounds to two digits."""
    if measured is None:
        return "not measured"
    if claim is None:
        return "no claim"
    if measured.interval.low > claim + _ROUNDING:
        return "above"
    return "below" if measured.interval.high < claim - _ROUNDING else "inside"


def point(digits: int, scale: float = 1) -> Callable[[Estimate], str]:
    """Formats the mean alone, times `scale`."""
    return lambda estimate: f"{'≤ ' if estimate.at_most else ''}{scale * estimate.mean:z.{digits}f}"


def interval(digits: int, scale: float = 1) -> Callable[[Estimate], str]:
    """Formats the mean and its interval, times `scale`."""

    def text(estimate: Estimate) -> str:
        mean, low, high = (f"{scale * value:z.{digits}f}" for value in estimate.interval)
        return f"{mean} [{low}, {high}]"

    return text


def count(estimate: Estimate) -> str:
    """Formats the mean of counts, which is a count where all are alike."""
    return f"{estimate.mean:.3g}"


def _read(column: Number[R], data: R) -> Estimate | None:
    found = column.read(data)
    estimate = Estimate(found) if isinstance(found, float | int) else found
    return None if estimate is None or math.isnan(estimate.mean) else estimate


def _cell(column: Label[R] | Number[R], data: R) -> str:
    if isinstance(column, Label):
        return column.text(data)
    estimate = _read(column, data)
    return column.missing(data) if estimate is None else column.format(estimate)


def _blanked(columns: Sequence[Label[R] | Number[R]], above: Sequence[str] | None, row: Sequence[str]) -> list[str]:
    """The row, without what it repeats."""
    cells = list(row)
    for place, column in enumerate(columns):
        if above is None or not (isinstance(column, Label) and column.once) or above[place] != row[place]:
            break
        cells[place] = ""
    return cells
