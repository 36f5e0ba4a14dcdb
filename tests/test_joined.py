"""The user's rows beside those that ship: which of them a cell is, and what the view says of it."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nnbench
from nnbench import reading
from nnbench.analysis.methods import Methods
from nnbench.errors import InputError
from nnbench.folders import REFERENCE, RESULTS
from nnbench.presentation.tables import Choice
from nnbench.protocol import PROTOCOLS, Unit
from nnbench.store.archive import read_archive
from nnbench.store.folder import manifest_bytes
from nnbench.tasks.integrity import parse_sealed

PAPER, QUICK = (REFERENCE / PROTOCOLS[name].short for name in ("paper", "quick"))
TASK = "PickCube-v1"


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of results, empty."""
    monkeypatch.chdir(tmp_path)
    RESULTS.mkdir(parents=True)
    return RESULTS


def _copy(method: str, reference: Path = QUICK, archs: str = "", task: str = TASK) -> None:
    """Units of the reference as if the user had measured them: all, or those whose names match."""
    for name, content in read_archive(reference / f"{method}-{task}.tar.xz").items():
        if re.search(archs, name):
            (RESULTS / name).write_bytes(content)


def _edit(old: str, new: str) -> None:
    """A text in the manifests of the user's units, whose files are then called as the edited unit asks."""
    for path in [*RESULTS.glob("*.json")]:
        text = json.dumps(parse_sealed(path.read_bytes())).replace(old, new)
        key = Unit.from_fields(json.loads(text)["unit"]).key
        path.write_bytes(manifest_bytes(json.loads(text.replace(path.stem, key))))
        for file in [*RESULTS.glob(f"{path.stem}.*")]:
            file.rename(file.with_name(file.name.replace(path.stem, key)))


def _rows(text: str, method: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.split()[:1] == [method]]


def _unseen(method: str, **asked: Any) -> list[str]:
    """Success, the paper's, that of all samples: a method's row of unseen architectures, of each task in turn."""
    text = nnbench.tables("2", split="unseen", **asked).render("text", 100)
    (row,) = _rows(text, method)
    joined = " ".join(row[1:]).replace(" [", "[")
    return joined.split()


def test_the_protocol_of_most_cells_is_the_primary_one_and_others_only_fill_and_are_marked() -> None:
    asked: dict[str, Any] = {"methods": ["nnit_pca", "nnit"]}
    assert [_unseen(name, **asked)[0][:5] for name in asked["methods"]] == ["98.8[", "98.9["]
    text = nnbench.tables("2", split="unseen", **asked).render("text", 100)
    assert "Protocol quick: top 5 of 50 samples on 50 test episodes" in text and "~" not in text
    _copy("nnit_pca", PAPER)
    assert _unseen("nnit_pca", **asked)[0].startswith("98.8["), "rows of the primary protocol are there"
    _copy("nnit")
    pick, claim, _, push, *_ = _unseen("nnit", **asked)
    assert pick.startswith("*98.9[") and claim == "99" and push.startswith("100[")
    assert "* your own." in nnbench.tables("2", split="unseen", **asked).render("text", 100)


def test_a_cell_of_another_protocol_is_marked_and_the_caption_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "REFERENCE", tmp_path / "reference")
    for folder, methods in ((QUICK, ["nnit", "nearest", "noise"]), (PAPER, ["nearest"])):
        (tmp_path / "reference" / folder.name).mkdir(parents=True)
        for method in methods:
            archive = f"{method}-{TASK}.tar.xz"
            (tmp_path / "reference" / folder.name / archive).write_bytes((folder / archive).read_bytes())
    _copy("nnit_pca", PAPER)
    asked: dict[str, Any] = {"methods": ["nnit_pca", "nnit", "nearest", "noise"], "task": TASK}
    assert [_unseen(name, **asked)[0][:5] for name in asked["methods"]] == ["≈98.5", "98.9[", "98.6[", "87.3["]
    text = " ".join(nnbench.tables("2", **asked).render("text", 100).split())
    said = "by protocol paper (top 10 of 100, 200 episodes): other episodes, do not compare returns."
    assert "Protocol quick" in text and f"≈ your own {said}" in text
    with pytest.raises(InputError, match="method 'nnit_pca': no results of it are here"):
        nnbench.tables("2", split="unseen", protocol="quick", **asked)


def test_an_unfinished_own_row_hides_nothing_and_is_no_mean() -> None:
    _copy("nnit_pca", archs=r"-(16-16-16-32|32-32-16-64)-s0-")
    assert not any("*" in cell for cell in _unseen("nnit_pca", methods=["nnit_pca"]))
    _edit('"nnit_pca"', '"mine"')  # a method that nobody else measured
    text = nnbench.tables("2", split="unseen", methods=["mine"]).render("text", 100)
    assert _rows(text, "mine") == [["mine", "2", "of", "8", "—", "—"]]
    assert "architectures done (--detail)" in text


def test_own_units_that_no_cell_shows_are_named_and_listed_in_detail() -> None:
    _copy("nnit_pca", archs=r"-(16-16-16-32|32-32-16-64)-s0-")
    asked: dict[str, Any] = {"split": "unseen", "task": TASK, "methods": ["nnit_pca", "d2nwg"], "protocol": "quick"}
    caption = nnbench.tables("2", **asked)[0].grid.caption
    assert "nnit_pca 2 (quick) (--detail)" in caption
    detail = nnbench.tables("2", detail=True, **asked).render("text", 120)
    own = detail[detail.index("(your own rows, protocol quick)") :]
    own = own[: own.index("Protocol")]
    assert "2 of 8" in own and "16-16-16-32" in own and "16-64-64-32" not in own
    _copy("nnit_pca")
    assert "of your own that" not in nnbench.tables("2", **asked)[0].grid.caption
    assert "Not in the means" not in nnbench.tables("2", results=QUICK, split="unseen")[0].grid.caption


def test_after_a_run_its_methods_stand_beside_the_papers_and_the_source() -> None:
    _copy("gaussian")
    _copy("row_dit")
    choice = Choice(split="unseen", ran=("gaussian",))
    found = reading.choose_tables(["2"], choice, TASK, results=None, zoo=None, plugins=(), protocol=PROTOCOLS["quick"])
    text = found.render("text", 100)
    rows = [line.split()[0] for line in text.splitlines() if "[" in line and "interval" not in line]
    assert rows == ["sane", "d2nwg", "nnit", "ghn", "gaussian"]


def test_default_rows_are_the_papers_the_source_the_best_baselines_and_all_own_ones() -> None:
    text = nnbench.tables("2", split="unseen").render("text", 100)
    rule = next(i for i, line in enumerate(text.splitlines()) if line.startswith("─"))
    names = [line.split()[0] for line in text.splitlines()[rule + 1 :] if "[" in line and "interval" not in line]
    assert names == ["sane", "d2nwg", "nnit", "ghn", "distil", "nearest"]
    _copy("row_dit")
    assert _rows(nnbench.tables("2", split="unseen").render("text", 100), "row_dit")
    every = nnbench.tables("2", split="unseen", methods=["all"]).render("text", 100)
    assert _rows(every, "gaussian") and not _rows(text, "gaussian")


def test_lines_say_where_they_are_from_only_in_the_joined_view() -> None:
    _copy("nnit_pca")
    asked: dict[str, Any] = {"task": TASK, "split": "unseen", "methods": ["nnit_pca", "nearest"]}
    joined = list(csv.DictReader(io.StringIO(nnbench.tables("2", **asked).render("csv"))))
    success = {row["method"]: row for row in joined if row["metric"] == "success"}
    assert (success["nnit_pca"]["origin"], success["nnit_pca"]["protocol"]) == ("own", QUICK.name)
    assert (success["nearest"]["origin"], success["nearest"]["protocol"]) == ("reference", QUICK.name)
    alone = nnbench.tables("2", results=PAPER, **asked).render("csv")
    assert "origin" not in alone.splitlines()[0]


def test_lines_say_what_networks_cost_also_beside_a_method_that_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Methods, "trainers", lambda *_: ["row_dit"])  # slow, and its rows ship
    asked: dict[str, Any] = {"methods": ["nnit", "ghn"], "protocol": "quick"}
    lines = nnbench.tables("2", task=TASK, split="unseen", **asked).frame()
    found = lines.set_index(["method", "metric"])["measured"]
    assert found["nnit", "training_s"] == pytest.approx(5_155, abs=1)
    assert 5_155 / 0.28 < found["nnit", "break_even"] < 5_155 / 0.24 and found["ghn", "break_even"] == 0
    assert 0 < found["nnit", "generation_s"] < 0.5
    assert dict(zip(lines["method"], lines["reads"], strict=True)) == {"nnit": "weights", "ghn": "hypernetworks"}


def test_methods_that_read_more_than_weights_are_set_apart() -> None:
    asked: dict[str, Any] = {"split": "unseen", "methods": ["ghn", "sane", "nnit_pca"]}
    grid = nnbench.tables("2", group="reads", **asked)[0].grid
    assert [row[0] for row in grid.rows] == ["weights only", " sane", " nnit_pca", "hypernetworks", " ghn"]
    assert grid.sections == {3} and grid.caption.endswith("no more than the training networks.")
    assert [row[0] for row in nnbench.tables("2", **asked)[0].grid.rows] == asked["methods"], "as they are asked for"
    every = nnbench.tables("2", group="reads", task=TASK, methods=["nearest", "ghn"])[0].grid
    headings = [row[0] for row in every.rows if row[0].startswith(("seen", "unseen"))]
    assert headings == [
        f"{split}: {reads}" for split in ("seen", "unseen") for reads in ("weights only", "hypernetworks")
    ]
    for detail in (False, True):
        assert ("GHN\nseeds" in nnbench.tables("novelty", task=TASK, detail=detail)[0].grid.headers) == detail
    for names, more in ((["2"], {"detail": True}), (["novelty", "cost"], {}), (["2"], {"results": QUICK})):
        for table in nnbench.tables(names, group="reads", task=TASK, **asked, **more):
            assert [row[0] for row in table.grid.rows if row[0] in ("weights only", "hypernetworks")][
                0
            ] == "weights only"
    with pytest.raises(InputError, match="group='role': expected 'reads'"):
        nnbench.tables("2", group="role")  # type: ignore[arg-type]


def test_a_folder_is_shown_alone_and_without_marks() -> None:
    _copy("nnit_pca")
    text = nnbench.tables("2", results=QUICK, split="unseen").render("text", 100)
    (row,) = _rows(text, "nnit_pca")
    assert row[1] == "98.8" and "*" not in text and "~" not in text
    assert "Protocol quick" in text


def test_text_fits_and_its_caption_is_short() -> None:
    for table in nnbench.tables():
        lines = reading.Tables([table]).render("text", 120).splitlines()
        assert max(map(len, lines)) <= 100
        assert len(table.grid.caption) <= 400


def test_detail_has_all_columns_and_architectures_of_what_is_shown() -> None:
    _copy("nnit_pca")
    asked: dict[str, Any] = {"task": TASK, "split": "unseen", "methods": ["nnit_pca", "d2nwg"]}
    text = nnbench.tables("2", detail=True, **asked).render("text", 120)
    titles = [line for line in text.splitlines() if line.startswith("Table 2")]
    assert ["your own" in title for title in titles] == [True, False] and "16-16-16-32" in text
    assert text.count("unseen nnit_pca") == text.count("unseen d2nwg") == 1
    assert "bootstrap" in nnbench.tables("2", task=TASK, methods=["nnit_pca"], explain=True)[0].grid.caption


def test_a_protocol_chooses_what_is_joined() -> None:
    assert _unseen("nnit_pca", methods=["nnit_pca"], protocol="quick")[0].startswith("98.8")
    assert _unseen("nnit_pca", methods=["nnit_pca"], protocol="127e")[0].startswith("98.8")
    _copy("nnit_pca")
    _edit('"horizon": 50', '"horizon": 49')  # of a protocol that nobody else measured by
    (short,) = reading.left_out()
    assert _unseen("nnit_pca", methods=["nnit_pca"])[0].startswith("98.5"), "rows of others join when asked for"
    assert _unseen("nnit_pca", methods=["nnit_pca"], protocol=short, task=TASK)[0].startswith("*98.8")
    layers, _ = reading.open_layers("all", protocol=short)
    assert [layer.origin for layer in layers] == ["own", "reference", "reference"]
    known = f"{PAPER.name}, {QUICK.name}, {short}"
    with pytest.raises(nnbench.NnbenchError, match=f"'abc': expected paper, quick or the first digits of {known}"):
        nnbench.tables(protocol="abc")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": ["nit"]}, "method 'nit': no results of it are here; expected all, or some of "),
        ({"split": "unsen"}, "unknown split 'unsen': expected one of train, seen, unseen"),
        ({"names": "3", "split": "seen"}, "table 3: no rows of split seen; leave --split out"),
        ({"names": "2", "split": "outside"}, "table 2: no rows of split outside; leave --split out"),
        ({"names": "differences", "split": "outside"}, "table differences: no rows of split outside"),
        ({"results": "nowhere"}, "nowhere: no such folder; "),
        ({"zoo": "nowhere"}, "nowhere: no such folder; "),
    ],
)
def test_what_is_not_there_is_named(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(nnbench.NnbenchError, match=re.escape(message)):
        nnbench.tables(**asked)


def test_an_explanation_is_of_what_is_shown_and_said_once() -> None:
    both = nnbench.tables(["2", "3"], task=TASK, methods=["nnit_pca"], explain=True).render("text", 120)
    assert both.count("return: sum of the rewards") == both.count("bootstrap interval") == 1
    assert "selection %" not in both and "verdict" not in both
    wide = nnbench.tables(["3", "4"], task=TASK, methods=["nnit_pca"], detail=True, explain=True).render("text", 120)
    assert "selection %" in wide and "train/unseen/outside/other: " in wide and "GHN seeds" not in wide


def test_captions_say_what_the_intervals_hold_and_only_what_is_shown() -> None:
    captions = [table.grid.caption for table in nnbench.tables(["2", "3", "4"], methods=["nnit_pca"])]
    assert ["mean over architectures" in caption for caption in captions] == [True, False, False]
    assert ["unseen: held out" in caption for caption in captions] == [True, False, True]
    assert all("Intervals do not cover training" in caption for caption in captions)
    assert ["Wilson" in caption for caption in captions] == [False, True, False], "one mean is exactly 100 %"


def test_a_folder_that_is_named_must_be_there_and_ones_own_need_not() -> None:
    RESULTS.rmdir()
    assert nnbench.load_results(rows="policies", task=TASK)["protocol"].unique().tolist() == [QUICK.name]
    for read in (
        nnbench.load_results,
        lambda folder: nnbench.report(results=folder),
        lambda folder: nnbench.tables(results=folder),
    ):
        with pytest.raises(nnbench.NnbenchError, match="runs: no such folder"):
            read(RESULTS)
    RESULTS.mkdir()
    for path in QUICK.glob("nearest-*"):
        (RESULTS / path.name).write_bytes(path.read_bytes())
    assert set(nnbench.load_results(rows="policies")["method"]) == {"nearest"}


def test_markdown_has_one_row_per_method_and_the_tasks_across() -> None:
    text = nnbench.tables(["2"], split="unseen", methods=["nnit_pca", "nearest"]).render("md")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4 and all(line.count("|") == 11 for line in table)
    assert all(task in table[0] for task in (TASK, "PushCube-v1", "StackCubeEasy-v1"))


def test_the_command_needs_no_torch() -> None:
    code = "import sys, nnbench\nstr(nnbench.tables())\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
