"""The stored rows of table 1: policies that hypernetworks wrote beside directly trained ones."""

from pathlib import Path
from typing import Any

from nnbench.folders import REFERENCE
from nnbench.tasks.files import parse_rows
from nnbench.tasks.integrity import DamagedError, read_manifest, read_stored

_REMEDY = "delete it and run `nnbench zoo alignment` again"


def read_alignment(results: Path, task: str) -> list[dict[str, Any]]:
    """What `nnbench zoo alignment` wrote, one row per policy; nothing where it did not run.

    Raises DamagedError where the file is not what was written.
    """
    path, manifest = alignment_file(results, task), read_alignment_manifest(results, task)
    if manifest is None and path.exists():
        raise DamagedError(path, "missing or changed: it has no manifest beside it", _REMEDY)
    return [] if manifest is None else read_stored(path, parse_rows, _REMEDY, sha256=manifest["sha256"])


def read_alignment_manifest(results: Path, task: str) -> dict[str, Any] | None:
    """With which numbers and versions the rows were made; None where there are none. Raises DamagedError."""
    path = alignment_file(results, task).with_suffix(".json")
    if not path.exists():
        return None
    manifest = read_manifest(path, _REMEDY, sums=REFERENCE)
    if not isinstance(manifest.get("sha256"), str):
        raise DamagedError(path, "not a manifest: it does not name the sha256 of the rows", _REMEDY)
    return manifest


def alignment_file(results: Path, task: str) -> Path:
    """Where the rows are in a folder of results."""
    return results / "alignment" / f"{task}.parquet"
