import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from helpers import run_command
from matplotlib.figure import Figure

from nnbench import folders
from nnbench.analysis.measured import Estimate
from nnbench.analysis.methods import Methods
from nnbench.analysis.rows import conditioned_rows, joint_rows, single_rows
from nnbench.analysis.statistics import Interval
from nnbench.facts import Facts, find_facts
from nnbench.presentation.figures import Drawing
from nnbench.presentation.leaderboard import RULE, Cell, Leaderboard, arrange
from nnbench.presentation.report import Content, Undrawn, render
from nnbench.presentation.tables import MISSING
from nnbench.presentation.tables.comparison import novelty_table
from nnbench.presentation.tables.cost import cost_table
from nnbench.presentation.tables.generation import table2, table3, table4
from nnbench.presentation.tables.table import Entry, Label, Number, Table, point
from nnbench.presentation.tables.zoo import table1, table6
from nnbench.protocol import PROTOCOLS, Protocol, Unit
from nnbench.reading import open_shown
from nnbench.store.checkpoints import Budget
from nnbench.tasks.policies.tracks import load_track

PAPER_TRACK = load_track("paper")

TASK = "PickCube-v1"
PROTOCOL = Protocol(samples=4, top=2, selection_episodes=3, screening_episodes=2, test_episodes=5)
REFERENCE = folders.REFERENCE / "127e5fbe783c"
VOID = {"meta", "img", "br"}
EMPTY = Leaderboard([], [])


class _Page(HTMLParser):
    """Reads a page: its text, its tables' cells and what it refers to. Asserts that tags match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.references, self.tables = "", list[str](), list[list[list[str]]]()
        self.titles: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.attributes.append((tag, found))
        self.references += [str(found[name]) for name in ("src", "href", "srcset", "data") if name in found]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "h3":
            self.titles.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self.open):
            return
        self.text += data
        if "td" in self.open or "tr" in self.open and "th" in self.open:
            self.tables[-1][-1][-1] += data
        elif "h3" in self.open:
            self.titles[-1] += data


def _manifest(method: str = "nnit", **changes: Any) -> dict[str, Any]:
    sha = "ab" * 32
    unit = Unit(protocol=PROTOCOL, task=TASK, method=method, method_sha256=sha, generator_seed=0, arch=(16, 16, 16, 32))
    files = {".safetensors": "c0" * 32, ".parquet": "d1" * 32, ".policies.parquet": "e2" * 32}
    return {
        "unit": unit.fields,
        "sha256": {unit.key + ending: value for ending, value in files.items()},
        "info": {"wall_s": {"generate": 1.0, "selection": 40.0, "test": 2.4}},
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "machine": {"platform": "Linux", "cpus": 2},
        "command": ["nnbench", "run", "--method", method],
        "created": "2026-11-22T07:16:00+00:00",
    } | changes


def _table2(task: str = TASK) -> Table[Any]:
    return table2(conditioned_rows({}, task, PROTOCOL.top, PAPER_TRACK), PROTOCOL, task)


def _table3() -> Table[Any]:
    return table3(joint_rows({}, TASK, PROTOCOL.top, PAPER_TRACK), PROTOCOL)


def _empty_tables() -> list[Table[Any]]:
    return [
        _table2(),
        _table3(),
        table4(single_rows({}, TASK, PROTOCOL.top, PAPER_TRACK), PROTOCOL, TASK),
        table6({TASK: []}),
        table1([], TASK),
        novelty_table([], PROTOCOL, "ghn"),
    ]


def _drawing(title: str = "Figure 9", caption: str = "what it shows") -> Drawing:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    return Drawing(title, caption, figure)


def _page(
    tables: Sequence[Table[Any]] = (), figures: Sequence[Drawing | Undrawn] = (), *units: Any, **more: Any
) -> str:
    fields: dict[str, Any] = {"protocol": PROTOCOL, "methods": Methods({}), "leaderboard": EMPTY, "zoos": {TASK: None}}
    return render(Content(**fields | {"tables": tables, "figures": figures, "manifests": units} | more))


def test_every_table_is_there_with_all_its_cells() -> None:
    tables = _empty_tables()
    read = _Page(_page(tables))
    assert read.titles[: len(tables)] == [grid.title for grid in [table.grid for table in tables]]
    for grid, cells in zip([table.grid for table in tables], read.tables, strict=False):
        assert cells[1:] == [[cell.strip() for cell in row] for row in grid.rows]
        assert len(cells[0]) == len(grid.headers)
    reported = [cells for grid, cells in zip(tables[0].grid.rows, read.tables[0][1:], strict=True) if "nnit" in grid]
    assert any("38.70 ± 0.36, 99" in row for row in reported)


def _rows_of(columns: Sequence[Label[Any] | Number[Any]], rows: Sequence[Any], words: str = "t") -> Table[Any]:
    entries = [Entry(data=row, task=TASK, split="seen", method="nnit") for row in rows]
    return Table("2", words, words, columns, entries, section=lambda row: row[0])


def test_measured_and_reported_columns_are_told_apart() -> None:
    columns: list[Label[Any] | Number[Any]] = [
        Label("method", lambda row: row[0]),
        Label("measured\nreturn", lambda row: row[1], right=True),
        Number("selec-\ntion %", "selection_success", lambda row: row[2], point(0)),
        Label("reported\nreturn", lambda row: row[3], right=True),
    ]
    table = _rows_of(columns, [("nnit", "36.8\n[36, 37]", 93, "38.7"), (" 16-16", "1", 2, "3")])
    html = _page([table])
    assert '<th scope="col" class="stub">method</th>' in html
    assert '<th scope="col" class="number">measured<br>return</th>' in html and ">selection %<" in html
    assert '<td class="number reported">38.7</td>' in html and '<td class="number">36.8<br>[36, 37]</td>' in html
    assert '<tr class="section"><th scope="row" class="indented">16-16</th>' in html


def test_the_leaderboard_is_sorted_and_marks_what_cannot_be_told_from_the_best() -> None:
    cells = {
        (TASK, "unseen", "nnit"): Cell(90, 85, 95),
        (TASK, "unseen", "sane"): Cell(92, 88, 96),
        (TASK, "unseen", "random"): Cell(10, 0, 91),
        ("PushCube-v1", "unseen", "nnit"): Cell(80, 70, 90),
        ("PushCube-v1", "unseen", "sane"): Cell(60, 50, 70),
        ("PushCube-v1", "joint", "nnit"): Cell(99, 98, 100),
        (TASK, "seen", "dataset"): Cell(97, 96, 98),
    }
    board = arrange(cells, [TASK, "PushCube-v1"], Methods(find_facts()))
    assert board.columns == [(TASK, "seen"), (TASK, "unseen"), ("PushCube-v1", "unseen"), ("PushCube-v1", "joint")]
    assert board.tasks == {TASK: 2, "PushCube-v1": 2}
    assert [(one.method, one.unseen) for one in board.standings] == [
        ("nnit", 85),
        ("sane", 76),
        ("dataset", None),
        ("random", None),
    ]
    marked = [[cell is not None and cell.best for cell in one.cells] for one in board.standings]
    assert marked == [[False, True, True, True], [False, True, False, False], [True, False, False, False], [False] * 4]
    read = _Page(_page(leaderboard=board))
    assert read.tables[0][1] == ["method", "meanunseen", "seen", "unseen", "unseen", "joint"]
    assert read.tables[0][2] == ["nnitgenerator", "85.0", "—", "★90.085.0–95.0", "★80.070.0–90.0", "★99.098.0–100.0"]
    assert read.tables[0][5][:2] == ["randombaseline", "—"] and RULE in read.text


def test_columns_are_explained_once() -> None:
    text = _Page(_page([_table2(), _table2("PushCube-v1"), _table3()]))
    assert text.text.count("95% bootstrap interval") == 1
    assert text.text.count(f"Columns as in “Table 2: architecture-conditioned generation, {TASK}”.") == 2
    assert "Columns as in" in text.text and "train/unseen/outside/other: of all samples" in text.text


def test_the_page_needs_nothing_but_itself_and_fits_a_phone() -> None:
    text = _page(_empty_tables(), [_drawing()], _manifest())
    read = _Page(text)
    assert all(reference.startswith("data:image/svg+xml;base64,") for reference in read.references)
    assert not {"link", "iframe", "object"} & {tag for tag, _ in read.attributes}
    assert [found for tag, found in read.attributes if tag == "script"] == [{}], "one, and inline"
    assert "default-src 'none'" in str([found.get("content") for _, found in read.attributes])
    assert not re.search(r"https?://|url\(|@import", text)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in read.attributes
    assert re.search(r"\.box \{[^}]*overflow-x: auto", text) and "@media (max-width" in text
    boxed = [cells for cells in re.findall(r"<div class=\"box\"[^>]*><(\w+)", text)]
    assert boxed.count("table") == text.count("<table") and boxed.count("img") == text.count("<img")


def test_text_is_escaped_everywhere() -> None:
    evil = "<b>&\"'"
    columns = [Label[Any](evil, lambda row: row[0]), Label[Any](evil, lambda row: row[0], right=True)]
    manifest = _manifest(command=["nnbench", evil], versions={"torch": evil}, machine={"platform": evil})
    board = arrange({(evil, "unseen", evil): Cell(90, 80, 95)}, [evil], Methods({evil: Facts(name="plain")}))
    more = {"leaderboard": board, "overview": _drawing(evil, evil)}
    text = _page([_rows_of(columns, [(evil,)], evil)], [_drawing(evil, evil), Undrawn("3", evil)], manifest, **more)
    assert "<b>" not in text and _Page(text).text.count(evil) == 15


def test_what_is_missing_is_said_in_words() -> None:
    missing = "no zoo here; `nnbench zoo build` makes one"
    read = _Page(_page(_empty_tables(), [Undrawn("3", missing), Undrawn("novelty", missing)]))
    assert "figure 3, figure novelty: no zoo here; nnbench zoo build makes one" in read.text
    assert f"Table 2, {TASK}, unseen: sane, d2nwg, nnit" in read.text
    assert f"Table 4, {TASK}, outside: nnit on 32-16-16-16" in read.text
    assert f"Table 1, {TASK}: conv1x1, upsample, sgd" in read.text
    assert "No method is finished on all architectures of a split; nnbench run measures one" in read.text
    assert "Nothing was measured here yet" in read.text and f"{TASK}: no zoo comes with this version" in read.text
    assert "Not the benchmark's protocol" in read.text
    named = _Page(_page(protocol=PROTOCOLS["quick"])).text
    assert "First look: protocol quick." in named and "Not the benchmark's" not in named
    assert not re.search("First look|Not the benchmark's", _page(protocol=Protocol()))


def test_findings_say_that_they_settle_nothing() -> None:
    words = "neither agreement nor disagreement settles the paper's claims"
    assert words not in _Page(_page()).text, "nothing was found"
    columns: list[Label[Any] | Number[Any]] = [Label("method", str), Number("success", "success", lambda row: row)]
    found = Estimate(0.9, lambda: Interval(0.9, 0.88, 0.92))
    for seeds, said in (((0,), "adaptations, trained once each, on"), ((0, 1), "adaptations on")):
        entry = Entry(data=found, task=TASK, split="unseen", method="nnit", generator_seeds=seeds)
        read = _Page(_page([Table("2", "t", "t", columns, [entry])])).text
        assert words in read and said in read and "nnit solves here" in read


def test_provenance_names_every_unit() -> None:
    other = _manifest("ghn")
    other["sha256"] = {name: "f3" * 32 for name in other["sha256"]}
    read = _Page(_page([], [], _manifest(), other))
    flat = " ".join(" ".join(row) for cells in read.tables for row in cells)
    for value in ("nnbench run --method nnit", "ab" * 32, "torch 2.13.0", "cpus 2", "2026-11-22T07:16:00+00:00", "42"):
        assert value in flat
    assert "c0" * 32 in flat and "d1" * 32 in flat and "e2" * 32 not in flat and "f3" * 32 in flat
    assert PROTOCOL.sha256 in flat and "nnit, PickCube-v1, generator seed 0: 1 units" in read.text
    assert "Measured: ghn, nnit, 2 units" in read.text and "Not measured; nnbench zoo alignment does that" in read.text


def test_provenance_of_table_1_and_of_a_zoo() -> None:
    zoo = {
        "ghn_seeds": [0, 1],
        "valid_policies": 5,
        "policies": 9,
        "filter": {"min_return": 35.0},
        "distillation": {"updates": 4000},
        "splits_sha256": "aa" * 32,
        "versions": {"torch": "2.13.0"},
        "files": {"ghns.safetensors": "bb" * 32},
    }
    alignment = {"config": {"seeds": 35}, "pool_sha256": "cc" * 32}
    read = _Page(_page(zoos={TASK: zoo}, alignment=alignment))
    rows = [row for cells in read.tables for row in cells]
    for row in (["hypernetworks", "2"], ["training policies", "5 of 9 passed the filter"], ["config", "seeds 35"]):
        assert row in rows
    assert ["ghns.safetensors sha256", "bb" * 32] in rows and ["pool_sha256", "cc" * 32] in rows


def test_what_networks_cost_is_a_table_with_the_trained_methods_below() -> None:
    budget = Budget("nnit", TASK, 0, 3_835_000, 7_230.0, {"cpus": 2}, {"width": 256})
    read = _Page(_page(cost=cost_table([]), budgets=[budget]))
    assert "s pernetwork" in read.tables[0][0] and "break even: so many networks" in read.text
    assert "width 256" in read.text and "No trained method was measured" in _Page(_page()).text


def test_a_figure_is_drawn_into_the_page_with_its_caption() -> None:
    read = _Page(_page([], [_drawing("Figure 9", "what `it` shows")]))
    ((_, image),) = [found for found in read.attributes if found[0] == "img"]
    assert image["alt"] == "Figure 9" and "what it shows" in read.text
    assert _page([], [_drawing()]) == _page([], [_drawing()]), "equal data give an equal page"


def test_without_a_folder_ones_own_rows_are_shown_or_else_those_that_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_shown("all").store.root == REFERENCE, "the protocol with most units"
    assert open_shown("all", protocol="paper").protocol == Protocol()
    own = tmp_path / "results" / "runs"
    own.mkdir(parents=True)
    shutil.copy(REFERENCE.parent / Protocol().short / f"nearest-{TASK}.tar.xz", own)
    opened = open_shown("all")
    assert {manifest["unit"]["method"] for manifest in opened.manifests} == {"nearest"}
    assert opened.protocol == Protocol()


def test_rows_that_ship_are_called_so() -> None:
    words = "These are rows that ship with nnbench"
    assert words in _page(shipped=True) and words not in _page()


@pytest.mark.slow
def test_report_and_figure_as_commands(tmp_path: Path) -> None:
    done = run_command("report", "--task", TASK, "--results", str(REFERENCE), "--out", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "page.html\n" and "report: 8 figures" in done.stderr.splitlines()
    assert "-0.0 " not in _Page((tmp_path / "page.html").read_text("utf-8")).text
    read = _Page((tmp_path / "page.html").read_text("utf-8"))
    (first,) = [row for row in read.tables[0] if row[0] == "nnitgenerator"]
    assert first[1] == "98.9" and first[3] == "★98.997.6–99.8" and "nnit solves here 98.9 [97.6, 99.8] %" in read.text
    (nnit,) = [row for row in read.tables[1] if row[:2] == ["unseen", "nnit"]]
    assert nnit[2] == "39.6 [38.9, 40.4]" and MISSING not in nnit
    assert read.titles[7].startswith("Round trip") and ["sane s0", "8 archs"] in [row[:2] for row in read.tables[8]]
    costs = next(cells for cells in read.tables if "s pernetwork" in cells[0])
    assert ["98.9", "3,491,654", "5,155"] in [row[5:8] for row in costs if row[2] == "nnit"]
    assert "configuration" in read.text and "Success of all samples against distance" in read.text
    assert str(Path.home()) not in read.text and str(Path(__file__).parent.parent) not in read.text

    drawn = run_command(
        "figure", "cost", "--task", TASK, "--methods", "nnit", "nearest", "--out", "c.svg", cwd=tmp_path
    )
    assert drawn.returncode == 0 and drawn.stdout.startswith("c.svg: Success against training time"), drawn.stderr
    drawn = run_command(
        "figure", "6", "--results", str(REFERENCE), "--archs", "16-16-16-32", "--out", "6.svg", cwd=tmp_path
    )
    assert drawn.returncode == 0 and drawn.stdout.startswith("6.svg: Figure 6: ") and "16-16-16-32" in drawn.stdout
    assert b"<svg" in (tmp_path / "6.svg").read_bytes()
