"""The stored rows of table 1: policies that hypernetworks wrote beside directly trained ones."""

import json
from pathlib import Path
from typing import Any

from nnbench.store.errors import StoreError
from nnbench.tasks.files import file_sha256, read_rows

_REMEDY = "delete it and run `nnbench zoo alignment` again"


def read_alignment(results: Path, task: str) -> list[dict[str, Any]]:
    """What `nnbench zoo alignment` wrote, one row per policy; nothing where it did not run.

    Raises StoreError where the file is not what was written.
    """
    path, manifest = alignment_file(results, task), read_alignment_manifest(results, task)
    if manifest is None and not path.exists():
        return []
    if manifest is None or not path.exists() or file_sha256(path) != manifest.get("sha256"):
        raise StoreError(f"{path}: missing or corrupt, its sha256 is not the one in its manifest; {_REMEDY}")
    return read_rows(path)


def read_alignment_manifest(results: Path, task: str) -> dict[str, Any] | None:
    """With which numbers and versions the rows were made; None where there are none. Raises StoreError."""
    path = alignment_file(results, task).with_suffix(".json")
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        found.keys()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(f"{path}: not a manifest ({error}); {_REMEDY}") from error
    return found


def alignment_file(results: Path, task: str) -> Path:
    """Where the rows are in a folder of results."""
    return results / "alignment" / f"{task}.parquet"
