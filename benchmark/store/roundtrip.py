"""Stored round trips of autoencoders: parquet files, each with a manifest that is written last."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnbench.tasks.files import file_sha256, parse_rows, write_json, write_rows
from nnbench.tasks.integrity import DamagedError, read_manifest, read_stored, seal


def roundtrip_file(results: Path, asked: Mapping[str, Any]) -> Path:
    """Where the rows of one architecture are. Named by all that was asked, so that other numbers have other files."""
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    name = f"{asked['method']}-{asked['task']}-{asked['arch']}-s{asked['generator_seed']}-{digest[:12]}"
    return _folder(results) / f"{name}.parquet"


def write_roundtrips(path: Path, rows: list[dict[str, Any]], versions: Mapping[str, str]) -> None:
    """One row per training policy. Raises WriteError on a full disk."""
    write_rows(path, rows)
    write_json(path.with_suffix(".json"), seal({"sha256": file_sha256(path), "versions": dict(versions)}))


def read_roundtrips(results: Path, task: str) -> list[dict[str, Any]]:
    """All rows of a task. Raises DamagedError where a file is not what was written."""
    rows: list[dict[str, Any]] = []
    for manifest in sorted(_folder(results).glob(f"*-{task}-*.json")):
        path, remedy = manifest.with_suffix(".parquet"), f"delete {manifest.name} and run `nnbench roundtrip` again"
        sha256 = read_manifest(manifest, remedy).get("sha256")
        if not isinstance(sha256, str):
            raise DamagedError(manifest, "not a manifest: it does not name the sha256 of the rows", remedy)
        rows += read_stored(path, parse_rows, remedy, sha256=sha256)
    return [row for row in rows if row["task"] == task]


def _folder(results: Path) -> Path:
    return results / "roundtrip"
