"""Which tables are shown of one folder of results, or of the user's own rows beside those that ship."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from nnbench.analysis.joined import Cell, Joined
from nnbench.analysis.lines import Line, TrackLine
from nnbench.analysis.places import PARTITIONS, Layer, TableName
from nnbench.analysis.results import Results
from nnbench.analysis.rows import Row
from nnbench.errors import InputError
from nnbench.presentation.tables.build import build
from nnbench.presentation.tables.captions import summarise
from nnbench.presentation.tables.generation import table2, table3, table4
from nnbench.presentation.tables.overview import Sheet, joined_line, overview
from nnbench.presentation.tables.table import Grid, Table
from nnbench.protocol import Protocol, protocol_name
from nnbench.tasks.policies.tracks import Track

Shown = Table[Any] | Sheet

_ARRANGED: tuple[TableName, ...] = get_args(TableName)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is shown of the tables."""

    split: str | None = None
    """Only this one; None for all."""
    methods: tuple[str, ...] = ()
    """Only these, or `all`; none for those that `Joined` chooses."""
    ran: tuple[str, ...] = ()
    """Without `methods`: these beside the paper's and the source, in place of baselines and all of the user's own."""
    detail: bool = False
    """All columns and architectures, a table per task, in place of the paper's arrangement."""
    explain: bool = False
    """The meaning of every column in the caption."""
    group: Literal["reads"] | None = None
    """Methods by what they read of the zoo, those that read weights only first."""

    def __post_init__(self) -> None:
        if self.split not in (None, *PARTITIONS):
            raise InputError(f"unknown split {self.split!r}: expected one of {', '.join(PARTITIONS)}")
        if self.group not in (None, "reads"):
            raise InputError(f"group={self.group!r}: expected 'reads', or leave it out")

    @property
    def partitions(self) -> Collection[str]:
        """The splits that are shown."""
        return PARTITIONS if self.split is None else (self.split,)


def view_folder(names: Sequence[str], results: Results, choice: Choice) -> list[Shown]:
    """The tables of one folder; their lines are of all its methods and architectures, unless chosen otherwise.

    Raises InputError and TableError as `build` does.
    """
    joined = _join([Layer(results, "own")], results.tasks, names, choice)
    shown: list[Shown] = []
    for name in names:
        tables = [_chosen(table, choice) for table in build([name], results, detail=choice.detail)]
        if name not in _ARRANGED:
            shown += tables
        elif choice.detail:
            shown += [_captioned(table, results.protocol, choice) for table in tables]
        elif _has(name, joined, choice):
            shown.append(_arranged(name, joined, tables, choice))
    return _finished(shown, names, choice, results.track)


def view_joined(names: Sequence[str], layers: Sequence[Layer], other: Layer, choice: Choice) -> list[Shown]:
    """Tables 2 to 4 of all layers, each cell of the first that has it; other tables are of `other` alone.

    Lines say which folder and protocol they are of. Raises InputError and TableError as `build` does.
    """
    joined = _join(layers, other.results.tasks, names, choice)
    shown: list[Shown] = []
    for name in names:
        if name not in _ARRANGED:
            shown += [
                _located(_chosen(table, choice), other) for table in build([name], other.results, detail=choice.detail)
            ]
        elif choice.detail:
            shown += _details(name, joined, choice)
        elif _has(name, joined, choice):
            shown.append(_arranged(name, joined, None, choice))
    return _finished(shown, names, choice, joined.track)


def _join(layers: Sequence[Layer], tasks: Sequence[str], names: Sequence[str], choice: Choice) -> Joined:
    arranged = [name for name in _ARRANGED if name in names]
    return Joined(layers, tasks, arranged, choice.partitions, choice.methods, choice.ran)


def _has(name: TableName, joined: Joined, choice: Choice) -> bool:
    """Whether there is anything to show; without a split that is asked for, a table of dashes says that nothing is."""
    if choice.split is None:
        return any(place.table == name for place in joined.places)
    return any(cell.place.table == name for cell in joined.cells)


def _finished(shown: list[Shown], names: Sequence[str], choice: Choice, track: Track) -> list[Shown]:
    """The tables, each explanation once; those of another track than the paper's say so."""
    if not shown:
        split = f" of split {choice.split}; leave --split out" if choice.split else " of this task"
        raise InputError(f"table {', '.join(names)}: no rows{split}")
    if track.name != "paper":
        shown = [_on_track(table, track) for table in shown]
    if not choice.explain:
        return shown
    said: set[str] = set()
    return [_said_once(table, said) for table in shown]


def _on_track(table: Shown, track: Track) -> Sheet:
    def lines() -> list[TrackLine]:
        stated = [{field.name: getattr(line, field.name) for field in fields(line)} for line in table.lines]
        return [TrackLine(**values, track=track.label) for values in stated]

    return Sheet(table.name, lambda: replace(table.grid, title=f"{table.grid.title}, track {track.name}"), lines)


def _said_once(table: Shown, said: set[str]) -> Sheet:
    """The table without the lines of its caption that were said before, which are added to."""
    lines = dict.fromkeys(table.grid.caption.splitlines())
    grid = replace(table.grid, caption="\n".join(line for line in lines if line not in said))
    said.update(lines)
    return Sheet(table.name, lambda: grid, lambda: table.lines)


def _chosen(table: Table[Any], choice: Choice) -> Table[Any]:
    """The table without rows that nobody asked for, and grouped where that is asked for."""
    entries = [
        entry
        for entry in table.entries
        if (choice.split is None or entry.split == choice.split)
        and (choice.methods in ((), ("all",)) or entry.method in choice.methods)
    ]
    if choice.split is not None and not entries and table.name not in _ARRANGED:
        raise InputError(f"table {table.name}: no rows of split {choice.split}; leave --split out")
    return replace(table, entries=entries, grouped=choice.group is not None)


def _arranged(name: TableName, joined: Joined, tables: Sequence[Table[Any]] | None, choice: Choice) -> Sheet:
    """The paper's arrangement; with the lines of these tables, else those of the cells that are shown."""

    def cells() -> list[Cell]:
        return [cell for cell in joined.cells if cell.place.table == name]

    def grid() -> Grid:
        hidden = joined.not_shown(name)
        grouped = choice.group is not None
        return overview(
            name, cells(), joined.primary, hidden, marked=tables is None, explain=choice.explain, grouped=grouped
        )

    def wide(cell: Cell) -> Table[Row]:
        return _wide(name, [cell.row], cell.protocol, cell.place.task)

    def lines() -> list[Line]:
        if tables is not None:
            return [line for table in tables for line in table.lines]
        return [joined_line(line, cell.layer) for cell in cells() for line in wide(cell).lines]

    return Sheet(name, grid, lines)


def _wide(name: TableName, rows: Sequence[Row], protocol: Protocol, task: str, all_archs: bool = False) -> Table[Row]:
    """All columns of these rows."""
    if name == "2":
        return table2(rows, protocol, task, per_architecture=all_archs)
    return table3(rows, protocol) if name == "3" else table4(rows, protocol, task)


def _details(name: TableName, joined: Joined, choice: Choice) -> list[Shown]:
    """A wide table for each task and layer that has rows."""
    shown: list[Shown] = []
    for (task, layer), rows in joined.details(name).items():
        protocol = layer.results.protocol
        table = replace(_wide(name, rows, protocol, task, all_archs=True), grouped=choice.group is not None)
        shown.append(_located(_captioned(table, protocol, choice), layer))
    return shown


def _captioned(table: Table[Row], protocol: Protocol, choice: Choice) -> Table[Row]:
    """With the short caption, unless the long one is asked for."""
    if choice.explain:
        return table
    rows = [entry.data for entry in table.entries]
    return replace(table, caption=summarise(table.name, rows, protocol, {}, "reported"))


def _located(table: Table[Any], layer: Layer) -> Sheet:
    """The table, saying whose rows it shows."""
    whose = "your own rows" if layer.origin == "own" else "reference rows"
    title = f"{table.title} ({whose}, protocol {protocol_name(layer.results.protocol)})"
    return Sheet(
        table.name,
        lambda: replace(table.grid, title=title),
        lambda: [joined_line(line, layer) for line in table.lines],
    )
