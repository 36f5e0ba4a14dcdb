import csv
import io
import json
import math
from dataclasses import replace
from typing import Any

import pytest

from nnbench.analysis.measured import Estimate
from nnbench.analysis.statistics import Interval
from nnbench.presentation.tables.table import Entry, Label, Number, Table, interval, point
from nnbench.presentation.text import render


def _table(*rows: tuple[str, Estimate | None, float]) -> Table[Any]:
    """A method, its return and its success on the episodes that chose it."""
    return Table(
        "2",
        "Table 2: title",
        "5% of a_b ± undefined",
        [
            Label("method", lambda row: row[0]),
            Number("measured\nreturn", "return", lambda row: row[1], interval(1)),
            Number("selec-\ntion %", "selection_success", lambda row: row[2], point(1, 100), optional=True),
        ],
        [Entry(data=row, task="PickCube-v1", split="unseen", method=row[0], claims={"return": 38.7}) for row in rows],
        section=lambda row: row[0],
    )


MEASURED = Estimate(36.8, lambda: Interval(36.8, 36.1, 37.4))
TABLE = _table(("nnit", MEASURED, 0.94), ("ghn", None, math.nan))


def test_machines_get_every_line_with_all_its_fields() -> None:
    rows = json.loads(render([TABLE], "json"))
    assert [(row["method"], row["metric"], row["measured"], row["verdict"]) for row in rows] == [
        ("nnit", "return", 36.8, "below"),
        ("nnit", "selection_success", 0.94, "no claim"),
        ("ghn", "return", None, "not measured"),
    ]
    assert rows[0]["arch"] is None and rows[0]["reported"] == 38.7
    fields = next(csv.DictReader(io.StringIO(render([TABLE], "csv"))))
    assert fields["lo"] == "36.1" and fields["arch"] == "" and fields["table"] == "2"


def test_text_shows_headers_rules_and_caption() -> None:
    text = render([TABLE], "text", 120)
    lines = [line.split() for line in text.splitlines()]
    assert ["method", "return", "tion", "%"] in lines and ["nnit", "36.8", "[36.1,", "37.4]", "94.0"] in lines
    assert lines.index(["ghn", "—", "—"]) - lines.index(["nnit", "36.8", "[36.1,", "37.4]", "94.0"]) == 2
    assert "5% of a_b ± undefined" in text and "\x1b" not in text


@pytest.mark.parametrize("width", [20, 80])
def test_a_terminal_that_is_too_narrow_cuts_no_number_and_breaks_no_name(width: int) -> None:
    table = _table(("average_aligned_of_the_nearest_hypernetworks", MEASURED, 0.94))
    numbers = replace(table.columns[1], header="measured return, which is a long header")
    text = render([replace(table, columns=[table.columns[0], *[numbers] * 3, table.columns[2]])], "text", width)
    (row,) = [line.split() for line in text.splitlines() if "average" in line]
    assert row == ["average_aligned_of_the_nearest_hypernetworks", *["36.8", "[36.1,", "37.4]"] * 3, "94.0"]
    assert text.count("measured return, which is a long header") == 3
    assert len(text.splitlines()[-1]) <= width, "the caption is wrapped"


def test_people_see_no_negative_zero() -> None:
    text = render([_table(("nnit", Estimate(-0.01, lambda: Interval(-0.01, -0.02, 0.01)), -0.0001))], "text", 80)
    assert "0.0 [0.0, 0.0]" in text and "-0.0" not in text
    assert "-0.01" in render([_table(("nnit", Estimate(-0.01), -0.0))], "csv")


def test_markdown_joins_broken_headers() -> None:
    markdown = render([TABLE], "md").splitlines()
    assert markdown[0] == "**Table 2: title**"
    assert [cell.strip() for cell in markdown[2].split("|")] == ["", "method", "measured return", "selection %", ""]
    assert markdown[3].count(":|") == 2


def test_latex_is_escaped_once() -> None:
    latex = render([TABLE], "latex")
    assert r"\caption{Table 2: title. 5\% of a\_b $\pm$ undefined}" in latex
    assert r"selection \%" in latex and "---" in latex and r"\toprule" in latex
