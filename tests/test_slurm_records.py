"""A sweep's own files: what is damaged is named or done anew, and never read as something else."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnbench.slurm.records import (
    Failure,
    Job,
    SweepError,
    read_failure,
    read_jobs,
    tables_are,
    write_failure,
    write_jobs,
    write_tables,
)
from nnbench.slurm.sweep import Sweep

DAMAGES = 2500 if os.environ.get("NNBENCH_SUITE") == "full" else 150
"""Of each kind of file."""
FAILURE = Failure("run/mine/PickCube-v1/s0/16-16-16-32", "ValueError: nö", "runs/sweeps/x/jobs/7_0_log.out")
JOBS = [Job("slurm", "7_0", "login", ("run/a", "run/b"), "log"), Job("slurm", "7_1", "login", ("table",), "log")]
TABLES = {"tables": [2], "protocol": "127e5fbe783c", "runs": ["run/a", "run/b"]}

Damage = Callable[[bytes, random.Random], bytes]


def _flip(content: bytes, rng: random.Random) -> bytes:
    position = rng.randrange(8 * len(content))
    return content[: position // 8] + bytes([content[position // 8] ^ 1 << position % 8]) + content[position // 8 + 1 :]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _damages(content: bytes) -> "list[bytes]":
    rng = random.Random(0)
    return [damage(content, rng) for damage in (_flip, _truncate) for _ in range(DAMAGES)]


def test_a_damaged_failure_stays_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "failed.json"
    write_failure(path, FAILURE)
    for content in _damages(path.read_bytes()):
        path.write_bytes(content)
        found = read_failure(path, FAILURE.unit)
        if found != FAILURE:
            assert found.unit == FAILURE.unit and found.log == str(path)
            assert str(path) in found.error and "--retry-failed runs it again" in found.error


def test_damaged_jobs_are_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "slurm-login-7_0.json"
    write_jobs(path, JOBS)
    for content in _damages(path.read_bytes()):
        path.write_bytes(content)
        try:
            assert read_jobs(path) == JOBS
        except SweepError as error:
            assert str(error).startswith(f"{path}: ") and "then delete it" in str(error)


def test_damaged_marks_of_tables_are_of_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "tables.json"
    write_tables(path, TABLES)
    changed = TABLES | {"runs": ["run/a"]}
    assert tables_are(path, TABLES) and not tables_are(path, changed)
    for content in _damages(path.read_bytes()):
        path.write_bytes(content)
        tables_are(path, TABLES)
        assert not tables_are(path, changed)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[" * 100_000, b"null", b"[1]", b'{"jobs": [{"units": "a"}]}', b'{"checksum": 1, "jobs": []}'],
)
def test_what_is_no_record_at_all_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    assert "the record is damaged" in read_failure(path, "run/a").error and not tables_are(path, TABLES)
    with pytest.raises(SweepError, match="then delete it"):
        read_jobs(path)


def _folder_instead(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)


def _file_instead_of_its_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.rmdir()
    path.parent.touch()


@pytest.mark.parametrize("ruin", [_folder_instead, _file_instead_of_its_folder])
@pytest.mark.parametrize("name", ["failed", "submitted", "tables"])
def test_a_folder_where_a_file_belongs_and_the_reverse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ruin: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("[[run]]\nmethod = ['random']\ntask = ['PickCube-v1']\n")
    sweep = Sweep.open(Path("mine.toml"))
    unit = sweep.units[0].name
    path = {
        "failed": sweep.folder / "failed" / f"{unit}.json",
        "submitted": sweep.folder / "submitted" / "slurm-login-7.json",
        "tables": sweep.folder / "tables.json",
    }[name]
    write_tables(path, {})
    ruin(path)
    failures = sweep.failures()
    if ruin is _folder_instead and name == "failed":
        assert "the record is damaged" in failures[unit].error
        with pytest.raises(SweepError, match="cannot be removed"):
            sweep.forget_failure(unit)
    if ruin is _folder_instead and name == "submitted":
        with pytest.raises(SweepError, match="then delete it"):
            sweep.jobs()
    else:
        assert sweep.jobs() == []
    sweep.done()
