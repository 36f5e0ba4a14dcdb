"""A folder of results is read once, without torch, and fast."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnbench.analysis.results import Results
from nnbench.presentation import tables, text
from nnbench.presentation.report import page
from nnbench.protocol import Protocol
from nnbench.store.store import Store
from nnbench.tasks.registry import TASKS

REFERENCE = Path(__file__).parent.parent / "results" / "reference"
MANY, FEW = REFERENCE / "127e5fbe783c", REFERENCE / "a080a8d64d22"
ALL = ("1", "2", "3", "4", "6", "claims", "differences", "novelty", "cost", "roundtrip")

PLUGIN = """
from nnbench.api import Untrained

class Method(Untrained):
    name = "mine"
    role = "baseline"
"""


def test_tables_need_no_torch() -> None:
    code = f"""
import sys
from pathlib import Path
from nnbench.analysis import claims
from nnbench.analysis.results import Results
from nnbench.presentation import tables, text

built = tables.build({ALL!r}, Results.open(Path({str(FEW)!r}), ["PickCube-v1"]))
assert "nnit" in text.render(built, "text", 120) and "nnit" in text.render(built, "csv")
assert "torch" not in sys.modules, "torch was imported"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_rows_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    rows = Store.rows

    def counting(self: Store, **wanted: Any) -> Any:
        read.append(wanted["task"])
        return rows(self, **wanted)

    monkeypatch.setattr(Store, "rows", counting)
    results = Results.open(FEW, list(TASKS))
    assert read == [], "opening reads no rows"
    for _ in range(2):
        text.render(tables.build(ALL, results), "text", 120)
    assert sorted(read) == sorted(TASKS)


def test_facts_are_those_of_the_class_else_those_kept_with_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit: dict[str, Any] = {
        "task": "PickCube-v1",
        "protocol": dict(Results.open(FEW, ["PickCube-v1"]).manifests[0]["unit"]["protocol"]),
    }
    kept: list[dict[str, Any]] = [
        {"unit": unit | {"method": name}, "facts": {"name": name, "role": "source"}} for name in ("mine", "nnit")
    ]
    kept.append({"unit": unit | {"method": "older"}})
    monkeypatch.setattr(Store, "manifests", lambda self: kept)
    (tmp_path / "mine.py").write_text(PLUGIN)
    protocol = Protocol(**unit["protocol"])
    without, given = (
        Results.open(tmp_path, ["PickCube-v1"], protocol, plugins=plugins).methods
        for plugins in ([], [tmp_path / "mine.py"])
    )
    assert (without["mine"].role, given["mine"].role) == ("source", "baseline")
    assert without["nnit"].role == "generator" and without["older"].role == "generator"


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(ValueError, match="table '5': expected one of 1, 2, 3"):
        tables.build(["5"], Results.open(FEW, []))


def _print_tables() -> str:
    results = Results.open(MANY, list(TASKS))
    return text.render(tables.build(("2", "3", "4", "differences", "novelty"), results), "text", 120)


def _print_page() -> str:
    return page(Results.open(MANY, list(TASKS)))


@pytest.mark.slow
@pytest.mark.parametrize("make", [_print_tables, _print_page])
def test_reading_and_printing_a_large_folder(benchmark: Any, make: Callable[[], str]) -> None:
    """Of more than a thousand units."""
    printed = benchmark.pedantic(make, rounds=1)
    units = [manifest["unit"] for manifest in Store(MANY).manifests()]
    methods = {unit["method"] for unit in units if unit.get("track", "paper") == "paper"}
    assert all(method in printed for method in methods)
