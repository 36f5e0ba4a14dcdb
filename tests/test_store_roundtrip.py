"""Stored round trips are whole or not read, and damage is named."""

from pathlib import Path
from typing import Any

import pytest

from nnbench.store.roundtrip import read_roundtrips, roundtrip_file, write_roundtrips
from nnbench.tasks.integrity import DamagedError

TASK = "PickCube-v1"


def _write(results: Path, **changes: Any) -> tuple[Path, list[dict[str, Any]]]:
    asked = {"task": TASK, "method": "sane", "generator_seed": 0, "arch": "16-16-16-64", "episodes": 4} | changes
    rows = [asked | {"ghn_seed": seed, "return": 0.5 * seed} for seed in range(3)]
    path = roundtrip_file(results, asked)
    write_roundtrips(path, rows, {"torch": "2"})
    return path, rows


def test_rows_come_back_by_task(tmp_path: Path) -> None:
    assert read_roundtrips(tmp_path, TASK) == []
    (path, rows), (other, more) = _write(tmp_path), _write(tmp_path, episodes=8)
    _write(tmp_path, task="PushCube-v1")
    assert path != other  # other numbers never replace what is there
    found = read_roundtrips(tmp_path, TASK)
    assert sorted(found, key=lambda row: (row["episodes"], row["ghn_seed"])) == rows + more


def test_half_written_rows_are_not_read(tmp_path: Path) -> None:
    path, _ = _write(tmp_path)
    path.with_suffix(".json").unlink()
    assert read_roundtrips(tmp_path, TASK) == []


@pytest.mark.parametrize("damage", ["rows", "manifest", "gone"])
def test_damaged_files_are_named(tmp_path: Path, damage: str) -> None:
    rows, _ = _write(tmp_path)
    manifest = rows.with_suffix(".json")
    if damage == "rows":
        rows.write_bytes(rows.read_bytes()[:-1] + b"x")
    elif damage == "manifest":
        manifest.write_text(manifest.read_text()[:20])
    else:
        rows.unlink()
    named = manifest if damage == "manifest" else rows
    with pytest.raises(DamagedError, match=rf"^{named}: .*; delete {manifest.name} and run `nnbench roundtrip` again"):
        read_roundtrips(tmp_path, TASK)
