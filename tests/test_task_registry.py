import subprocess
import sys
from pathlib import Path

import pytest

from nnbench.tasks.registry import TASKS, load_task
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.task import Filter, TaskError

FILE = """
from dataclasses import replace

from nnbench.tasks.registry import TASKS

TASK = replace(TASKS["PushCube-v1"], name="Mine-v1", standardised_by=None, reported={}, paper_dagger=None)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("name", TASKS)
def test_a_task_that_ships_is_loaded_by_name(name: str) -> None:
    task = load_task(name)
    assert task is TASKS[name] and task.source == task.name == name


def test_a_task_of_a_file_is_loaded_by_what_it_says_is_its_source(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    task = load_task("mine.py")
    assert task.name == "Mine-v1" and task.source == str(file.resolve())
    monkeypatch.chdir("/")
    assert load_task(task.source).evaluate is task.evaluate


def test_a_changed_file_is_run_again(file: Path) -> None:
    assert load_task(str(file)).horizon == 50
    file.write_text(FILE.replace('name="Mine-v1"', 'name="Mine-v1", horizon=40'))
    assert load_task(str(file)).horizon == 40


def test_a_new_task_has_a_filter_and_says_how_to_get_a_standardiser(file: Path) -> None:
    task = load_task(str(file))
    assert task.filter == Filter() and task.reported == {} and task.paper_dagger is None
    with pytest.raises(TaskError, match=f"Mine-v1: .*expert train --task {file.resolve()}.* expert observations"):
        _ = task.standardiser


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "mine.py: cannot be read .*check the path"),
        ("import nothing_of_this_name", "mine.py: running it failed .ModuleNotFoundError.*correct the file"),
        ("TASK = 3", "mine.py: defines no task; expected `TASK"),
        ("from nnbench.tasks.pick_cube import PICK_CUBE as TASK", "PickCube-v1 is the name of a task that ships"),
    ],
)
def test_a_file_that_is_no_task_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    for _ in range(2):  # a failed file is not remembered as loaded
        with pytest.raises(TaskError, match=message):
            load_task(str(path))


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(TaskError, match="unknown task 'Pick': expected one of PickCube-v1, .* or the path of a Python"):
        load_task("Pick")


@pytest.mark.parametrize("module", ["task", "registry", "files", "policies.architectures"])
def test_what_tables_need_of_tasks_imports_no_torch(module: str) -> None:
    code = f"import sys, nnbench.tasks.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_workers_load_a_task_from_its_file(file: Path) -> None:
    file.write_text(FILE.replace('name="Mine-v1"', 'name="PullCube-v1", bodies=("obj", "goal_region")'))
    with Simulator(load_task(str(file)), 1) as simulator:
        assert simulator.initial_states([0]).shape == (1, 23)
