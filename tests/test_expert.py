import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnbench.tasks.policies.mlp import GaussianActor
from nnbench.tasks.simulation.episodes import Episodes
from nnbench.tasks.simulation.workers import Rollout, Simulator
from nnbench.tasks.zoo.expert import (
    SCORING_SEEDS,
    VALIDATION_SEEDS,
    ActorCritic,
    ExpertConfig,
    _generalised_advantages,
    _imitate,
    _log_prob,
    _update,
    load_expert,
    train_expert,
)
from nnbench.tasks.zoo.zoo import SHIPPED


def test_advantages_are_the_discounted_sum_of_td_errors() -> None:
    rng = torch.Generator().manual_seed(0)
    rewards, values = torch.rand(2, 5, generator=rng), torch.rand(2, 6, generator=rng)
    config = ExpertConfig(gamma=0.8, gae_lambda=0.9)
    found = _generalised_advantages(rewards, values, config)
    errors = rewards + 0.8 * values[:, 1:] - values[:, :-1]
    for t in range(5):
        expected = sum((0.8 * 0.9) ** k * errors[:, t + k] for k in range(5 - t))
        torch.testing.assert_close(found[:, t], expected)


@pytest.mark.parametrize("mean", [-2.5, -0.9, 0.0, 1.4])
def test_actions_beyond_a_limit_are_one_action(mean: float) -> None:
    acting = torch.distributions.Normal(torch.tensor([[mean]], dtype=torch.float64), 0.3)

    def log_prob(*actions: float) -> torch.Tensor:
        return torch.cat([_log_prob(acting, torch.tensor([[action]], dtype=torch.float64)) for action in actions])

    assert log_prob(1.0) == log_prob(1.7) and log_prob(-1.0) == log_prob(-4.0)
    torch.testing.assert_close(log_prob(0.3), acting.log_prob(torch.tensor(0.3, dtype=torch.float64))[0])
    grid = torch.linspace(-0.9999, 0.9999, 4001, dtype=torch.float64)
    within = torch.trapezoid(log_prob(*grid.tolist()).exp(), grid)
    assert float(within + log_prob(-1.0, 1.0).exp().sum()) == pytest.approx(1, abs=1e-3)


def test_mean_actions_come_back_to_where_noise_matters() -> None:
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(8, 6, 3, generator=generator)
    nothing = np.zeros(8, np.float32)

    def excess(bounds: float) -> float:
        torch.manual_seed(0)
        agent = ActorCritic(3, 2, (16,))
        agent.actor[-1].bias.data.copy_(torch.tensor([3.0, -2.0]))
        optimizer = torch.optim.Adam(agent.parameters(), 1e-2)
        config = ExpertConfig(bounds=bounds, minibatches=2)
        for _ in range(60):
            actions = agent.act(observations[:, :-1]).sample().numpy()
            rewards = np.zeros((8, 5), np.float32)
            episodes = Episodes(np.arange(8), nothing, nothing > 0, nothing > 0, observations.numpy(), actions, rewards)
            _update(agent, optimizer, episodes, config, generator, only_critic=False)
        return float((agent.act(observations).mean.detach().abs() - 1.1).clamp(min=0).mean())

    assert excess(1.0) < 0.1 < 1 < excess(0.0)


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


def test_what_learns_on_standardised_observations_reads_them_as_they_are() -> None:
    expert = load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors")
    agent = ActorCritic(42, 8, (256, 256, 256))
    states = torch.randn(50, 42, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.01, 2, 42) + 0.3
    agent.standardise(states)
    agent.read(expert)
    wanted = torch.from_numpy(GaussianActor.from_state_dict(expert)(states.numpy()))
    torch.testing.assert_close(agent.act(states).mean, wanted, atol=1e-4, rtol=1e-4)
    outside = GaussianActor.from_state_dict(agent.written(agent.actor))
    torch.testing.assert_close(torch.from_numpy(outside(states.numpy())), wanted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(agent.actor[0].weight, expert["0.weight"])


def test_a_teacher_is_imitated(simulator: Simulator) -> None:
    teacher = GaussianActor.from_state_dict(load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors"))
    config = ExpertConfig(episodes=20, lessons=2, lesson_updates=200, lesson_learning_rate=1e-3)
    student = ActorCritic(42, 8, (32, 32)).actor
    states = torch.from_numpy(simulator.episodes([Rollout(teacher, np.arange(900, 910), True)])[0].observations)
    wanted = torch.from_numpy(teacher(states.flatten(0, 1).numpy()).clip(-1.5, 1.5))

    def error() -> float:
        return float((student(states.flatten(0, 1)) - wanted).square().mean().detach() / wanted.square().mean())

    before = error()
    _imitate(simulator, student, teacher, config, torch.Generator().manual_seed(0))
    assert error() < 0.3 < 0.8 < before


def test_episodes_of_different_purposes_are_disjoint() -> None:
    assert not set(VALIDATION_SEEDS) & set(SCORING_SEEDS)
    assert ExpertConfig().initial_states <= VALIDATION_SEEDS.start and SCORING_SEEDS.stop <= 1_000_000


def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no expert; `nnbench expert train` writes one"):
        load_expert(tmp_path / "expert.safetensors")
