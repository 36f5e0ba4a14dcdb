"""What a sweep remembers in small JSON files: jobs that were submitted, and units that failed.

Each file carries the checksum of its content. Files of earlier versions, which carry none, can be read too.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nnbench.errors import NnbenchError
from nnbench.tasks.files import write_json

UnderWay = Literal["running", "queued"]


class SweepError(NnbenchError, RuntimeError):
    """A sweep that cannot be submitted. Says what is missing and the remedy."""


class DamagedRecord(NnbenchError, ValueError):
    """A file that is not what was written. Names it and says what is wrong."""


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
    _write(path, asdict(failure))


def read_failure(path: Path, unit: str) -> Failure:
    """The failure of this unit. A damaged file is one too: only its reason is lost."""
    try:
        found = _strings(_read(path), ("unit", "error", "log"), path)
        if found["unit"] != unit:
            raise DamagedRecord(f"{path}: of the unit {found['unit']!r}")
    except DamagedRecord as error:
        return Failure(
            unit, f"why is not known, the record is damaged ({error}); --retry-failed runs it again", str(path)
        )
    return Failure(**found)


def write_jobs(path: Path, jobs: "list[Job]") -> None:
    """Raises WriteError."""
    _write(path, [asdict(job) for job in jobs])


def read_jobs(path: Path) -> list[Job]:
    """The jobs of one array. Raises SweepError: without them nobody knows what is under way."""
    try:
        rows = _read(path)
        if not isinstance(rows, list):
            raise DamagedRecord(f"{path}: no list of jobs")
        return [_job(row, path) for row in rows]
    except DamagedRecord as error:
        raise SweepError(
            f"{error}; it names jobs that were submitted. Wait until they have ended (its name holds their number), "
            "then delete it"
        ) from error


def write_tables(path: Path, tables: Mapping[str, Any]) -> None:
    """Raises WriteError."""
    _write(path, tables)


def tables_are(path: Path, tables: Mapping[str, Any]) -> bool:
    """Whether this is what was written; not where the file is damaged, for tables are soon printed anew."""
    try:
        return path.exists() and bool(_read(path) == tables)
    except DamagedRecord:
        return False


def _write(path: Path, content: Any) -> None:
    write_json(path, {"sha256": _digest(content), "content": content})


def _read(path: Path) -> Any:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DamagedRecord(f"{path}: cannot be read: {reason}") from error
    if not (isinstance(found, dict) and "content" in found):
        return found  # of an earlier version
    if found.keys() != {"sha256", "content"} or found["sha256"] != _digest(found["content"]):
        raise DamagedRecord(f"{path}: its content is not what was written")
    return found["content"]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _job(row: Any, path: Path) -> Job:
    units = row.get("units") if isinstance(row, dict) else None
    if not isinstance(units, list) or not all(isinstance(unit, str) for unit in units):
        raise DamagedRecord(f"{path}: a job without units")
    others = {key: value for key, value in row.items() if key != "units"}
    found = _strings(others, ("cluster", "id", "host", "log"), path)
    if found["cluster"] == "local" and not found["id"].isdecimal():
        raise DamagedRecord(f"{path}: id {found['id']!r}, expected the number of a process")
    return Job(**found, units=tuple(units))


def _strings(found: Any, keys: tuple[str, ...], path: Path) -> dict[str, str]:
    if not isinstance(found, dict) or found.keys() != {*keys} or not all(isinstance(v, str) for v in found.values()):
        raise DamagedRecord(f"{path}: expected the texts {', '.join(keys)}")
    return found
