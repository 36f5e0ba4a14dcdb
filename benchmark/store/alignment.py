"""The stored rows of table 1: policies that hypernetworks wrote beside directly trained ones."""

import json
from pathlib import Path
from typing import Any

from nnbench.tasks.files import read_rows


def read_alignment(results: Path, task: str) -> list[dict[str, Any]]:
    """What `nnbench zoo alignment` wrote, one row per policy; nothing where it did not run."""
    path = alignment_file(results, task)
    return read_rows(path) if path.exists() else []


def read_alignment_manifest(results: Path, task: str) -> dict[str, Any] | None:
    """With which numbers and versions the rows were made; None where there are none."""
    path = alignment_file(results, task).with_suffix(".json")
    return json.loads(path.read_bytes()) if path.exists() else None


def alignment_file(results: Path, task: str) -> Path:
    """Where the rows are in a folder of results."""
    return results / "alignment" / f"{task}.parquet"
