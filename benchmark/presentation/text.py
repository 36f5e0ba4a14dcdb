"""Tables as text for the terminal, Markdown, LaTeX, CSV or JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Literal, get_args

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Layout
from rich.text import Text

from nnbench.analysis.lines import Line
from nnbench.errors import InputError
from nnbench.presentation.tables import Grid, Shown

_CAPTION_WIDTH = 100
_ENDLESS = 10_000
"""Characters; no table is as wide."""

Format = Literal["text", "md", "latex", "csv", "json"]


def render(tables: Sequence[Shown], form: Format, width: int | None = None) -> str:
    """The tables as one string that ends in a line break: their grids for people, their lines as csv and json.

    `width` is the terminal's, in characters, for text only: captions are wrapped to it, and tables are as wide as they
    need to be.
    """
    if form not in get_args(Format):
        raise InputError(f"form {form!r}: expected one of {', '.join(get_args(Format))}")
    if form in ("csv", "json"):
        return _lines([line for table in tables for line in table.lines], form)
    grids = [table.grid for table in tables]
    if form == "text":
        return "\n".join(_text(grid, width) for grid in grids)
    from tabulate import tabulate

    parts = []
    for grid in grids:
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
    kind = next((type(line) for line in lines), Line)
    writer = csv.DictWriter(buffer, [f.name for f in fields(kind)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(line) for line in lines)
    return buffer.getvalue()


def _joined(header: str) -> str:
    """A header of several lines as one."""
    return header.replace("-\n", "").replace("\n", " ")


def _text(grid: Grid, width: int | None) -> str:
    table = Layout(box=box.SIMPLE_HEAD, padding=(0, 0), show_edge=False)
    for position, header in enumerate(grid.headers):
        table.add_column(header, justify="left" if position < grid.text_columns else "right", no_wrap=True)
    for position, row in enumerate(grid.rows):
        if position in grid.sections:
            table.add_section()
        table.add_row(*map(Text, row))
    console = Console(width=width, file=io.StringIO(), color_system=None)
    said = min(console.width, _CAPTION_WIDTH)
    # A table in a narrower terminal overflows: rich would crop numbers, and drop the first column.
    endless = console.options.update(max_width=_ENDLESS)
    console.width = max(console.width, Measurement.get(console, endless, table).maximum)
    console.print(Text(grid.title), width=said)
    console.print(table)
    if grid.caption:
        console.print(Text(grid.caption), width=said)
    written: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "".join(f"{line.rstrip()}\n" for line in written.splitlines())


def _latex_escaped(text: str) -> str:
    for character in "%&_#":
        text = text.replace(character, f"\\{character}")
    return text.replace("±", r"$\pm$").replace("—", "---")
