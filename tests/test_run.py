"""`nnbench run`, killed without warning: what was finished is kept, and the rows end up those of an unbroken run."""

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import command

from nnbench.store.store import Store

KILLS = 2
SEED = 0
"""Of when the kills hit."""
ARGUMENTS = (
    *("run", "--method", "nearest", "random", "--archs", "16-16-16-32", "--workers", "1"),
    *("--n", "8", "--top-k", "2", "--episodes", "10", "--test-episodes", "10"),
)


def _start(cwd: Path) -> "subprocess.Popen[bytes]":
    cwd.mkdir(exist_ok=True)
    return subprocess.Popen(command(*ARGUMENTS), cwd=cwd, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_rows_do_not_depend_on_kills(tmp_path: Path) -> None:
    unbroken = _start(tmp_path / "unbroken")
    rng, killed = np.random.default_rng(SEED), 0
    results = tmp_path / "killed" / "results" / "runs"
    while killed < KILLS:
        process = _start(tmp_path / "killed")
        parts = len(list(results.glob("partial/*/*.parquet")))
        wanted = parts + int(rng.integers(1, 4))
        while process.poll() is None and len(list(results.glob("partial/*/*.parquet"))) < wanted:
            time.sleep(0.02)
        if process.poll() is not None:  # it finished a unit, whose parts are gone, and then all
            break
        time.sleep(float(rng.uniform(0, 0.3)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
    assert killed > 0, f"kills drawn with seed {SEED}"
    assert _start(tmp_path / "killed").wait() == 0
    assert unbroken.wait() == 0
    expected = Store(tmp_path / "unbroken" / "results" / "runs")
    equal = Store(results).rows().equals(expected.rows())
    assert equal and expected.rows().num_rows > 0, f"kills drawn with seed {SEED}"
    assert Store(results).unfinished() == {}
