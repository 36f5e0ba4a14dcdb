"""A sweep on disk: which of its units are done, under way, failed or missing. Nothing here submits or computes.

Below runs/sweeps/<plan> are the plans as they were submitted (`plans/`), what was submitted (`submitted/`, a file an
array), the jobs' logs (`jobs/`) and the failures (`failed/`, a file a unit). What is done is read off the outputs
themselves: zoos, trained methods and stored results, whoever made them.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from nnbench.errors import NnbenchError
from nnbench.folders import RUNS
from nnbench.protocol import Unit
from nnbench.slurm.plan import Plan, SweepUnit, expand, load_plan, plan_file
from nnbench.slurm.records import (
    Failure,
    Job,
    SweepError,
    UnderWay,
    read_failure,
    read_jobs,
    tables_are,
    write_failure,
    write_jobs,
    write_tables,
)
from nnbench.tasks.files import file_sha256, write_atomically
from nnbench.tasks.policies.tracks import load_track

State = Literal["done", "running", "queued", "failed", "missing"]


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
        """The identity of the code of each method of the plan, as far as it can be found and read."""
        from nnbench.code import hash_code
        from nnbench.discovery import find_methods

        named = {unit.method for unit in self.units if unit.stage in ("train", "run")}
        found: dict[str, str | None] = {}
        for location in find_methods(self.plan.plugin):
            if location.problem is None and location.name in named:
                with suppress(NnbenchError):
                    found[location.name] = hash_code(location)
        return found

    def keep_plan(self) -> Path:
        """A copy of the plan that jobs can rely on."""
        content = self.file.read_bytes()
        path = self.folder / "plans" / f"{hashlib.sha256(content).hexdigest()[:12]}.toml"
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
        return path

    def done(self) -> set[str]:
        """Names of the units whose output is there. Raises CheckpointError for a training of another zoo."""
        from nnbench.store.checkpoints import Trained, find
        from nnbench.store.store import Store
        from nnbench.tasks.zoo.alignment import alignment_file
        from nnbench.tasks.zoo.distillation import ensemble_file

        stored, zoos = Store(self.plan.results).keys(), self._zoos()
        found: set[str] = set()

        @cache
        def trained(method: str, task: str, seed: int) -> Trained | None:
            return find(method, task, zoos[task], seed, self.codes.get(method)) if task in zoos else None

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
                there = trained(unit.method, unit.task, unit.seed) is not None
            elif unit.stage == "run":
                assert unit.method is not None and unit.seed is not None
                made_by = trained(unit.method, unit.task, unit.seed)
                there = made_by is not None and self.result(unit, made_by.sha256).key in stored
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
            **load_track(self.plan.track).unit_fields(unit.arch),
        )

    def mark_tables(self, done: Collection[str]) -> None:
        """Remember of which runs the tables are."""
        write_tables(self.tables_file.with_suffix(".json"), self._of_tables(done))

    def _tables_are_of(self, done: Collection[str]) -> bool:
        return tables_are(self.tables_file.with_suffix(".json"), self._of_tables(done))

    def _of_tables(self, done: Collection[str]) -> dict[str, Any]:
        runs = sorted(name for name in done if name.startswith("run/"))
        return {"tables": list(self.plan.tables), "protocol": self.plan.protocol.short, "runs": runs}

    def _zoos(self) -> dict[str, str]:
        """Task to the identity of what is learned from, where its zoo is there."""
        manifests = {task: self.plan.zoo_folder(task) / "manifest.json" for task in self.plan.tasks}
        track = load_track(self.plan.track)
        return {task: track.identity(file_sha256(path)) for task, path in manifests.items() if path.is_file()}

    # Failures

    def failures(self) -> dict[str, Failure]:
        """By unit."""
        folder = self.folder / "failed"
        files = {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.rglob("*.json"))}
        return {unit: read_failure(path, unit) for unit, path in files.items()}

    def record_failure(self, unit: str, error: str, log: Path | None) -> None:
        """Keep what a unit failed of; without a log of the job, the record is all there is."""
        path = self._failure_file(unit)
        last = error.strip().splitlines()[-1] if error.strip() else "it failed without a word"
        write_failure(path, Failure(unit, last, str(log or path.with_suffix(".log"))))
        if log is None:
            write_atomically(path.with_suffix(".log"), lambda temporary: temporary.write_text(error, "utf-8"))

    def forget_failure(self, unit: str) -> None:
        """For a unit that is tried once more. Raises SweepError where its record cannot be removed."""
        path = self._failure_file(unit)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise SweepError(f"{path}: cannot be removed ({error.strerror}); delete it") from error

    def _failure_file(self, unit: str) -> Path:
        return self.folder / "failed" / f"{unit}.json"

    # Jobs

    def record_jobs(self, jobs: Sequence[Job]) -> None:
        """Remember what was submitted."""
        write_jobs(self.folder / "submitted" / f"{jobs[0].cluster}-{jobs[0].host}-{jobs[0].id}.json", list(jobs))

    def jobs(self, done: Collection[str] = ()) -> list[Job]:
        """What was submitted, the latest last, but for jobs all of whose units are done. Raises SweepError."""
        files = sorted((self.folder / "submitted").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        jobs = [job for path in files for job in read_jobs(path)]
        return [job for job in jobs if not set(job.units).issubset(done)]


def states(
    units: Sequence[SweepUnit],
    done: Collection[str],
    failures: Mapping[str, Failure],
    jobs: Sequence[Job],
    alive: Mapping[str, UnderWay],
) -> dict[str, State]:
    """The state of every unit, by name."""
    under_way: dict[str, UnderWay] = {}
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
