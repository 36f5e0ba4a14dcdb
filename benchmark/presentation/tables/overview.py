"""Tables 2 to 4 as the paper arranges them: methods down, tasks across."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from nnbench.analysis.access import EXPLAINED, name_access, rank_access
from nnbench.analysis.joined import Cell
from nnbench.analysis.lines import JoinedLine, Line
from nnbench.analysis.measured import Estimate
from nnbench.analysis.places import Layer, TableName
from nnbench.presentation.tables.captions import explain_overview, summarise
from nnbench.presentation.tables.table import MISSING, Grid
from nnbench.protocol import Protocol, protocol_name

OWN, OTHER, OWN_OTHER = "*", "~", "≈"
"""Marks of cells: the user's own, those of another protocol than the primary one, and those that are both."""

_TITLES: dict[TableName, str] = {
    "2": "Table 2: architecture-conditioned generation",
    "3": "Table 3: joint generation of architecture and weights",
    "4": "Table 4: single architectures",
}
_ASKED = {"widths": "other widths", "depths": "other depths"}
"""What architectures a table is of, where that is not `PARTITION architectures`."""


@dataclass(frozen=True)
class Sheet:
    """A table that is put together of others: its grid and its lines are made when asked for."""

    name: str
    make_grid: Callable[[], Grid]
    make_lines: Callable[[], Sequence[Line]]

    @cached_property
    def grid(self) -> Grid:
        """For people."""
        return self.make_grid()

    @cached_property
    def lines(self) -> list[Line]:
        """For machines."""
        return list(self.make_lines())


def overview(
    name: TableName,
    cells: Sequence[Cell],
    primary: Protocol,
    hidden: Mapping[tuple[str, Protocol], int],
    *,
    marked: bool,
    explain: bool = False,
    grouped: bool = False,
) -> Grid:
    """One of the tables 2 to 4 of these cells. `hidden` counts the user's own units that none of them shows.

    `marked` tells the user's own cells from those that ship, and cells of other protocols from those of the `primary`
    one. `explain` puts the meaning of every column below. `grouped` puts methods together that read the same. A success
    is the mean and its 95% interval, rounded outward. What the paper reports has a column of its own. Returns are in
    the wide tables.
    """
    tasks = list(dict.fromkeys(cell.place.task for cell in cells))
    partitions = list(dict.fromkeys(cell.place.partition for cell in cells))
    several = len(partitions) > 1
    asked = "" if several or name == "3" else "".join(f", {_ASKED.get(p, f'{p} architectures')}" for p in partitions)
    headed = several or grouped
    found = {(_label(cell), cell.place.partition, cell.place.task): cell for cell in cells}
    rows: list[list[str]] = []
    sections = set()
    for partition, access, labels in _blocks(cells, grouped):
        if headed:
            sections.add(len(rows))
            heading = ": ".join(filter(None, [partition if several else "", access]))
            rows.append([heading, *[""] * (len(_HEADERS) * len(tasks))])
        for label in labels:
            here = [found.get((label, partition, task)) for task in tasks]
            texts = [text for cell in here for text in _texts(cell, primary if marked else None)]
            rows.append([f" {label}" if headed else label, *texts])
    caption = _caption(name, cells, primary, hidden, marked, explain)
    return Grid(
        _TITLES[name] + asked,
        ["architecture" if name == "4" else "method", *(head for task in tasks for head in _headers(task))],
        1,
        f"{caption}\n{EXPLAINED}" if grouped else caption,
        rows or [[MISSING] * (1 + len(_HEADERS) * len(tasks))],
        frozenset(sections - {0}),
    )


def _blocks(cells: Sequence[Cell], grouped: bool) -> list[tuple[str, str, list[str]]]:
    """The labels of rows that stand together, with their partition, and, where they are grouped, what they read."""
    blocks: dict[tuple[str, str], dict[str, None]] = {}
    partitions = list(dict.fromkeys(cell.place.partition for cell in cells))

    def order(cell: Cell) -> tuple[int, tuple[int, ...]]:
        return partitions.index(cell.place.partition), rank_access(cell.row.reads or ()) if grouped else ()

    for cell in sorted(cells, key=order):
        access = name_access(cell.row.reads or ()) if grouped else ""
        blocks.setdefault((cell.place.partition, access), {})[_label(cell)] = None
    return [(partition, access, list(labels)) for (partition, access), labels in blocks.items()]


def joined_line(line: Line, layer: Layer | None) -> JoinedLine:
    """The line, and where it is from."""
    values = {field.name: getattr(line, field.name) for field in fields(Line)}
    if layer is None:
        return JoinedLine(**values)
    return JoinedLine(**values, protocol=layer.results.protocol.short, origin=layer.origin)


_HEADERS = ("success %", "pa-\nper", "all %")
"""Of each task: the success of the top, what the paper reports of it, and the success of all samples."""


def _headers(task: str) -> tuple[str, ...]:
    # A long name is broken before a capital: the columns below need no more than 14 characters.
    broken = re.sub(r"^(.{6,12})(?=[A-Z])", r"\1-\n", task) if len(task) > 14 else task
    return f"{broken}\n{_HEADERS[0]}", *_HEADERS[1:]


def _label(cell: Cell) -> str:
    arch, method = cell.place.arch, cell.row.method
    seeds = cell.row.generator_seeds
    if len(seeds) > 1:
        method = f"{method} ({len(seeds)} seeds)"
    return method if arch is None else f"{arch} {method}"


def _texts(cell: Cell | None, primary: Protocol | None) -> list[str]:
    """One for each of the `_HEADERS`; without marks where there is no primary protocol."""
    if cell is None:
        return [MISSING] * len(_HEADERS)
    claim, found = cell.row.reported.values if cell.row.reported else {}, cell.row.measured
    success = f"{100 * claim['success']:.0f}" if "success" in claim else MISSING
    if cell.cannot:
        return ["cannot", *[MISSING] * (len(_HEADERS) - 1)]
    if found is None:
        progress = f"{cell.row.finished} of {cell.row.expected}" if cell.row.finished else MISSING
        return [progress, success, MISSING]
    mark = _mark(cell.layer, primary) if primary else ""
    return [f"{mark}{_interval(found.success, 1)}", success, _interval(found.sample_success, 0)]


def _interval(success: Estimate, digits: int) -> str:
    """In percent; the mean with so many digits, the bounds rounded outward: 99.7 to 100 is no certainty."""
    mean, low, high = (100 * value for value in success.interval)
    return f"{mean:z.{digits}f} [{math.floor(low + 1e-9)},{math.ceil(high - 1e-9)}]".replace("100.0", "100")


def _mark(layer: Layer | None, primary: Protocol) -> str:
    if layer is None:
        return ""
    if layer.results.protocol != primary:
        return OWN_OTHER if layer.origin == "own" else OTHER
    return OWN if layer.origin == "own" else ""


def _caption(
    name: TableName,
    cells: Sequence[Cell],
    primary: Protocol,
    hidden: Mapping[tuple[str, Protocol], int],
    marked: bool,
    explain: bool,
) -> str:
    layers = list(dict.fromkeys(cell.layer for cell in cells if cell.layer is not None)) if marked else []
    others = dict.fromkeys(layer.results.protocol for layer in layers if layer.results.protocol != primary)
    by = ", ".join(
        f"{protocol_name(one)} (top {one.top} of {one.samples}, {one.test_episodes} episodes)" for one in others
    )
    meanings = {
        OWN: "your own",
        OTHER: f"by protocol {by}: other episodes, do not compare returns",
        OWN_OTHER: f"your own by protocol {by}: other episodes, do not compare returns",
    }
    used = [_mark(layer, primary) for layer in layers]
    if OTHER in used:
        meanings[OWN_OTHER] = f"both {OWN} and {OTHER}"
    marks = {mark: meaning for mark, meaning in meanings.items() if mark in used}
    if any(0 < cell.row.finished < cell.row.expected for cell in cells):
        marks["n of m"] = "architectures done (--detail)"
    if hidden:
        units = ", ".join(f"{method} {count} ({protocol_name(by)})" for (method, by), count in hidden.items())
        marks["Not in the means:"] = f"units of your own that are too few or of another protocol, {units} (--detail)"
    say = explain_overview if explain else summarise
    return say(name, [cell.row for cell in cells], primary, marks)
