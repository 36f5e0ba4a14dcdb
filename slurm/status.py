"""What is printed about a sweep: how far its stages are, what failed, and which jobs ended with units left over."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nnbench.slurm.cluster import alive
from nnbench.slurm.plan import STAGES
from nnbench.slurm.records import Job, UnderWay
from nnbench.slurm.sweep import State, Sweep, states

_COLUMNS: tuple[State, ...] = ("done", "running", "queued", "failed", "missing")


def describe_status(sweep: Sweep) -> Iterator[str]:
    """Lines. A job that ended with units missing was killed, or ran out of time: its log may say."""
    failures, done = sweep.failures(), sweep.done()
    jobs = sweep.jobs(done)
    living = alive(jobs)
    found = states(sweep.units, done, failures, jobs, living)
    counts = Counter((unit.stage, found[unit.name]) for unit in sweep.units)
    yield "stage  " + "".join(f"{name:>9}" for name in _COLUMNS)
    for stage in STAGES:
        if any((stage, name) in counts for name in _COLUMNS):
            yield f"{stage:7}" + "".join(f"{counts[stage, name]:9}" for name in _COLUMNS)
    for name, state in found.items():
        if state == "failed":
            yield f"failed   {name}: {failures[name].error}"
            yield f"         log {failures[name].log}"
    for job, left in _ended_early(jobs, living, found).items():
        yield f"ended    job {job.id} with {left} of {len(job.units)} units missing: {_last_line(Path(job.log))}"
        yield f"         log {job.log}"


def states_of(sweep: Sweep) -> dict[str, State]:
    """The state of every unit, by its name."""
    done = sweep.done()
    jobs = sweep.jobs(done)
    return states(sweep.units, done, sweep.failures(), jobs, alive(jobs))


def _ended_early(jobs: Sequence[Job], living: Mapping[str, UnderWay], found: Mapping[str, State]) -> dict[Job, int]:
    """Jobs that are gone, and how many of their units are missing; a unit counts for the last job that had it."""
    last = {name: job for job in jobs for name in job.units}
    return Counter(job for name, job in last.items() if job.id not in living and found.get(name) == "missing")


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "it left no log"
    return lines[-1] if lines else "its log is empty"
