"""Sweeps of real units: on a real SLURM, by processes of this machine, and in this process. Equal rows in the end.

`NNBENCH_SUITE=full` kills more often. Only then are jobs killed, and do units fail, off SLURM too.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from helpers import command

from nnbench.slurm import dispatch
from nnbench.slurm.cluster import alive, longest_array
from nnbench.slurm.dispatch import Cluster
from nnbench.slurm.profile import Profile, Resources
from nnbench.slurm.records import SweepError
from nnbench.slurm.status import describe_status
from nnbench.slurm.sweep import Sweep
from nnbench.store.store import Store

pytestmark = pytest.mark.slow

CLUSTERS: tuple[Cluster, ...] = ("slurm", "local", "debug")
FULL = os.environ.get("NNBENCH_SUITE") == "full"
KILLS = 20 if FULL else 4
SEED = 0
"""Of when and whom the kills hit."""
ARCHS = "16-16-16-32,32-32-16-64"
PLAN = f"""
tables = [2]

[protocol]
samples = 4
top = 1
selection_episodes = 2
screening_episodes = 2
test_episodes = 2

[[run]]
method = ["nearest", "random"]
task = ["PickCube-v1"]
archs = "{ARCHS}"
"""
OWN = """
from pathlib import Path
from nnbench.methods import nearest

class Method(nearest.Method):
    name = "mine"
    def generate(self, arch, n, *, seed=0):
        assert Path("mended").exists() or arch != (16, 16, 16, 32), "not this one"
        return super().generate(arch, n, seed=seed)
"""
OWN_PLAN = "plugin = ['mine.py']\n" + PLAN.replace('["nearest", "random"]', '["mine"]')
SLOW = """
import time
from pathlib import Path
from nnbench.methods import nearest

class Method(nearest.Method):
    name = "mine"
    @classmethod
    def fit(cls, training, *, seed, directory):
        if not Path("begun").exists():
            Path("begun").touch()
            time.sleep(3600)
        return cls(training)
"""
SLOW_PLAN = "plugin = ['mine.py']\n[[train]]\nmethod = ['mine']\ntask = ['PickCube-v1']\n"
TROUBLED = "run/mine/PickCube-v1/s0/16-16-16-32"


def _profile(minutes: int = 30, signal_s: int = 60, pack_minutes: int = 1) -> Profile:
    resources = Resources(minutes=minutes, cpus=1, memory_gb=1.5, pack_minutes=pack_minutes)
    return Profile(training=resources, rollouts=resources, parallel=2, signal_s=signal_s)


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Cluster:
    chosen: Cluster = request.param
    if chosen == "slurm":
        request.getfixturevalue("slurm")
    return chosen


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """What plain `nnbench run` stores."""
    folder = tmp_path_factory.mktemp("run")
    scale = ("--n", "4", "--top-k", "1", "--episodes", "2", "--test-episodes", "2", "--workers", "1")
    arguments = ("run", "--method", "nearest", "random", "--archs", ARCHS, *scale)
    subprocess.run(command(*arguments), cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return Store(folder / "results" / "runs")


def _submit(sweep: Sweep, cluster: Cluster, *, retry_failed: bool = False, profile: Profile | None = None) -> int:
    """As `nnbench sweep`; returns the number of units that were submitted."""
    units = dispatch.to_do(sweep, retry_failed=retry_failed)
    assert dispatch.check(sweep, units) == []
    profile = profile or _profile()
    list(dispatch.submit(sweep, dispatch.pack(units, profile), profile, cluster))
    return len(units)


def _wait(sweep: Sweep, meanwhile: Callable[[], object] = lambda: None) -> None:
    while alive(sweep.jobs()):
        meanwhile()
        time.sleep(0.5)


def _install(program: Path, script: str) -> None:
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def _open(text: str) -> Sweep:
    Path("mine.toml").write_text(text)
    return Sweep.open(Path("mine.toml"))


def _logs(sweep: Sweep) -> str:
    return "\n".join(path.read_text() for path in sorted(sweep.folder.rglob("*.out")))


@pytest.mark.parametrize("cluster", CLUSTERS if FULL else CLUSTERS[:2], indirect=True)
def test_rows_are_those_of_plain_runs_and_a_resubmission_does_nothing(
    cluster: Cluster, here: Path, expected: Store
) -> None:
    sweep = _open(PLAN)
    assert _submit(sweep, cluster) == 5
    _wait(sweep)
    assert Store(sweep.plan.results).rows().equals(expected.rows()), _logs(sweep)
    assert "Table 2" in sweep.tables_file.read_text()
    assert sweep.done() == {unit.name for unit in sweep.units}
    assert _submit(sweep, cluster) == 0 and not alive(sweep.jobs())
    assert [line.split() for line in describe_status(sweep)][1:] == [
        ["run", "4", "0", "0", "0", "0"],
        ["table", "1", "0", "0", "0", "0"],
    ]


@pytest.mark.parametrize("cluster", CLUSTERS if FULL else ["slurm"], indirect=True)
def test_a_failed_unit_is_named_and_done_again_only_when_asked(cluster: Cluster, here: Path) -> None:
    Path("mine.py").write_text(OWN)
    sweep = _open(OWN_PLAN)
    _submit(sweep, cluster)
    _wait(sweep)
    assert sweep.done() == {unit.name for unit in sweep.units} - {TROUBLED}, _logs(sweep)
    printed = list(describe_status(sweep))
    found = printed.index(next(line for line in printed if line.startswith(f"failed   {TROUBLED}: ")))
    assert printed[found].endswith("raised AssertionError: not this one")
    log = Path(printed[found + 1].removeprefix("         log "))
    assert "not this one" in log.read_text()

    Path("mended").touch()
    assert _submit(sweep, cluster) == 0
    assert _submit(sweep, cluster, retry_failed=True) == 2  # and the table, which is then of more runs
    _wait(sweep)
    assert sweep.done() == {unit.name for unit in sweep.units} and len(Store(sweep.plan.results).keys()) == 2


def test_stages_wait_and_arrays_are_as_long_as_the_cluster_allows_without_accounting(
    slurm: None, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(here / "bin" / "sacct", f"touch {here}/asked; echo 'Slurm accounting storage is disabled' >&2; exit 1")
    monkeypatch.setenv("PATH", str(here / "bin"), prepend=":")
    sweep = _open(PLAN + '[[train]]\nmethod = ["nearest", "random"]\ntask = ["PickCube-v1"]\n')
    profile = _profile()
    assert longest_array() == 3  # as slurm.conf says
    units = [
        replace(unit, hours=1.0) if unit.stage == "run" else unit  # each in a job of its own
        for unit in dispatch.to_do(sweep, retry_failed=False)
    ]
    too_long = dispatch.pack([unit for unit in units if unit.stage == "run"], profile)
    with pytest.raises(SweepError, match="run: SLURM refuses: .*[Ii]nvalid job array"):
        list(dispatch.submit(sweep, too_long, profile, "slurm"))
    printed = list(dispatch.submit(sweep, dispatch.pack(units, profile, longest_array()), profile, "slurm"))
    train, run, _, table = printed
    jobs = {job.units: job.id for job in sweep.jobs()}
    numbers = [job.split("_")[0] for units, job in jobs.items() if units[0].startswith("run/")]
    number, rest = dict.fromkeys(numbers)
    assert Counter(numbers) == {number: 3, rest: 1} and len(jobs) == 7
    assert f"run: 3 jobs submitted as {number}, after " in run and {number, rest} < {*re.findall(r"\d+", table)}
    shown = subprocess.run(["scontrol", "show", "job", number], capture_output=True, text=True, check=True).stdout
    assert f"Dependency=afterany:{train.split()[-1]}" in shown and "ArrayTaskThrottle=2" in shown
    assert dispatch.to_do(sweep, retry_failed=False) == []  # all of it is under way
    begun: list[str] = []

    def order() -> None:
        for log in sorted(sweep.folder.rglob("*.out"), key=lambda path: path.stat().st_mtime_ns):
            stage = log.parent.name.split("-")[2]
            if stage not in begun:
                begun.append(stage)

    _wait(sweep, order)
    assert begun == ["train", "run", "table"] and sweep.done() == {unit.name for unit in sweep.units}, _logs(sweep)
    assert not Path("asked").exists()  # nobody asked sacct, neither here nor in a job


def test_a_method_that_is_edited_while_its_job_waits_fails_by_name(slurm: None, here: Path) -> None:
    Path("mine.py").write_text(OWN)
    sweep = _open(OWN_PLAN.replace('["mine"]', '["mine", "random"]').replace("tables = [2]", ""))
    profile = _profile()
    profile = replace(profile, setup=("touch waiting", "while [ ! -e edited ]; do sleep 0.1; done"))
    _submit(sweep, "slurm", profile=profile)
    Path("mine.py").write_text(OWN + "# edited\n")
    Path("edited").touch()
    _wait(sweep)
    assert {name: failure.error for name, failure in sweep.failures().items()} == {
        f"run/mine/PickCube-v1/s0/{arch}": "method mine: its code was edited after this job was submitted; submit the "
        "sweep again"
        for arch in ARCHS.split(",")
    }, _logs(sweep)
    assert {name for name in _open(Path("mine.toml").read_text()).done() if "random" in name} == {
        f"run/random/PickCube-v1/s0/{arch}" for arch in ARCHS.split(",")
    }


@pytest.mark.parametrize("ruin", ["plan", "plugin"])
def test_a_job_without_its_plan_or_plugin_fails_its_units_by_name(
    here: Path, monkeypatch: pytest.MonkeyPatch, ruin: str
) -> None:
    Path("mine.py").write_text(OWN)
    sweep = _open(OWN_PLAN)
    kept = sweep.keep_plan()

    def keep_and_ruin(sweep: Sweep) -> Path:
        if ruin == "plan":
            kept.write_bytes(kept.read_bytes()[:-9])
        else:
            Path("mine.py").unlink()
        return kept

    monkeypatch.setattr(Sweep, "keep_plan", keep_and_ruin)
    _submit(sweep, "debug")
    expected = (
        f"{kept}: the copy of the plan is missing or damaged; " if ruin == "plan" else "mine.py: expected a Python"
    )
    failures = sweep.failures()
    assert failures.keys() == {unit.name for unit in sweep.units}
    assert all(expected in failure.error for failure in failures.values())


def test_a_job_of_two_processors_has_two_workers(slurm: None, here: Path) -> None:
    ask = "from nnbench.tasks.simulation.processors import count_processors; print(count_processors())"
    job = ["srun", "--quiet", "--ntasks=1", "--cpus-per-task=2", "--mem=500", sys.executable, "-c", ask]
    assert subprocess.run(job, capture_output=True, text=True, check=True).stdout.split() == ["2"]


def test_a_training_at_its_time_limit_is_queued_again_and_goes_on(slurm: None, here: Path) -> None:
    Path("mine.py").write_text(SLOW)
    sweep = _open(SLOW_PLAN)
    _submit(sweep, "slurm", profile=_profile(minutes=3))
    _wait(sweep, _no_waiting_for_requeued_jobs)
    assert len(sweep.done()) == 1 and not sweep.failures(), _logs(sweep)
    assert "timed-out" in _logs(sweep) and _logs(sweep).count("Starting with") == 2
    assert len(sweep.jobs()) == 1


def test_a_cancelled_or_killed_job_has_failed_at_nothing_and_goes_on(slurm: None, here: Path) -> None:
    Path("mine.py").write_text(SLOW)
    sweep = _open(SLOW_PLAN)
    for end in (_cancel, _kill):
        Path("begun").unlink(missing_ok=True)
        assert _submit(sweep, "slurm") == 1
        _wait(sweep, partial(_end_what_has_begun, sweep, end))
        assert sweep.failures() == {} and sweep.done() == set(), _logs(sweep)
        assert [line.split(":")[0] for line in describe_status(sweep)][2] == (
            f"ended    job {sweep.jobs()[-1].id} with 1 of 1 units missing"
        )
    assert _submit(sweep, "slurm") == 1  # the file `begun` is there: now it is quick
    _wait(sweep)
    assert len(sweep.done()) == 1, _logs(sweep)


def _end_what_has_begun(sweep: Sweep, end: Callable[[Sweep], None]) -> None:
    if Path("begun").exists():
        end(sweep)


def _cancel(sweep: Sweep) -> None:
    subprocess.run(["scancel", sweep.jobs()[-1].id], check=True)


def _kill(sweep: Sweep) -> None:
    for process in _processes_of(sweep):
        os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("cluster", CLUSTERS[:2] if FULL else ["slurm"], indirect=True)
def test_kills_lose_and_double_nothing(cluster: Cluster, here: Path, expected: Store) -> None:
    sweep, kills, rng = _open(PLAN), 0, random.Random(SEED)
    finished = {unit.name for unit in sweep.units}
    while sweep.done() != finished or kills < KILLS:
        if sweep.done() == finished:  # all was done between two kills: once more from the beginning
            for path in (here / "results" / "runs").glob("*.*"):
                path.unlink()
        process = _sweep_in_background(cluster)
        pause = time.monotonic() + rng.uniform(0, 20)
        while process.poll() is None or alive(sweep.jobs()):
            if kills < KILLS and time.monotonic() > pause and (victims := list(_processes_of(sweep))):
                os.kill(rng.choice(victims), signal.SIGKILL)
                kills, pause = kills + 1, time.monotonic() + rng.uniform(1, 20)
            if cluster == "slurm":
                _no_waiting_for_requeued_jobs()
            time.sleep(0.2)
    store = Store(sweep.plan.results)
    assert store.rows().equals(expected.rows()) and store.keys() == expected.keys(), f"kills drawn with seed {SEED}"
    rows = store.rows().select(["method", "arch", "sample", "stage", "episode_seed"]).to_pylist()
    assert max(Counter(tuple(row.values()) for row in rows).values()) == 1
    assert _submit(sweep, cluster) == 0


def _sweep_in_background(cluster: Cluster) -> "subprocess.Popen[bytes]":
    """The command, for a kill of its jobs must not end this process. A method's process may be what is killed."""
    resources = "minutes = 30\ncpus = 1\nmemory_gb = 1.5\npack_minutes = 1\n"
    Path("tiny.toml").write_text(f"parallel = 2\nsignal_s = 60\n[training]\n{resources}[rollouts]\n{resources}")
    sweep = command("sweep", "mine.toml", "--cluster", cluster, "--profile", "tiny.toml", "--retry-failed")
    return subprocess.Popen(sweep, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _processes_of(sweep: Sweep) -> Iterator[int]:
    """The jobs' own processes and those that they started, methods and simulation workers."""
    parents: dict[int, int] = {}
    jobs = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"submitit.core._submit" in command and bytes(sweep.folder.resolve()) in command and b"srun" not in command:
            jobs.add(int(folder.name))
    for number in parents:
        ancestor = number
        while ancestor in parents and ancestor not in jobs:
            ancestor = parents[ancestor]
        if ancestor in jobs:
            yield number


def _no_waiting_for_requeued_jobs() -> None:
    """SLURM holds a job that was queued again for two minutes."""
    asked = ["squeue", "--me", "--array", "--noheader", "--states=PENDING", "--format=%i|%r"]
    for line in subprocess.run(asked, capture_output=True, text=True).stdout.splitlines():
        job, reason = line.split("|")
        if reason == "BeginTime":
            # Not `now`: a job that starts in the second in which it was queued again is lost.
            subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now+2"], capture_output=True)
            time.sleep(3)
