import csv
import io
import json

from nnbench.analysis.lines import Line
from nnbench.presentation.text import Grid, Table, render

LINE = Line("2", "PickCube-v1", "unseen", "nnit", "0", None, "success", 0.94, 0.92, 0.96, 0.99, "below")
GRID = Grid("Table 2: title", ("method", "measured\nreturn", "selec-\ntion %"), 1, "5% of a_b ± undefined")
GRID.add("nnit", "36.8 [36.1, 37.4]", "94.0")
GRID.add("ghn", "—", "1 ± 2", section=True)
TABLE = Table(GRID, [LINE])


def test_machines_get_every_line_with_all_its_fields() -> None:
    (row,) = json.loads(render([TABLE], "json"))
    assert row["measured"] == 0.94 and row["verdict"] == "below" and row["arch"] is None
    (fields,) = csv.DictReader(io.StringIO(render([TABLE], "csv")))
    assert fields["lo"] == "0.92" and fields["arch"] == "" and fields["table"] == "2"


def test_text_shows_headers_rules_and_caption() -> None:
    text = render([TABLE], "text", 120)
    lines = [line.split() for line in text.splitlines()]
    assert ["method", "return", "tion", "%"] in lines and ["nnit", "36.8", "[36.1,", "37.4]", "94.0"] in lines
    assert lines.index(["ghn", "—", "1", "±", "2"]) - lines.index(["nnit", "36.8", "[36.1,", "37.4]", "94.0"]) == 2
    assert "5% of a_b ± undefined" in text and "\x1b" not in text


def test_a_name_too_long_for_its_column_is_wrapped_not_cut() -> None:
    grid = Grid("title", ("method", "return"), 1, "")
    grid.add("average_aligned", "36.8 [36.1, 37.4]")
    text = render([Table(grid, [])], "text", 30)
    assert "36.8 [36.1, 37.4]" in text and "…" not in text
    assert "".join(line.split()[0] for line in text.splitlines()[-3:] if line.strip()) == "average_aligned"


def test_markdown_joins_broken_headers() -> None:
    markdown = render([TABLE], "md").splitlines()
    assert markdown[0] == "**Table 2: title**"
    assert [cell.strip() for cell in markdown[2].split("|")] == ["", "method", "measured return", "selection %", ""]
    assert markdown[3].count(":|") == 2


def test_latex_is_escaped_once() -> None:
    latex = render([TABLE], "latex")
    assert r"\caption{Table 2: title. 5\% of a\_b $\pm$ undefined}" in latex
    assert r"selection \%" in latex and r"1 $\pm$ 2" in latex and "---" in latex and r"\toprule" in latex
