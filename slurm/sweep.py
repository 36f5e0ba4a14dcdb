"""A sweep on disk: which of its units are done, under way, failed or missing. Nothing here submits or computes.

Below runs/sweeps/<plan> are the plans as they were submitted (`plans/`), what was submitted (`submitted/`, a file an
array), the jobs' logs (`jobs/`) and the failures (`failed/`, a file a unit). What is done is read off the outputs
themselves: zoos, trained methods and stored results, whoever made them.
"""

import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from nnbench.errors import NnbenchError
from nnbench.folders import RUNS
from nnbench.protocol import Unit
from nnbench.slurm.plan import Plan, SweepUnit, expand, load_plan, plan_file
from nnbench.tasks.files import file_sha256, write_atomically, write_json

State = Literal["done", "running", "queued", "failed", "missing"]

_ASK_S = 60.0


class SweepError(NnbenchError, RuntimeError):
    """A sweep that cannot be submitted. Says what is missing and the remedy."""


@dataclass(frozen=True)
class Failure:
    """Why a unit failed, and where to read on."""

    unit: str
    error: str
    """The last line."""
    log: str


@dataclass(frozen=True)
class Job:
    """A submitted job: an element of an array on SLURM, a process of this or another machine elsewhere."""

    cluster: str
    id: str
    host: str
    """Where it was submitted from."""
    units: tuple[str, ...]
    log: str


@dataclass(frozen=True)
class Sweep:
    """A plan and the folder where its sweep is remembered."""

    file: Path
    """The plan file, of which jobs are given a copy: it may be edited while they wait."""
    folder: Path
    plan: Plan

    @classmethod
    def open(cls, path: Path) -> "Sweep":
        """Raises ConfigurationError."""
        file = plan_file(path)
        return cls(file, RUNS / "sweeps" / file.stem, load_plan(file))

    @cached_property
    def units(self) -> list[SweepUnit]:
        """All units of the plan, by stage."""
        return expand(self.plan)

    @property
    def tables_file(self) -> Path:
        """Where the tables are printed to; beside it is of which runs they are."""
        return self.folder / "tables.txt"

    @cached_property
    def codes(self) -> dict[str, str | None]:
        """The identity of the code of each method of the plan, as far as it can be found."""
        from nnbench.code import hash_code
        from nnbench.discovery import find_methods

        named = {unit.method for unit in self.units if unit.stage in ("train", "run")}
        found = [location for location in find_methods(self.plan.plugin) if location.problem is None]
        return {location.name: hash_code(location) for location in found if location.name in named}

    def keep_plan(self) -> Path:
        """A copy of the plan that jobs can rely on."""
        content = self.file.read_bytes()
        path = self.folder / "plans" / f"{hashlib.sha256(content).hexdigest()[:12]}.toml"
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
        return path

    def done(self) -> set[str]:
        """Names of the units whose output is there. Raises CheckpointError for a training of another zoo."""
        from nnbench.store.checkpoints import find
        from nnbench.store.store import Store
        from nnbench.tasks.zoo.alignment import alignment_file
        from nnbench.tasks.zoo.distillation import ensemble_file

        stored, zoos = Store(self.plan.results).keys(), self._zoos()
        found: set[str] = set()
        trained: dict[str, str] = {}
        for unit in self.units:
            if unit.stage == "ghn":
                assert unit.seed is not None
                ghn = ensemble_file(RUNS / "distillation" / unit.task, (unit.seed,))
                there = ghn.exists() or unit.task in zoos  # which was made of it
            elif unit.stage == "zoo":
                there = unit.task in zoos
                if unit.method == "alignment":
                    there = alignment_file(self.plan.results, unit.task).exists()
            elif unit.stage == "train":
                assert unit.method is not None and unit.seed is not None
                code = self.codes.get(unit.method)
                here = find(unit.method, unit.task, zoos[unit.task], unit.seed, code) if unit.task in zoos else None
                if there := here is not None:
                    trained[unit.name] = here.sha256
            elif unit.stage == "run":
                (training,) = unit.needs
                there = training in trained and self.result(unit, trained[training]).key in stored
            else:
                there = self._tables_are_of(found)
            if there:
                found.add(unit.name)
        return found

    def result(self, unit: SweepUnit, method_sha256: str) -> Unit:
        """What a run is in the store."""
        assert unit.method is not None and unit.seed is not None
        return Unit(
            protocol=self.plan.protocol,
            task=unit.task,
            method=unit.method,
            method_sha256=method_sha256,
            generator_seed=unit.seed,
            arch=unit.arch,
        )

    def mark_tables(self, done: Collection[str]) -> None:
        """Remember of which runs the tables are."""
        write_json(self.tables_file.with_suffix(".json"), self._of_tables(done))

    def _tables_are_of(self, done: Collection[str]) -> bool:
        path = self.tables_file.with_suffix(".json")
        return path.exists() and json.loads(path.read_text()) == self._of_tables(done)

    def _of_tables(self, done: Collection[str]) -> dict[str, Any]:
        runs = sorted(name for name in done if name.startswith("run/"))
        return {"tables": list(self.plan.tables), "protocol": self.plan.protocol.short, "runs": runs}

    def _zoos(self) -> dict[str, str]:
        """Task to the identity of its zoo, where that is there."""
        manifests = {task: self.plan.zoo_folder(task) / "manifest.json" for task in self.plan.tasks}
        return {task: file_sha256(path) for task, path in manifests.items() if path.exists()}

    # Failures

    def failures(self) -> dict[str, Failure]:
        """By unit."""
        found = [Failure(**json.loads(path.read_text())) for path in sorted((self.folder / "failed").rglob("*.json"))]
        return {failure.unit: failure for failure in found}

    def record_failure(self, unit: SweepUnit, error: str, log: Path | None) -> None:
        """Keep what a unit failed of; without a log of the job, the record is all there is."""
        path = self._failure_file(unit.name)
        last = error.strip().splitlines()[-1] if error.strip() else "it failed without a word"
        write_json(path, {"unit": unit.name, "error": last, "log": str(log or path.with_suffix(".log"))})
        if log is None:
            write_atomically(path.with_suffix(".log"), lambda temporary: temporary.write_text(error))

    def forget_failure(self, name: str) -> None:
        """For a unit that is tried once more."""
        self._failure_file(name).unlink(missing_ok=True)

    def _failure_file(self, name: str) -> Path:
        return self.folder / "failed" / f"{name}.json"

    # Jobs

    def record_jobs(self, jobs: Sequence[Job]) -> None:
        """Remember what was submitted."""
        rows = [vars(job) for job in jobs]
        write_json(self.folder / "submitted" / f"{jobs[0].cluster}-{jobs[0].host}-{jobs[0].id}.json", rows)

    def jobs(self, done: Collection[str] = ()) -> list[Job]:
        """What was submitted, the latest last, but for jobs all of whose units are done."""
        files = sorted((self.folder / "submitted").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        rows = [row for path in files for row in json.loads(path.read_text())]
        jobs = [Job(**(row | {"units": tuple(row["units"])})) for row in rows]
        return [job for job in jobs if not set(job.units).issubset(done)]


def alive(jobs: Sequence[Job]) -> dict[str, State]:
    """Id to `running` or `queued` of those jobs that are. Raises SweepError where SLURM does not answer."""
    states: dict[str, State] = {}
    if any(job.cluster == "slurm" for job in jobs):
        states = _slurm_jobs()
    here = socket.gethostname()
    for job in jobs:
        if job.cluster == "local" and job.host == here and _is_running(int(job.id)):
            states[job.id] = "running"
    return {job.id: states[job.id] for job in jobs if job.id in states}


def slurm_answers() -> bool:
    """True where a SLURM controller does; the commands alone may be installed without one."""
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=5).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def states(
    units: Sequence[SweepUnit],
    done: Collection[str],
    failures: Mapping[str, Failure],
    jobs: Sequence[Job],
    alive: Mapping[str, State],
) -> dict[str, State]:
    """The state of every unit, by name."""
    under_way: dict[str, State] = {}
    for job in jobs:
        if job.id in alive:
            for name in job.units:
                if under_way.get(name) != "running":
                    under_way[name] = alive[job.id]
    found: dict[str, State] = {}
    for unit in units:
        if unit.name in done:
            found[unit.name] = "done"
        elif unit.name in failures:
            found[unit.name] = "failed"
        else:
            found[unit.name] = under_way.get(unit.name, "missing")
    return found


def _slurm_jobs() -> dict[str, State]:
    command = ["squeue", "--me", "--array", "--noheader", "--format=%i|%T"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S)
        answer, error = asked.stdout, asked.stderr if asked.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as caught:
        answer, error = "", str(caught)
    if error:
        raise SweepError(
            f"jobs of this sweep were submitted to SLURM, and squeue does not answer ({' '.join(error.split())}): run "
            "this on a login node"
        )
    rows = [line.split("|") for line in answer.splitlines()]
    return {job: "running" if state in ("RUNNING", "COMPLETING") else "queued" for job, state in rows}


def _is_running(pid: int) -> bool:
    """True for a living submitit controller; the number may have gone to somebody else since."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"submitit" in command and pid != os.getpid()
