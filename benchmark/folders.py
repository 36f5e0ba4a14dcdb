"""Where commands and functions write, below the current folder, and where the rows that ship lie."""

import os
from importlib.resources import files
from pathlib import Path

from nnbench.errors import InputError

RESULTS = Path("results") / "runs"
"""Rows, policies and weights of finished units, and the journals of units under way."""

RUNS = Path("runs")
"""Checkpoints, experts, zoos, sweeps and films."""

REFERENCE = Path(str(files("nnbench.results"))) / "reference"
"""Rows that ship with the package: one folder per protocol, named by the first digits of its hash."""


def require_usable(folder: Path) -> None:
    """Raise InputError where nothing can be written below a folder, which need not exist yet."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        what = "is a file" if there == folder else f"lies below {there}, which is a file"
        raise InputError(f"{folder}: {what}; expected a folder, or a name that is free")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: {there} cannot be written to; choose a folder that you can write to")


def require_free(file: Path) -> None:
    """Raise InputError where a file of this name cannot be written."""
    if file.is_dir():
        raise InputError(f"{file}: is a folder; expected the name of a file")
    if not file.parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent}; make it, or choose another")
    require_usable(file.parent)
