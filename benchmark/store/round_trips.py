"""Stored round trips of autoencoders: parquet files, each with a manifest that is written last."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnbench.store.errors import StoreError
from nnbench.tasks.files import file_sha256, read_rows


def read_round_trips(results: Path, task: str) -> list[dict[str, Any]]:
    """All rows of a task, one per training policy. Raises StoreError where a file is not what was written."""
    rows: list[dict[str, Any]] = []
    for manifest in sorted(_folder(results).glob(f"*-{task}-*.json")):  # one that is there describes a whole file
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


def round_trip_file(results: Path, asked: Mapping[str, Any]) -> Path:
    """The rows of one architecture. Named by all that was asked, so that other numbers have other files."""
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    name = f"{asked['method']}-{asked['task']}-{asked['arch']}-s{asked['generator_seed']}-{digest[:12]}"
    return _folder(results) / f"{name}.parquet"


def _folder(results: Path) -> Path:
    return results / "roundtrip"
