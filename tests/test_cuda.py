"""The GPU backend's batching, on the CPU: ManiSkill's loop with one environment, and joined units on the CPU engine."""

import numpy as np
import pytest
import torch

from nnbench.tasks.policies.mlp import Actor, GaussianActor, PolicyActor, random_policy
from nnbench.tasks.simulation.cuda import CudaEngine, CudaSimulator
from nnbench.tasks.simulation.engine import Engine
from nnbench.tasks.simulation.workers import TASKS, Rollout, Simulator
from nnbench.tasks.zoo.expert import load_expert
from nnbench.tasks.zoo.zoo import SHIPPED, Zoo

TASK = TASKS["PickCube-v1"]


@pytest.mark.parametrize("name", TASKS)
def test_maniskills_loop_gives_the_engines_episodes(name: str) -> None:
    task = TASKS[name]
    engine, theirs = Engine(task, 1), CudaEngine(task, 1, "physx_cpu")
    seeds = np.array([3])
    if task.observation_dim == 42:  # grasps, so that a second rollout would see it if contacts were not forgotten
        policy: Actor = GaussianActor.from_state_dict(load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors"))
    else:
        network = random_policy((16, 16, 16, 32), task.observation_dim, 8, torch.Generator().manual_seed(0))
        policy = PolicyActor.stack([network], np.zeros(1, int), None)
    states = engine.capture_initial_states(seeds)
    ours = engine.rollout(states, policy, seeds, record=True)
    other = theirs.rollout(states, policy, seeds, record=True)
    assert other.observations is not None and other.observations.shape == (1, 51, task.observation_dim)
    for mine, its in zip(ours, other, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-3)
    again = theirs.rollout(states, policy, seeds, record=True)  # now in a scene that has seen contacts
    assert again.observations is not None
    np.testing.assert_array_equal(again.observations[:, 0], other.observations[:, 0])


def test_joined_units_give_the_episodes_of_separate_ones(simulator: Simulator, zoo: Zoo) -> None:
    policies = [zoo.hypernetwork_policies(arch)[0] for arch in [(16, 32, 16, 64), (64, 64, 64, 64)]]
    cuts = np.split(np.arange(40), [7, 9, 20, 30])  # four fit together, the last does not
    units = [
        Rollout(PolicyActor.stack(policies, cut % 2, TASK.standardiser), cut, record=position == 2)
        for position, cut in enumerate(cuts)
    ]
    joined = CudaSimulator(Engine(TASK, 30), simulator)
    for ours, theirs in zip(joined.episodes(units), simulator.episodes(units), strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine is None) == (other is None)
            if mine is not None:
                np.testing.assert_array_equal(mine, other)


def test_a_unit_larger_than_the_engine_is_refused(simulator: Simulator) -> None:
    policy = random_policy((16, 16, 16, 32), 42, 8, torch.Generator().manual_seed(0))
    unit = Rollout(PolicyActor.stack([policy], np.zeros(3, int), None), np.arange(3))
    with pytest.raises(ValueError, match="a rollout of 3 episodes: expected 1 to 2"):
        CudaSimulator(Engine(TASK, 2), simulator).episodes([unit])
