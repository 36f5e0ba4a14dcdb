"""Tables as text for the terminal, Markdown, LaTeX, CSV, JSON or HTML."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from html import escape
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table as Layout
from rich.text import Text
from tabulate import tabulate

from nnbench.analysis.lines import Line

Format = Literal["text", "md", "latex", "csv", "json"]


@dataclass
class Grid:
    """One table for people: cells are printed as they are."""

    title: str
    headers: Sequence[str]
    """May have a line break."""
    text_columns: int
    """So many columns from the left are text, the others numbers."""
    caption: str
    rows: list[list[str]] = field(default_factory=list)
    sections: set[int] = field(default_factory=set)
    """Rows that a rule is drawn above."""

    def add(self, *cells: str, section: bool = False) -> None:
        """Append a row, with a rule above it where a section begins."""
        if section and self.rows:
            self.sections.add(len(self.rows))
        self.rows.append(list(cells))


@dataclass(frozen=True)
class Table:
    """One table, for people and for machines."""

    grid: Grid
    lines: Sequence[Line]


def render(tables: Sequence[Table], form: Format, width: int | None = None) -> str:
    """The tables as one string that ends in a line break: their grids for people, their lines as csv and json.

    `width` is the terminal's, in characters, for text only.
    """
    if form in ("csv", "json"):
        return _lines([line for table in tables for line in table.lines], form)
    grids = [table.grid for table in tables]
    parts = []
    for grid in grids:
        if form == "text":
            parts.append(_text(grid, width))
            continue
        headers = [_joined(header) for header in grid.headers]
        align = ["left"] * grid.text_columns + ["right"] * (len(headers) - grid.text_columns)
        rows = [[cell.replace("\n", " ") for cell in row] for row in grid.rows]
        style = "pipe" if form == "md" else "latex_booktabs"
        body = tabulate(rows, headers, style, disable_numparse=True, colalign=align if rows else None)
        if form == "md":
            parts.append(f"**{grid.title}**\n\n{body}\n\n{grid.caption}\n")
        else:
            caption = _latex_escaped(f"{grid.title}. {grid.caption}")
            body = body.replace("±", r"$\pm$").replace("—", "---")
            parts.append(f"\\begin{{table}}\n\\caption{{{caption}}}\n{body}\n\\end{{table}}\n")
    return "\n".join(parts)


def _lines(lines: Sequence[Line], form: Format) -> str:
    if form == "json":
        return json.dumps([asdict(line) for line in lines], indent=1) + "\n"
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [f.name for f in fields(Line)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(line) for line in lines)
    return buffer.getvalue()


def html_table(grid: Grid) -> str:
    """One table of a page, in a box to scroll sideways in, without its title and caption.

    The last text column heads its row; its header is of the class `stub`. Columns that are not measured are of the
    class `reported`.
    """
    classes = []
    for position, header in enumerate(grid.headers):
        named = ["number"] if position >= grid.text_columns else []
        classes.append(named + (["reported"] if header.startswith("reported") else []))
    head = "".join(
        f'<th scope="col"{_class(names + (["stub"] if position == grid.text_columns - 1 else []))}>'
        f"{_lines_kept(header)}</th>"
        for position, (header, names) in enumerate(zip(grid.headers, classes, strict=True))
    )
    body = []
    for number, row in enumerate(grid.rows):
        cells = []
        for position, (cell, names) in enumerate(zip(row, classes, strict=True)):
            tag = 'th scope="row"' if position == grid.text_columns - 1 else "td"
            found = names + (["indented"] if cell.startswith(" ") else [])
            cells.append(f"<{tag}{_class(found)}>{_lines_kept(cell.strip())}</{tag[:2]}>")
        body.append(f"<tr{_class(['section'] if number in grid.sections else [])}>{''.join(cells)}</tr>\n")
    return (
        f'<div class="box" tabindex="0"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{"".join(body)}</tbody>'
        "</table></div>\n"
    )


def _class(names: Sequence[str]) -> str:
    return f' class="{" ".join(names)}"' if names else ""


def _lines_kept(text: str) -> str:
    return escape(text.replace("-\n", "")).replace("\n", "<br>")


def _joined(header: str) -> str:
    """A header of several lines as one."""
    return header.replace("-\n", "").replace("\n", " ")


def _text(grid: Grid, width: int | None) -> str:
    table = Layout(
        title=grid.title,
        caption=Text(grid.caption),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0),
    )
    for position, header in enumerate(grid.headers):
        number = position >= grid.text_columns
        table.add_column(header, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for position, row in enumerate(grid.rows):
        if position in grid.sections:
            table.add_section()
        table.add_row(*map(Text, row))
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table)
    written: str = console.file.getvalue()  # type: ignore[attr-defined]
    return written


def _latex_escaped(text: str) -> str:
    for character in "%&_#":
        text = text.replace(character, f"\\{character}")
    return text.replace("±", r"$\pm$").replace("—", "---")
