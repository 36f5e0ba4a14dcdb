"""What is submitted: only what is missing, packed by its cost, and nothing that waits for a failure."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from nnbench.slurm import dispatch
from nnbench.slurm.cluster import alive, longest_array
from nnbench.slurm.plan import Stage, SweepUnit
from nnbench.slurm.profile import Profile, Resources
from nnbench.slurm.records import Job, SweepError
from nnbench.slurm.sweep import Sweep

PROFILE = Profile(
    training=Resources(minutes=600, cpus=4, pack_minutes=60), rollouts=Resources(minutes=600, cpus=2, pack_minutes=30)
)


def _units(stage: Stage, count: int, hours: float, core_hours: float = 0.0) -> list[SweepUnit]:
    return [SweepUnit(stage, "PickCube-v1", "ghn", seed, hours=hours, core_hours=core_hours) for seed in range(count)]


def test_units_share_a_job_until_their_estimates_fill_it() -> None:
    train, run = dispatch.pack([*_units("train", 5, 0.4), *_units("run", 7, 0.05, core_hours=0.1)], PROFILE)
    assert [len(job) for job in train.jobs] == [2, 2, 1] and train.resources == PROFILE.training
    assert [len(job) for job in run.jobs] == [5, 2]  # 0.05 + 0.1 / 2 cores = 0.1 h each
    assert run.hours == pytest.approx(0.7 + 2 * 20 / 3600)  # and each job has to start
    assert run.wall_hours(2) == pytest.approx(0.5 + 20 / 3600) and run.wall_hours(1) == run.hours
    (alone,) = dispatch.pack(_units("run", 2, 5.0), PROFILE)
    assert [len(job) for job in alone.jobs] == [1, 1]


def test_an_array_is_no_longer_than_clusters_allow() -> None:
    units = _units("run", 2300, 1.0)
    arrays = dispatch.pack(units, PROFILE)
    assert [len(array.jobs) for array in arrays] == [1000, 1000, 300]
    assert [unit for array in arrays for job in array.jobs for unit in job] == units
    assert [len(array.jobs) for array in dispatch.pack(units, PROFILE, 2000)] == [2000, 300]
    assert {len(array.jobs) for array in dispatch.pack(units, PROFILE, 1)} == {1}


@pytest.mark.parametrize(
    ("said", "expected"),
    [("MaxArraySize            = 5", 5), ("MaxArraySize = 0", 1), ("AccountingStorageType = none", 1000)],
)
def test_the_cluster_says_how_long_an_array_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: int
) -> None:
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho 'Configuration data'\necho '{said}'\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert longest_array() == expected
    (tmp_path / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    assert longest_array() == 1000


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(
        "tables = [2]\n[[run]]\nmethod = ['nearest', 'random']\ntask = ['PickCube-v1']\n"
        "archs = '16-16-16-32,32-32-16-64'\n"
        "[[train]]\nmethod = ['random']\ntask = ['PickCube-v1']\n"  # for once: it learns nothing
    )
    return Sweep.open(Path("mine.toml"))


def _names(units: list[SweepUnit]) -> list[str]:
    return [unit.name for unit in units]


def test_a_failed_unit_and_what_needs_it_wait_for_retry_failed(sweep: Sweep) -> None:
    everything = _names(sweep.units)
    assert _names(dispatch.to_do(sweep, retry_failed=False)) == everything and len(everything) == 6
    failed = next(unit for unit in sweep.units if unit.name == "train/random/PickCube-v1/s0")
    sweep.record_failure(failed.name, "Traceback\nValueError: no\n", None)
    assert [name for name in everything if "random" not in name] == _names(dispatch.to_do(sweep, retry_failed=False))
    assert _names(dispatch.to_do(sweep, retry_failed=True)) == everything
    failure = sweep.failures()[failed.name]
    assert failure.error == "ValueError: no" and Path(failure.log).read_text() == "Traceback\nValueError: no\n"


def test_what_is_under_way_is_not_submitted_again(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [
        Job("slurm", "7_0", "login", ("train/random/PickCube-v1/s0",), "log"),
        Job("slurm", "7_1", "login", ("run/other",), ""),
    ]
    sweep.record_jobs(jobs)
    assert sweep.jobs() == jobs
    monkeypatch.setattr("nnbench.slurm.cluster._slurm_jobs", lambda: {"7_0": "queued", "8": "running"})
    left = _names(dispatch.to_do(sweep, retry_failed=False))
    assert "train/random/PickCube-v1/s0" not in left and len(left) == 5
    monkeypatch.setattr("nnbench.slurm.cluster._slurm_jobs", dict)
    assert len(dispatch.to_do(sweep, retry_failed=False)) == 6


def test_a_local_job_is_alive_only_while_its_own_process_is() -> None:
    mine = Job("local", str(os.getpid()), os.uname().nodename, (), "")  # a process, but none of submitit's
    assert alive([mine, replace(mine, id="99999999"), replace(mine, host="elsewhere")]) == {}


def test_problems_are_known_before_anything_is_submitted(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dispatch.check(sweep, sweep.units) == []
    Path("other.toml").write_text(
        "[[run]]\nmethod = ['nearst']\ntask = ['StackCubeEasy-v1']\n[[zoo]]\ntask = ['PushCube-v1']\n"
    )
    other = Sweep.open(Path("other.toml"))
    for module in ("build", "manifest"):
        monkeypatch.setattr(f"nnbench.tasks.zoo.{module}.SHIPPED", Path("elsewhere"))
    found = dispatch.check(other, other.units)
    assert found[0].startswith("unknown method 'nearst'; did you mean 'nearest'?")
    assert found[1] == (
        "elsewhere/PushCube-v1/expert.safetensors: no expert; `nnbench expert train --task PushCube-v1` makes one"
    )
    assert found[2].startswith("no zoo of StackCubeEasy-v1 ships")


def test_slurm_is_asked_and_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sinfo").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert dispatch.choose_cluster(None) == "local" and dispatch.choose_cluster("debug") == "debug"
    with pytest.raises(SweepError, match="`sinfo` does not answer"):
        dispatch.choose_cluster("slurm")
    (tmp_path / "sinfo").write_text("#!/bin/sh\nexit 0\n")
    assert dispatch.choose_cluster(None) == "slurm"
