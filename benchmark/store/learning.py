"""What was logged while methods were trained: beside the trained methods, and with the rows that ship.

A log is a CSV file with a line per checkpoint of the training, as `nnbench.methods._optimisation` writes it. Where a
training has several stages, each has a log, and a number before its name says which comes first.
"""

import csv
import io
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnbench.folders import REFERENCE
from nnbench.store.checkpoints import TRAINED, seed_folders
from nnbench.tasks.files import write_bytes
from nnbench.tasks.integrity import DamagedError, read_stored

SHIPPED = REFERENCE / "learning"
"""The logs that ship: METHOD/TASK/seed-SEED, as `nnbench train` writes it, with nothing but the logs."""

_HEADER = b"step,loss,lr,ms_per_step"
"""What every log begins with; where a simulator validated, more columns follow."""
_NAME = re.compile(r"(\d+)-(.+)\.csv")
_REMEDY = "restore it, or delete it: nothing else reads it"


@dataclass(frozen=True)
class Entry:
    """One line of a log."""

    step: int
    """Counts from 1."""
    loss: float
    """Mean over about the last 100 steps."""
    ms_per_step: float
    """In the mean since the entry before; validation is not counted."""
    success: float | None
    """Share of validation episodes that end in success, 0 to 1; None where nothing was validated."""


@dataclass(frozen=True)
class Log:
    """One stage of a training."""

    name: str
    """The method's, and the stage's where there are several."""
    entries: tuple[Entry, ...]
    """At least one, in the order of their steps."""


@dataclass(frozen=True)
class Training:
    """All that one training of a method logged."""

    method: str
    task: str
    seed: int
    stages: tuple[Log, ...]
    """At least one, in the order in which they were trained."""


def keep_logs(progress: Path, folder: Path) -> None:
    """Copy the logs of a training that is done from where it kept its progress. Raises WriteError.

    Their order is that in which they were last written. Other CSV files are the method's own affair and stay.
    """
    logs = [log for path in progress.glob("*.csv") if (log := _find_log(path)) is not None]
    for place, (_, name, content) in enumerate(sorted(logs), start=1):
        write_bytes(folder / f"{place}-{name}", content)


def read_trainings(task: str, zoo_sha256: str) -> list[Training]:
    """What methods logged that were trained on this zoo, by method and seed.

    The user's own logs replace those that ship of the same method and seed. Raises DamagedError where a log cannot be
    read.
    """
    own = seed_folders(TRAINED, task, zoo_sha256)
    logged = {name: folder for name, folder in own.items() if any(folder.glob("*.csv"))}
    folders = seed_folders(SHIPPED, task, zoo_sha256) | logged
    found = [Training(method, task, seed, _read_stages(folders[method, seed])) for method, seed in sorted(folders)]
    return [training for training in found if training.stages]


def _find_log(path: Path) -> tuple[int, str, bytes] | None:
    """When a log was last written, in nanoseconds, its name and its content; None for any other file."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            if file.read(len(_HEADER)) != _HEADER:
                return None
            return os.fstat(file.fileno()).st_mtime_ns, path.name, _HEADER + file.read()
    except OSError:  # another process that trained the same was first, and cleared it away
        return None


def _read_stages(folder: Path) -> tuple[Log, ...]:
    paths = {path: _NAME.fullmatch(path.name) for path in sorted(folder.glob("*.csv"))}
    stages = sorted((int(found[1]), found[2], path) for path, found in paths.items() if found)
    if [place for place, _, _ in stages] != [*range(1, len(paths) + 1)]:
        names = ", ".join(path.name for path in paths)
        raise DamagedError(
            folder, f"its logs are called {names}, expected 1-NAME.csv, 2-NAME.csv, by stage", "rename them"
        )
    return tuple(Log(name, read_stored(path, _parse, _REMEDY)) for _, name, path in stages)


def _parse(content: bytes) -> tuple[Entry, ...]:
    """Raises ValueError for what is no log."""
    if not content.startswith(_HEADER):
        raise ValueError(f"expected a log that begins with {_HEADER.decode()}")
    lines = csv.DictReader(io.StringIO(content.decode("ascii"), newline=""))
    entries = tuple(_parse_line(line, lines.line_num) for line in lines)
    steps = [0, *(entry.step for entry in entries)]
    if len(steps) == 1 or any(step <= before for before, step in zip(steps, steps[1:], strict=False)):
        raise ValueError(f"its steps are {steps[1:]}, expected some that rise")
    return entries


def _parse_line(line: Mapping[str, str | None], number: int) -> Entry:
    def read(column: str, least: float, most: float) -> float:
        text = line.get(column) or ""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or math.isinf(value):
            raise ValueError(f"line {number}: {column} is {text!r}, expected a number of {least:g} to {most:g}")
        return value

    step = read("step", 1, math.inf)
    if not step.is_integer():
        raise ValueError(f"line {number}: step is {step}, expected a whole number")
    success = read("success_at_end", 0, 1) if line.get("success_at_end") else None
    return Entry(int(step), read("loss", -math.inf, math.inf), read("ms_per_step", 0, math.inf), success)
