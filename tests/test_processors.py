"""How many processors a process may use: the mask, the quota and the allocation all count."""

import os
from pathlib import Path

import pytest

from nnbench.tasks.simulation import cgroups
from nnbench.tasks.simulation.processors import count_processors


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cgroups, "_OWN", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "_MOUNT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)))


def test_the_mask_counts() -> None:
    assert count_processors() == 12


@pytest.mark.parametrize("name", ["SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"])
def test_the_allocation_counts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "2")
    assert count_processors() == 2


@pytest.mark.parametrize(("quota", "expected"), [("350000 100000", 4), ("10000 100000", 1), ("max 100000", 12)])
def test_the_quota_of_any_group_above_counts(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cgroup").write_text("0::/user/job/step\n")
    (tmp_path / "user/job/step").mkdir(parents=True)
    (tmp_path / "user/job/cpu.max").write_text(f"{quota}\n")
    (tmp_path / "user/job/step/cpu.max").write_text("max 100000\n")
    assert count_processors() == expected


@pytest.mark.parametrize(("quota", "expected"), [("300000", 3), ("-1", 12)])
def test_the_quota_of_version_1_counts(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cgroup").write_text("4:memory:/box\n1:cpu,cpuacct:/box\n")
    (tmp_path / "cpu,cpuacct/box").mkdir(parents=True)
    (tmp_path / "cpu,cpuacct/box/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu,cpuacct/box/cpu.cfs_period_us").write_text("100000\n")
    assert count_processors() == expected
