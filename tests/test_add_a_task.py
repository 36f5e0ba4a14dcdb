"""docs/add-a-task.md, from its file to a run on its zoo. What takes hours there is done at the smallest scale here."""

import re
from pathlib import Path

import numpy as np
import pytest

import nnbench
from nnbench.tasks.policies.mlp import GaussianActor
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.agreement import compare_with_maniskill
from nnbench.tasks.simulation.speed import wild_actor
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.task import Actor, Filter
from nnbench.tasks.zoo.build import build_zoo
from nnbench.tasks.zoo.expert import describe_standardiser, load_expert, measure_observations, train_expert
from nnbench.tasks.zoo.manifest import SHIPPED, ZooError
from nnbench.tasks.zoo.ppo import ExpertConfig
from nnbench.tasks.zoo.presets import DistillationConfig

PAGE = (Path(__file__).parents[1] / "docs" / "add-a-task.md").read_text()
FILE = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "TASK = Task(" in block)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pull_cube.py"
    path.write_text(FILE)
    return path


def _carries_the_cube() -> Actor:
    """PickCube's expert, shown PullCube's observations as PickCube's: it carries the cube to the goal."""
    expert = GaussianActor.from_state_dict(load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors"))

    def act(observations: np.ndarray) -> np.ndarray:
        robot, tcp, goal, cube = np.split(observations, [18, 25, 28], axis=1)
        tcp_to_cube, cube_to_goal = cube[:, :3] - tcp[:, :3], goal - cube[:, :3]
        near = (np.linalg.norm(tcp_to_cube, axis=1, keepdims=True) < 0.03).astype(np.float32)
        return expert(np.concatenate([robot, near, tcp, goal, cube, tcp_to_cube, cube_to_goal], axis=1))

    return act


@pytest.mark.slow
def test_the_pages_task_is_maniskills(file: Path) -> None:
    task = load_task(str(file))
    for actor, seeds in ((wild_actor(task, seed=0), range(3)), (_carries_the_cube(), range(700, 705))):
        found = compare_with_maniskill(task, actor, seeds)
        assert found.steps == len(seeds) * task.horizon
        assert found.observation < 1e-4 and found.reward < 1e-4 and found.success == 0
    assert found.successes > 50  # success and its reward were tested


def test_a_wrong_formula_is_found(file: Path) -> None:
    file.write_text(FILE.replace("2 * 0.005", "0.005").replace("goal_distance < 0.1", "goal_distance < 0.09"))
    found = compare_with_maniskill(load_task(str(file)), _carries_the_cube(), range(700, 702))
    assert found.observation < 1e-4 < found.reward and found.success > 0


@pytest.mark.slow
def test_from_expert_to_a_run(file: Path, tiny_numbers: tuple[DistillationConfig, Filter], tmp_path: Path) -> None:
    assert load_task(str(file)).standardised_by is None
    with Simulator(load_task(str(file)), 2) as simulator:
        small = ExpertConfig(steps=1_000, episodes=20, validation_episodes=20, hidden=(8, 8), minibatches=2)
        expert = train_expert(simulator, tmp_path / "expert", small)
        standardiser = measure_observations(simulator, load_expert(expert))
    line = next(line for line in FILE.splitlines() if line.startswith("STANDARDISER"))
    file.write_text(FILE.replace(line, describe_standardiser(standardiser, expert)))
    task = load_task(str(file))
    assert task.standardiser.sha256 == standardiser.sha256

    folder = tmp_path / "zoo" / task.name
    with Simulator(task, 2) as simulator:
        build_zoo(simulator, expert, tmp_path / "work", folder, [0, 1], *tiny_numbers)
    outcomes = list(
        nnbench.run(
            "nearest",
            task=str(file),
            archs="32-32-16-64",
            zoo=tmp_path / "zoo",
            results=tmp_path / "results",
            protocol=nnbench.Protocol(samples=2, top=1, selection_episodes=2, screening_episodes=1, test_episodes=2),
            workers=1,
        )
    )
    assert [outcome.error for outcome in outcomes] == [None]
    text = file.read_text()
    file.write_text(text + "# edited\n")
    with pytest.raises(ZooError, match="built by other code of PullCube-v1"):
        nnbench.run("nearest", task=str(file), zoo=tmp_path / "zoo", results=tmp_path / "results")
    with Simulator(load_task(str(file)), 2) as simulator, pytest.raises(ZooError, match="other numbers or code"):
        build_zoo(simulator, expert, tmp_path / "work", folder, [0, 1], *tiny_numbers)
    file.write_text(text)
    rows = nnbench.load_results(tmp_path / "results")
    assert set(rows["task"]) == {"PullCube-v1"} and set(rows["arch"]) == {"32-32-16-64"}
    tables = nnbench.tables(["2"], task=str(file), results=tmp_path / "results", zoo=tmp_path / "zoo")
    assert "nearest" in str(tables)
