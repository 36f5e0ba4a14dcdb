import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nnbench.tasks.registry import TASKS, load_task
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.task import Filter, TaskError
from nnbench.tasks.zoo.build import code_of_file
from nnbench.tasks.zoo.manifest import SHIPPED, ZooError, verify

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


def test_an_edited_module_beside_it_is_run_again(file: Path) -> None:
    for horizon in (45, 46):
        (file.parent / "horizon_of_mine.py").write_text(f"HORIZON = {horizon}\n")
        file.write_text("from horizon_of_mine import HORIZON\n" + FILE.replace("reported", "horizon=HORIZON, reported"))
        assert load_task(str(file)).horizon == horizon


def test_its_code_is_the_file_and_what_it_imports(file: Path) -> None:
    (file.parent / "numbers_of_mine.py").write_text("HORIZON = 50\n")
    file.write_text("from numbers_of_mine import HORIZON\n" + FILE)
    first = load_task(str(file)).code_sha256
    assert first is not None and first == load_task(str(file)).code_sha256
    (file.parent / "numbers_of_mine.py").write_text("HORIZON = 49\n")
    second = load_task(str(file)).code_sha256
    file.write_text(file.read_text() + "# edited\n")
    assert len({first, second, load_task(str(file)).code_sha256}) == 3
    assert all(task.code_sha256 is None for task in TASKS.values())


def test_a_zoo_of_other_code_of_the_task_is_refused(file: Path, tmp_path: Path) -> None:
    file.write_text(FILE.replace("standardised_by=None, ", ""))
    task, zoo = load_task(str(file)), tmp_path / "zoo"
    shutil.copytree(SHIPPED / "PushCube-v1", zoo)
    stated = json.loads((zoo / "manifest.json").read_text()) | {"task": "Mine-v1"}
    (zoo / "manifest.json").write_text(json.dumps(stated | code_of_file(task)))
    verify(zoo, task)
    file.write_text(file.read_text() + "# edited\n")
    with pytest.raises(ZooError, match=f"built by other code of Mine-v1 than {file.resolve()} is now; restore"):
        verify(zoo, load_task(str(file)))
    (zoo / "manifest.json").write_text(json.dumps(stated))  # it does not say by which
    with pytest.raises(ZooError, match="built by other code of Mine-v1"):
        verify(zoo, load_task(str(file)))


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
