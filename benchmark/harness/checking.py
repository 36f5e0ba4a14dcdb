"""Examines a method by the checks of `conformance`, in a process of its own."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from nnbench.errors import describe_error
from nnbench.harness.conformance import CHECKS, CheckFailed, Subject, distance_to_training
from nnbench.harness.isolation import PATIENCE_S
from nnbench.harness.process import MethodError, MethodProcess
from nnbench.registry import MethodSource


@dataclass(frozen=True)
class CheckResult:
    """What one check found."""

    name: str
    """In words."""
    passed: bool
    message: str
    """What to change, where the check failed; else empty, or a remark."""

    def __str__(self) -> str:
        verdict = "ok" if self.passed else "FAILED"
        return f"{verdict:7} {self.name}" + (f": {self.message}" if self.message else "")


def run_checks(source: MethodSource) -> Iterator[CheckResult]:
    """Examine a method in a process of its own; yields the result of each check when it is there.

    If all pass, a last result remarks how far its samples lie from the training networks. Where the method ends the
    process, the check that it was in has failed, and the next one starts with another process.
    """
    failed, doing = False, "importing it, or what the check asked of it,"
    with TemporaryDirectory() as directory, MethodProcess() as process:
        for check in CHECKS:
            try:
                process.call(doing, _run_check, source, Path(directory), check.__name__, patience_s=PATIENCE_S)
                message = ""
            except MethodError as error:
                message = str(error)
            failed = failed or bool(message)
            yield CheckResult(check.__name__.replace("_", " "), not message, message)
        if not failed:
            ratio = float(process.call(doing, _run_distance, source, Path(directory)))
            remark = f"its samples lie {ratio:.2f} times as far from a training network as those from one another"
            yield CheckResult("distance to training", True, remark)


def _run_check(source: MethodSource, directory: Path, name: str) -> bytes:
    (check,) = (check for check in CHECKS if check.__name__ == name)
    try:
        check(_subject(source, directory))
    except CheckFailed as error:
        raise MethodError(str(error)) from error
    except BaseException as error:  # from `save` or `load`, say
        raise MethodError(f"raised {describe_error(error)}") from error
    return b""


def _run_distance(source: MethodSource, directory: Path) -> bytes:
    return str(distance_to_training(_subject(source, directory))).encode()


@cache
def _subject(source: MethodSource, directory: Path) -> Subject:
    """Once per process: the method is fitted only once there."""
    own = directory / str(os.getpid())
    own.mkdir(exist_ok=True)  # it is there where a check before failed before it had a subject
    return Subject(source.load(), own, source.plugins)
