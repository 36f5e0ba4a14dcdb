"""Where commands and functions write, below the current folder, and where the rows that ship lie."""

from importlib.resources import files
from pathlib import Path

RESULTS = Path("results") / "runs"
"""Rows, policies and weights of finished units, and the journals of units under way."""

RUNS = Path("runs")
"""Checkpoints, experts, zoos, sweeps and films."""

REFERENCE = Path(str(files("nnbench.results"))) / "reference"
"""Rows that ship with the package: one folder per protocol, named by the first digits of its hash."""
