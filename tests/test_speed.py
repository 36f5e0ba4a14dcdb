"""Benchmarks of the simulation: `pytest --benchmark-enable tests/test_speed.py` measures, `pytest` only runs them."""

from typing import Any

import numpy as np
import pytest
import torch

from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import PolicyActor
from nnbench.tasks.registry import TASKS
from nnbench.tasks.simulation.engine import Engine
from nnbench.tasks.simulation.scene import make_environment
from nnbench.tasks.simulation.speed import measure_speed, wild_actor
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator
from nnbench.tasks.zoo.zoo import Zoo


@pytest.mark.parametrize("name", TASKS)
def test_env_step(name: str, benchmark: Any) -> None:
    task = TASKS[name]
    env, actor = make_environment(task), wild_actor(task, 0)
    actions = torch.from_numpy(actor(np.zeros((task.horizon, task.observation_dim), np.float32)))

    def episode() -> None:
        for action in actions:
            env.step(action)

    benchmark.pedantic(episode, setup=lambda: env.reset(seed=0) and None, rounds=5)


@pytest.mark.parametrize("name", TASKS)
def test_engine(name: str, benchmark: Any) -> None:
    """25 times the steps of `test_env_step`."""
    task = TASKS[name]
    engine, seeds = Engine(task, SCENES_PER_WORKER), np.arange(SCENES_PER_WORKER)
    states = engine.capture_initial_states(range(SCENES_PER_WORKER))
    benchmark.pedantic(lambda: engine.rollout(states, wild_actor(task, 0), seeds, record=False), rounds=5)


@pytest.mark.parametrize("name", TASKS)
def test_physx_alone(name: str, benchmark: Any) -> None:
    """One control step of 25 scenes."""
    task = TASKS[name]
    engine, actor = Engine(task, SCENES_PER_WORKER), wild_actor(task, 0)
    states = engine.capture_initial_states(range(SCENES_PER_WORKER))
    observation = engine.reset(states).observation
    benchmark.pedantic(
        engine.simulate, args=(SCENES_PER_WORKER,), setup=lambda: engine.drive(actor(observation)), rounds=50
    )


def test_a_hundred_policies_on_fifty_episodes_each(benchmark: Any, simulator: Simulator, zoo: Zoo) -> None:
    """Measured: 5,000 episodes of hypernetwork policies, which hold the cube; otherwise a hundred."""
    count = 100 if benchmark.enabled else 2
    archs = load_splits().train
    policies = [zoo.hypernetwork_policies(archs[i % len(archs)])[i % 16] for i in range(count)]
    units = [
        Rollout(PolicyActor.stack([policy], np.zeros(SCENES_PER_WORKER, int), simulator.task.standardiser), seeds)
        for policy in policies
        for seeds in np.split(np.arange(600_000, 600_050), 50 // SCENES_PER_WORKER)
    ]
    episodes = benchmark.pedantic(simulator.episodes, args=(units,), rounds=1)
    assert sum(len(part.seeds) for part in episodes) == 50 * count


def test_all_four_are_measured() -> None:
    speed = measure_speed(TASKS["PushCube-v1"], rounds=1)
    assert set(speed) == {"env_step", "engine_1", "engine_2", "physx_only"}
    assert all(rate > 0 for rate in speed.values())
