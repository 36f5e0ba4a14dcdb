"""From a plan to jobs: what is missing is packed into arrays and submitted, a stage after the one that it needs."""

import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import submitit
from submitit import AutoExecutor
from submitit.core.utils import FailedJobError

from nnbench.errors import NnbenchError
from nnbench.folders import RUNS
from nnbench.slurm.cluster import USUAL_ARRAY, alive, slurm_answers
from nnbench.slurm.plan import STAGES, Stage, SweepUnit, stage_of
from nnbench.slurm.profile import Profile, Resources
from nnbench.slurm.records import Job, SweepError
from nnbench.slurm.sweep import Sweep, states
from nnbench.slurm.work import Work
from nnbench.tasks.simulation.processors import count_processors

Cluster = Literal["slurm", "local", "debug"]

_START_HOURS = 20 / 3600
"""What a job takes to begin: Python, scenes, the zoo."""
_POLL_S = 0.2


@dataclass(frozen=True)
class Array:
    """Jobs of one stage, submitted together."""

    stage: Stage
    jobs: tuple[tuple[SweepUnit, ...], ...]
    resources: Resources

    @property
    def hours(self) -> float:
        """Estimate, all jobs together."""
        return sum(self._hours_of_jobs)

    def wall_hours(self, parallel: int) -> float:
        """Estimate from the first job's start to the last one's end, with so many jobs at a time."""
        return max(self.hours / parallel, *self._hours_of_jobs)

    @property
    def _hours_of_jobs(self) -> list[float]:
        return [_START_HOURS + sum(_hours(unit, self.resources) for unit in units) for units in self.jobs]


def choose_cluster(asked: Cluster | None) -> Cluster:
    """What was asked for, else SLURM where one answers, else this machine. Raises SweepError."""
    if asked == "slurm" and not slurm_answers():
        raise SweepError("`sinfo` does not answer within 5 s: run this on a login node, or with --cluster local")
    return asked or ("slurm" if slurm_answers() else "local")


def to_do(sweep: Sweep, *, retry_failed: bool) -> list[SweepUnit]:
    """The units to submit: neither done nor under way, nor failed or in need of one that is."""
    done = sweep.done()
    jobs = sweep.jobs(done)
    found = states(sweep.units, done, {} if retry_failed else sweep.failures(), jobs, alive(jobs))
    hopeless: set[str] = {name for name, state in found.items() if state == "failed"}
    chosen: dict[str, SweepUnit] = {}
    for unit in sweep.units:  # by stage, so what a unit needs comes before it
        outdated = unit.stage == "table" and found[unit.name] == "done" and not chosen.keys().isdisjoint(unit.needs)
        if found[unit.name] != "missing" and not outdated:
            continue
        if unit.stage != "table" and hopeless.intersection(unit.needs):
            hopeless.add(unit.name)
        else:
            chosen[unit.name] = unit
    if [unit.stage for unit in chosen.values()] == ["table"] and hopeless.issuperset(chosen["table"].needs):
        return []
    return list(chosen.values())


def pack(units: Sequence[SweepUnit], profile: Profile, longest: int = USUAL_ARRAY) -> list[Array]:
    """Units, by stage, into jobs of about the profile's `pack_minutes`, and jobs into arrays of at most `longest`."""
    arrays = []
    for stage in STAGES:
        resources = profile.training if stage in ("ghn", "train") else profile.rollouts
        jobs: list[list[SweepUnit]] = []
        left = 0.0
        for unit in (unit for unit in units if unit.stage == stage):
            hours = _hours(unit, resources)
            if hours > left:
                jobs.append([])
                left = resources.pack_minutes / 60
            jobs[-1].append(unit)
            left -= hours
        for start in range(0, len(jobs), longest):
            arrays.append(Array(stage, tuple(map(tuple, jobs[start : start + longest])), resources))
    return arrays


def check(sweep: Sweep, units: Sequence[SweepUnit]) -> list[str]:
    """What stands in the way of these units: methods, zoos and experts that are not there. Imports the methods."""
    from nnbench.harness.isolation import describe as describe_method
    from nnbench.protocol import JOINT
    from nnbench.registry import MethodSource
    from nnbench.tasks.zoo.build import expert_file

    problems = []
    for method in dict.fromkeys(unit.method for unit in units if unit.method and unit.stage in ("train", "run")):
        try:
            source = MethodSource.of(method, sweep.plan.plugin)
            joint = describe_method(source).joint
        except NnbenchError as error:
            problems.append(str(error))
            continue
        if source.name != method:
            problems.append(f"method {method} is called {source.name}: write that in the plan")
        for part in sweep.plan.run:
            if method not in part.method:
                continue
            if part.split == JOINT and not joint:
                problems.append(f"method {method} does not choose architectures: leave it out of the split joint")
            if source.facts.seen_only and part.split not in ("seen", JOINT):
                problems.append(
                    f"method {method} writes only architectures it was trained on; run it on the split seen"
                )
    for task in dict.fromkeys(unit.task for unit in units if unit.task):
        manifest = sweep.plan.zoo_folder(task) / "manifest.json"
        if sweep.plan.zoo_plan(task) is None and not manifest.exists():
            problems.append(f'no zoo of {task} ships; build one in the plan: [[zoo]] task = ["{task}"]')
        expert = expert_file(RUNS, task)
        if any(unit.task == task and unit.stage in ("ghn", "zoo") for unit in units) and not expert.exists():
            problems.append(f"{expert}: no expert; `nnbench expert train --task {task}` makes one")
    return list(dict.fromkeys(problems))


def describe(arrays: Sequence[Array], cluster: Cluster, parallel: int) -> Iterator[str]:
    """Lines on what would be submitted, with `parallel` jobs of an array at a time."""
    for array in arrays:
        sizes = sorted(map(len, array.jobs))
        units = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
        asks = ", ".join(
            f"{field.name} {v}" for field in fields(array.resources) if (v := getattr(array.resources, field.name))
        )
        yield (
            f"{array.stage:5}  {sum(sizes):5} units in {len(sizes):4} jobs of {units:8}  about {array.hours:8.1f} h, "
            f"{array.hours / len(sizes):.1f} h per job  ({asks})"
        )
    jobs = [units for array in arrays for units in array.jobs]
    total = sum(array.hours for array in arrays)
    wall = sum(max((one.wall_hours(parallel) for one in arrays if one.stage == stage), default=0.0) for stage in STAGES)
    at_a_time = f"; about {wall:.1f} h from start to end with {parallel} jobs at a time" if parallel > 1 else ""
    yield (
        f"total  {sum(map(len, jobs)):5} units in {len(jobs):4} jobs {'':12}  about {total:8.1f} h, on {cluster}"
        f"{at_a_time}"
    )
    yield (
        "Hours are those of an AMD EPYC (Zen 3) where every episode runs; the race leaves some out. Trainings take "
        "what the plan says. Waiting in the queue is not counted"
    )


def submit(sweep: Sweep, arrays: Sequence[Array], profile: Profile, cluster: Cluster) -> Iterator[str]:
    """Submit everything, each stage after the earlier ones; without SLURM also wait for it. Yields what happened.

    Raises SweepError with SLURM's own words where it refuses.
    """
    for array in arrays:
        for unit in (unit for units in array.jobs for unit in units):
            sweep.forget_failure(unit.name)
    plan = sweep.keep_plan()
    waiting = _under_way(sweep)
    for array in arrays:
        moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        folder = sweep.folder / "jobs" / f"{moment}-{array.stage}-{uuid.uuid4().hex[:6]}"
        names = [tuple(unit.name for unit in units) for units in array.jobs]
        calm_s = profile.calm_s(array.resources)
        work = [Work(plan, sweep.folder, part, array.resources.cpus, sweep.codes, calm_s) for part in names]
        executor = _executor(folder, cluster, profile, array.resources)
        executor.update_parameters(name=f"{sweep.folder.name}-{array.stage}")
        if cluster == "slurm":
            before = STAGES[: STAGES.index(array.stage)]
            after = sorted({number for stage, number in waiting if stage in before})
            if after:
                # Not afterok: one failed unit does not hold up what has nothing to do with it.
                executor.update_parameters(slurm_dependency=f"afterany:{':'.join(after)}")
            try:
                with executor.batch():
                    jobs = [executor.submit(part) for part in work]
            except FailedJobError as error:
                refusal = " ".join(str(error).split())
                remedy = "if that is more than the cluster has, say in a --profile what jobs ask for"
                raise SweepError(f"{array.stage}: SLURM refuses: {refusal}; {remedy}") from error
            sweep.record_jobs([_job("slurm", job, part) for job, part in zip(jobs, names, strict=True)])
            number = jobs[0].job_id.split("_")[0]
            waiting.add((array.stage, number))
            yield f"{array.stage}: {len(jobs)} jobs submitted as {number}" + (
                f", after {', '.join(after)}" * bool(after)
            )
        else:
            yield f"{array.stage}: {len(work)} jobs, logs in {folder}"
            if cluster == "debug":
                for part in work:
                    executor.submit(part).result()
            else:
                _run_here(sweep, executor, list(zip(work, names, strict=True)), profile.parallel)


def _under_way(sweep: Sweep) -> set[tuple[Stage, str]]:
    """Stage and number of the sweep's arrays that SLURM still has."""
    jobs = sweep.jobs(sweep.done())
    living = alive(jobs)
    return {
        (stage_of(job.units[0]), job.id.split("_")[0]) for job in jobs if job.cluster == "slurm" and job.id in living
    }


def _executor(folder: Path, cluster: Cluster, profile: Profile, resources: Resources) -> AutoExecutor:
    executor = AutoExecutor(folder, cluster, slurm_max_num_timeout=profile.requeues)
    asks = _parameters(resources)
    executor.update_parameters(
        **asks,
        stderr_to_stdout=True,
        slurm_account=profile.account,
        slurm_array_parallelism=profile.parallel,
        slurm_signal_delay_s=profile.signal_s,
        slurm_setup=list(profile.setup),
        local_setup=list(profile.setup),
    )
    if cluster == "slurm" and resources.cpus is None:
        raise SweepError("the profile names no `cpus`, which SLURM needs; copy the profile `cpu` that ships")
    if cluster == "slurm":  # srun does not take the number from sbatch (since SLURM 22.05)
        executor.update_parameters(slurm_srun_args=[f"--cpus-per-task={resources.cpus}"])
    return executor


def _parameters(resources: Resources) -> dict[str, Any]:
    """What submitit calls the resources."""
    return {
        "timeout_min": resources.minutes,
        "cpus_per_task": resources.cpus,
        "mem_gb": resources.memory_gb,
        "gpus_per_node": resources.gpus or None,
        "slurm_gres": resources.gres,
        "slurm_partition": resources.partition,
        "slurm_qos": resources.qos,
    }


def _run_here(
    sweep: Sweep, executor: AutoExecutor, waiting: "list[tuple[Work, tuple[str, ...]]]", parallel: int
) -> None:
    """Submitit starts whatever it is given: at most `parallel` at a time are."""
    running: list[submitit.Job[None]] = []
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                work, names = waiting.pop(0)
                running.append(executor.submit(work))
                sweep.record_jobs([_job("local", running[-1], names)])
            time.sleep(_POLL_S)
            running = [job for job in running if not job.done()]
    finally:
        for job in running:
            job.cancel()


def _job(cluster: str, job: "submitit.Job[None]", names: tuple[str, ...]) -> Job:
    return Job(cluster, job.job_id, socket.gethostname(), names, str(job.paths.stdout))


def _hours(unit: SweepUnit, resources: Resources) -> float:
    return unit.hours + unit.core_hours / (resources.cpus or count_processors())
