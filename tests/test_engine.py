"""The batched engine against ManiSkill's own environments, for every task."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from nnbench.tasks.policies.mlp import GaussianActor
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.engine import Engine
from nnbench.tasks.task import Evaluation
from nnbench.tasks.zoo.expert import load_expert
from nnbench.tasks.zoo.manifest import SHIPPED

TASKS = ("PickCube-v1", "PushCube-v1", "StackCubeEasy-v1")
SEEDS = np.arange(700, 720)


@cache
def _engine(task: str) -> Engine:
    return Engine(load_task(task), len(SEEDS))


@cache
def _reference(task: str) -> Any:
    _engine(task)  # makes ManiSkill importable without Vulkan, and registers what is ours
    import gymnasium

    return gymnasium.make(
        task,
        obs_mode="state",
        control_mode="pd_joint_delta_pos",
        num_envs=1,
        sim_backend="physx_cpu",
        render_backend="none",
    )


def _handles_the_cube(task: str) -> Any:
    """PickCube's expert on any task: it takes hold of the cube, carries it to the goal and, when stacking, lets go."""
    expert = GaussianActor.from_state_dict(load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors"))
    steps = 0

    def act(observation: np.ndarray) -> np.ndarray:
        nonlocal steps
        steps += 1
        if task == "PushCube-v1":
            robot, tcp, goal, cube = np.split(observation, [18, 25, 28], axis=1)
            nothing = np.zeros((len(observation), 1), np.float32)
            tcp_to_cube, cube_to_goal = cube[:, :3] - tcp[:, :3], goal - cube[:, :3]
            observation = np.concatenate([robot, nothing, tcp, goal, cube, tcp_to_cube, cube_to_goal], axis=1)
        actions = expert(observation)
        if task == "StackCubeEasy-v1" and steps > 35:
            actions[:, :7], actions[:, 7] = 0, 1
        return actions

    return act


def _play(task: str, kind: str) -> tuple[np.ndarray, list[Evaluation]]:
    """Actions (K, T, A), wild ones beyond the limits or ones that handle the cube, and what the engine answered."""
    engine, horizon = _engine(task), load_task(task).horizon
    wild = np.random.default_rng(0).uniform(-1.5, 1.5, (len(SEEDS), horizon, 8)).astype(np.float32)
    handle = _handles_the_cube(task)
    seen, actions = [engine.reset(engine.capture_initial_states(SEEDS.tolist()))], []
    for t in range(horizon):
        actions.append(wild[:, t] if kind == "random" else handle(seen[-1].observation))
        seen.append(engine.step(actions[-1]))
    return np.stack(actions, axis=1), seen


@pytest.mark.parametrize("kind", ["random", "handling"])
@pytest.mark.parametrize("task", TASKS)
def test_engine_equals_env_step(task: str, kind: str) -> None:
    actions, ours = _play(task, kind)
    reference, dim = _reference(task), load_task(task).observation_dim
    moved, successes = 0, 0
    for k, seed in enumerate(SEEDS):
        # In a scene that was used before, ManiSkill's reset reports `is_grasped` of the last episode's last contacts.
        first, _ = reference.reset(seed=int(seed), options={"reconfigure": True})
        assert first.shape == (1, dim)
        np.testing.assert_array_equal(ours[0].observation[k], first.numpy()[0])
        for t in range(actions.shape[1]):
            observation, reward, terminated, _, info = reference.step(torch.from_numpy(actions[k, t]))
            np.testing.assert_allclose(ours[t + 1].observation[k], observation.numpy()[0], atol=1e-4, err_msg=f"{t}")
            np.testing.assert_allclose(ours[t + 1].reward[k], float(reward), atol=1e-4)
            assert ours[t + 1].success[k] == bool(info["success"])
            successes += bool(info["success"])
        moved += not np.allclose(first.numpy()[0, -13:], observation.numpy()[0, -13:], atol=1e-3)
    if kind == "handling":
        assert moved == len(SEEDS) and successes > 2 * len(SEEDS)


def test_an_episode_does_not_depend_on_scene_history_or_neighbours() -> None:
    actions, _ = _play("PickCube-v1", "handling")
    engine = _engine("PickCube-v1")
    states = engine.capture_initial_states(SEEDS.tolist())
    engine.reset(states[::-1].copy())
    backwards = [engine.step(actions[::-1, t].copy()) for t in range(50)]
    engine.reset(states[:2])
    alone = [engine.step(actions[:2, t]) for t in range(50)]
    for t in range(50):
        np.testing.assert_array_equal(alone[t].observation, backwards[t].observation[::-1][:2])


def test_rollout_sums_rewards_and_reads_success_over_the_episode() -> None:
    engine = _engine("PickCube-v1")
    episodes = engine.rollout(
        engine.capture_initial_states(SEEDS.tolist()), _handles_the_cube("PickCube-v1"), SEEDS, True
    )
    assert episodes.observations is not None and episodes.rewards is not None and episodes.actions is not None
    assert episodes.observations.shape == (len(SEEDS), 51, 42) and episodes.actions.shape == (len(SEEDS), 50, 8)
    np.testing.assert_allclose(episodes.returns, episodes.rewards.sum(axis=1), rtol=1e-6)
    # Only success pays a full reward, so the rewards say independently when there was one.
    np.testing.assert_array_equal(episodes.success_once, (episodes.rewards == 1).any(axis=1))
    np.testing.assert_array_equal(episodes.success_at_end, episodes.rewards[:, -1] == 1)
