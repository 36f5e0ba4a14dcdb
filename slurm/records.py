"""What a sweep remembers in small JSON files: jobs that were submitted, and units that failed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nnbench.errors import NnbenchError
from nnbench.tasks.files import write_json
from nnbench.tasks.integrity import DamagedError, read_manifest, seal

UnderWay = Literal["running", "queued"]


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


def write_failure(path: Path, failure: Failure) -> None:
    """Raises WriteError."""
    write_json(path, seal(asdict(failure)))


def read_failure(path: Path, unit: str) -> Failure:
    """The failure of this unit. A damaged file is one too: only its reason is lost."""
    remedy = "--retry-failed runs it again"
    try:
        found = read_manifest(path, remedy)
        if not _are_strings(found, ("unit", "error", "log")) or found["unit"] != unit:
            raise DamagedError(path, f"not the failure of {unit}", remedy)
    except DamagedError as error:
        return Failure(unit, f"why is not known, the record is damaged ({error})", str(path))
    return Failure(**found)


def write_jobs(path: Path, jobs: Sequence[Job]) -> None:
    """Raises WriteError."""
    write_json(path, seal({"jobs": [asdict(job) for job in jobs]}))


def read_jobs(path: Path) -> list[Job]:
    """The jobs of one array. Raises SweepError: without them nobody knows what is under way."""
    remedy = "wait until the jobs that it names have ended (its name holds their number), then delete it"
    try:
        rows = read_manifest(path, remedy).get("jobs")
        if not isinstance(rows, list) or not all(map(_is_job, rows)):
            raise DamagedError(path, "no list of jobs", remedy)
    except DamagedError as error:
        raise SweepError(str(error)) from error
    return [Job(**row | {"units": tuple(row["units"])}) for row in rows]


def write_tables(path: Path, tables: Mapping[str, Any]) -> None:
    """Raises WriteError."""
    write_json(path, seal(tables))


def tables_are(path: Path, tables: Mapping[str, Any]) -> bool:
    """Whether this is what was written; not where the file is damaged, for tables are soon printed anew."""
    try:
        return path.exists() and read_manifest(path, "print the tables anew") == tables
    except DamagedError:
        return False


def _is_job(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("units"), list):
        return False
    others = {key: value for key, value in row.items() if key != "units"}
    if not all(isinstance(unit, str) for unit in row["units"]):
        return False
    # A job of this machine is known by the number of its process.
    return _are_strings(others, ("cluster", "id", "host", "log")) and (
        others["cluster"] != "local" or others["id"].isdecimal()
    )


def _are_strings(found: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    return found.keys() == {*keys} and all(isinstance(value, str) for value in found.values())
