"""Tables are read and printed without torch, which takes seconds to import."""

import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parent.parent / "results" / "reference" / "a080a8d64d22"


@pytest.mark.parametrize("names", [("1", "2", "3", "4", "6", "differences", "novelty", "roundtrip")])
def test_tables_need_no_torch(names: tuple[str, ...]) -> None:
    code = f"""
import sys
from pathlib import Path
from nnbench.analysis import claims
from nnbench.analysis.results import Results
from nnbench.presentation import tables, text

built = tables.build({names!r}, Results.open(Path({str(REFERENCE)!r}), ["PickCube-v1"]))
assert "nnit" in text.render(built, "text", 120)
assert "torch" not in sys.modules, "torch was imported"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
