"""The tasks that ship, and loading of any task by name or file."""

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

from nnbench.errors import InputError, describe_error
from nnbench.sources import hash_file, run_file
from nnbench.tasks.pick_cube import PICK_CUBE
from nnbench.tasks.push_cube import PUSH_CUBE
from nnbench.tasks.stack_cube_easy import STACK_CUBE_EASY
from nnbench.tasks.task import Task, TaskError

TASKS = {task.name: task for task in (PICK_CUBE, PUSH_CUBE, STACK_CUBE_EASY)}
"""The tasks that ship, by environment id."""


def load_task(source: str) -> Task:
    """The task of an environment id that ships, or the `TASK` that a Python file defines.

    A process runs the file once, and again after a change. Raises TaskError for a name that does not ship, and for a
    file that is missing, fails, or defines no task of its own, and InputError for one that is no text.
    """
    if source in TASKS:
        return TASKS[source]
    if not source.endswith(".py"):
        raise TaskError(
            f"unknown task {source!r}: expected one of {', '.join(TASKS)}, or the path of a Python file (.py) that "
            "defines TASK"
        )
    return _load_file(Path(os.path.realpath(source)))  # unlike `resolve`, it bears a link to itself


def expand_tasks(source: str) -> list[str]:
    """The environment ids of all tasks that ship for `all`, else the one that is named."""
    return list(TASKS) if source == "all" else [source]


def _load_file(path: Path) -> Task:
    try:
        path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror or error}); check the path of the task") from error
    code_sha256 = hash_file(path)
    # The name is the same in every process, so that what the file defines can be pickled.
    name = f"nnbench_task_{hashlib.sha256(bytes(path) + code_sha256.encode()).hexdigest()[:16]}"
    if name not in sys.modules:
        try:
            run_file(path, name)
        except InputError:
            raise
        except BaseException as error:  # also sys.exit, which would end nnbench as if all were done
            if isinstance(error, KeyboardInterrupt):
                raise
            raise TaskError(f"{path}: running it failed ({describe_error(error)}); correct the file") from error
    task = getattr(sys.modules[name], "TASK", None)
    if not isinstance(task, Task):
        raise TaskError(f"{path}: defines no task; expected `TASK = Task(...)` in it")
    if task.name in TASKS:
        raise TaskError(f"{path}: {task.name} is the name of a task that ships; give the task another name")
    return replace(task, file=path, code_sha256=code_sha256)
