"""Where commands and functions write, below the current folder."""

from pathlib import Path

RESULTS = Path("results") / "runs"
"""Rows, policies and weights of finished units, and the journals of units under way."""

RUNS = Path("runs")
"""Checkpoints, experts, zoos, sweeps and films."""
