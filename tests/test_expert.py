import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnbench.tasks.policies.mlp import GaussianActor
from nnbench.tasks.simulation.workers import Rollout, Simulator
from nnbench.tasks.zoo.expert import SCORING_SEEDS, VALIDATION_SEEDS, load_expert, train_expert
from nnbench.tasks.zoo.manifest import SHIPPED
from nnbench.tasks.zoo.ppo import ExpertConfig


def test_training_writes_an_expert_and_a_finished_run_is_not_run_again(simulator: Simulator, tmp_path: Path) -> None:
    config = ExpertConfig(steps=2_000, episodes=20, validation_episodes=20, hidden=(8, 8), minibatches=2)
    path = train_expert(simulator, tmp_path, config)
    log = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [int(row["iteration"]) for row in log] == [1, 2]
    assert log[1]["validation_return"] != "" and 0 < float(log[1]["return"]) < 50
    state = load_expert(path)
    assert GaussianActor.from_state_dict(state)(np.zeros((2, 42), np.float32)).shape == (2, 8)

    assert train_expert(simulator, tmp_path, config) == path
    assert len(list(csv.DictReader((tmp_path / "log.csv").open()))) == 2
    assert all(torch.equal(load_expert(path)[key], value) for key, value in state.items())


def test_what_failed_is_tried_again(simulator: Simulator, tmp_path: Path) -> None:
    asked: list[np.ndarray] = []

    class Listening:
        task = simulator.task

        def episodes(self, units: list[Rollout]) -> Any:
            asked.append(np.concatenate([unit.seeds for unit in units]))
            return simulator.episodes(units)

    config = ExpertConfig(steps=2_000, episodes=20, validation_episodes=20, hidden=(8, 8), minibatches=2, retried=0.3)
    train_expert(Listening(), tmp_path, config)  # type: ignore[arg-type]
    _, first, second, _ = asked  # the first is for the statistics, the last is validation
    again = set(second) & set(first)
    assert len(second) == 20 and 6 <= len(again) < 9  # a fresh policy fails everywhere; chance may add one


def test_a_stopped_training_goes_on_as_if_it_had_not(simulator: Simulator, tmp_path: Path) -> None:
    class Stopping:
        task = simulator.task

        def __init__(self, after: int) -> None:
            self.left = after

        def episodes(self, units: list[Rollout]) -> Any:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return simulator.episodes(units)

    config = ExpertConfig(steps=22 * 250, episodes=5, validation_episodes=5, hidden=(8, 8), minibatches=2)
    whole = load_expert(train_expert(simulator, tmp_path / "whole", config))
    with pytest.raises(KeyboardInterrupt):
        train_expert(Stopping(22), tmp_path / "parts", config)  # type: ignore[arg-type]
    parts = load_expert(train_expert(simulator, tmp_path / "parts", config))
    assert all(torch.equal(parts[key], value) for key, value in whole.items())
    logs = [(tmp_path / name / "log.csv").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1] and logs[0].count("\n") == 23


def test_a_run_of_other_numbers_is_not_gone_on_with(simulator: Simulator, tmp_path: Path) -> None:
    config = ExpertConfig(steps=1_000, episodes=20, validation_episodes=20, hidden=(8, 8), minibatches=2)
    train_expert(simulator, tmp_path, config)
    with pytest.raises(ValueError, match="state.safetensors: a training with another configuration or start; delete"):
        train_expert(simulator, tmp_path, replace(config, gamma=0.9))


def test_training_can_begin_with_another_tasks_expert(simulator: Simulator, tmp_path: Path) -> None:
    expert = load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors")
    for critic_iterations, same in ((1, True), (0, False)):
        config = ExpertConfig(steps=1_000, episodes=20, validation_episodes=20, critic_iterations=critic_iterations)
        directory = tmp_path / f"critic {critic_iterations}"
        path = train_expert(simulator, directory, config, expert)
        (row,) = csv.DictReader((directory / "log.csv").open())
        assert float(row["return"]) > 25  # a fresh policy makes 2 or 3
        found = load_expert(path)
        assert same == all(torch.allclose(value, expert[key], atol=1e-5) for key, value in found.items())

    with pytest.raises(ValueError, match="PickCube-v1: the actor to start from does not fit .*size mismatch"):
        train_expert(simulator, tmp_path / "misfit", ExpertConfig(steps=1_000, episodes=20, hidden=(8, 8)), expert)


def test_episodes_of_different_purposes_are_disjoint() -> None:
    assert not set(VALIDATION_SEEDS) & set(SCORING_SEEDS)
    assert ExpertConfig().initial_states <= VALIDATION_SEEDS.start and SCORING_SEEDS.stop <= 1_000_000


def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no expert; `nnbench expert train` writes one"):
        load_expert(tmp_path / "expert.safetensors")
