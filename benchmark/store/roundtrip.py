"""Stored round trips of autoencoders: parquet files, each with a manifest that is written last."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnbench.store.errors import StoreError
from nnbench.tasks.files import file_sha256, read_rows, write_json, write_rows


def roundtrip_file(results: Path, asked: Mapping[str, Any]) -> Path:
    """Where the rows of one architecture are. Named by all that was asked, so that other numbers have other files."""
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    name = f"{asked['method']}-{asked['task']}-{asked['arch']}-s{asked['generator_seed']}-{digest[:12]}"
    return _folder(results) / f"{name}.parquet"


def write_roundtrips(path: Path, rows: list[dict[str, Any]], versions: Mapping[str, str]) -> None:
    """One row per training policy. Raises WriteError on a full disk."""
    write_rows(path, rows)
    write_json(path.with_suffix(".json"), {"sha256": file_sha256(path), "versions": dict(versions)})


def read_roundtrips(results: Path, task: str) -> list[dict[str, Any]]:
    """All rows of a task. Raises StoreError where a file is not what was written."""
    rows: list[dict[str, Any]] = []
    for manifest in sorted(_folder(results).glob(f"*-{task}-*.json")):
        path = manifest.with_suffix(".parquet")
        try:
            whole = file_sha256(path) == json.loads(manifest.read_text())["sha256"]
        except (FileNotFoundError, ValueError, KeyError):
            whole = False
        if not whole:
            raise StoreError(
                f"{path}: missing or corrupt, its sha256 is not the one in its manifest; delete {manifest.name} and "
                "run `nnbench roundtrip` again"
            )
        rows += read_rows(path)
    return [row for row in rows if row["task"] == task]


def _folder(results: Path) -> Path:
    return results / "roundtrip"
