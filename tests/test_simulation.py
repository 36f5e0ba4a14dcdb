"""The batched engine against ManiSkill's own environment, and what a person meets when a rollout goes wrong."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import numpy as np
import pytest
import torch

from nnbench.tasks.expert import load_expert
from nnbench.tasks.headless import import_mani_skill
from nnbench.tasks.policy import GaussianActor, PolicyActor, random_policy
from nnbench.tasks.simulation import Engine, Rollout, SimulationError, Simulator, load_task
from nnbench.tasks.zoo import SHIPPED, Zoo

TASK = load_task("PickCube-v1")
SEEDS = np.arange(700, 706)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(TASK, len(SEEDS))


@pytest.fixture(scope="module")
def reference() -> Any:
    import_mani_skill()
    import gymnasium

    return gymnasium.make(
        TASK.name,
        obs_mode="state",
        control_mode="pd_joint_delta_pos",
        num_envs=1,
        sim_backend="physx_cpu",
        render_backend="none",
    )


def _actions(kind: str, engine: Engine, states: np.ndarray) -> np.ndarray:
    """Actions (K, T, A): wild ones, beyond the limits too, or those of the expert, which grasps and carries."""
    if kind == "random":
        return np.random.default_rng(0).uniform(-1.5, 1.5, (len(SEEDS), TASK.horizon, 8)).astype(np.float32)
    expert = GaussianActor.from_state_dict(load_expert(SHIPPED / TASK.name / "expert.safetensors"))
    actions = engine.rollout(states, expert, SEEDS, record=True).actions
    assert actions is not None
    return actions


@pytest.mark.parametrize("kind", ["random", "grasping"])
def test_engine_equals_env_step(kind: str, engine: Engine, reference: Any) -> None:
    states = engine.capture_initial_states(SEEDS)
    actions = _actions(kind, engine, states)
    ours = [engine.reset(states)] + [engine.step(actions[:, t]) for t in range(TASK.horizon)]
    grasped = successes = 0
    for k, seed in enumerate(SEEDS):
        # In a scene that was used before, ManiSkill's reset reports `is_grasped` of the last episode's last contacts.
        observation, _ = reference.reset(seed=int(seed), options={"reconfigure": True})
        np.testing.assert_array_equal(ours[0].observation[k], observation.numpy()[0])
        for t in range(TASK.horizon):
            observation, reward, _, _, info = reference.step(torch.from_numpy(actions[k, t]))
            np.testing.assert_allclose(ours[t + 1].observation[k], observation.numpy()[0], atol=1e-4)
            np.testing.assert_allclose(ours[t + 1].reward[k], float(reward), atol=1e-4)
            assert ours[t + 1].success[k] == bool(info["success"])
            grasped += bool(info["is_grasped"])
            successes += bool(info["success"])
    if kind == "grasping":
        assert grasped > 20 * len(SEEDS) and successes > 10 * len(SEEDS)


def test_an_episode_does_not_depend_on_scene_history_or_neighbours(engine: Engine) -> None:
    states = engine.capture_initial_states(SEEDS)
    expert = GaussianActor.from_state_dict(load_expert(SHIPPED / TASK.name / "expert.safetensors"))
    actions = engine.rollout(states, expert, SEEDS, record=True).actions
    assert actions is not None
    engine.reset(states[::-1].copy())
    backwards = [engine.step(actions[::-1, t].copy()) for t in range(TASK.horizon)]
    engine.reset(states[:2])
    alone = [engine.step(actions[:2, t]) for t in range(TASK.horizon)]
    for t in range(TASK.horizon):
        np.testing.assert_array_equal(alone[t].observation, backwards[t].observation[::-1][:2])


def test_rollout_sums_rewards_and_reads_success_over_the_episode(engine: Engine) -> None:
    states = engine.capture_initial_states(SEEDS)
    expert = GaussianActor.from_state_dict(load_expert(SHIPPED / TASK.name / "expert.safetensors"))
    episodes = engine.rollout(states, expert, SEEDS, record=True)
    assert episodes.observations is not None and episodes.rewards is not None and episodes.actions is not None
    assert episodes.observations.shape == (len(SEEDS), 51, 42) and episodes.actions.shape == (len(SEEDS), 50, 8)
    np.testing.assert_allclose(episodes.returns, episodes.rewards.sum(axis=1), rtol=1e-6)
    # Only success pays a full reward, so the rewards say independently when there was one.
    np.testing.assert_array_equal(episodes.success_once, (episodes.rewards == 1).any(axis=1))
    np.testing.assert_array_equal(episodes.success_at_end, episodes.rewards[:, -1] == 1)


def test_results_do_not_depend_on_how_work_is_cut(simulator: Simulator, zoo: Zoo) -> None:
    policies = [zoo.hypernetwork_policies(arch)[0] for arch in [(16, 32, 16, 64), (64, 64, 64, 64)]]
    seeds = np.arange(20)
    whole = simulator.episodes([Rollout(PolicyActor.stack(policies, seeds % 2), seeds)])[0]
    cuts = np.split(seeds, [5, 8, 9])
    parts = simulator.episodes([Rollout(PolicyActor.stack(policies, cut % 2), cut) for cut in cuts])
    equal = np.concatenate([part.returns for part in parts]) == whole.returns
    assert equal.sum() >= 16, "PhysX orders simultaneous contacts by a scene's history, but few episodes have any"
    assert len(set(whole.returns.tolist())) > 10


def test_action_that_is_not_finite_names_episode_and_step(simulator: Simulator) -> None:
    policy = random_policy((16, 16, 16, 32), 42, 8, torch.Generator().manual_seed(0))
    policy["8.weight"][:] = 3e38
    with pytest.raises(SimulationError, match=r"episode seed 41, step 0: the policy's action is not finite"):
        simulator.episodes([Rollout(PolicyActor.stack([policy], np.zeros(1, int)), np.array([41]))])


@pytest.mark.parametrize("count", [0, 26])
def test_units_of_impossible_size_are_refused(simulator: Simulator, count: int) -> None:
    policy = random_policy((16, 16, 16, 32), 42, 8, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=f"a rollout of {count} episodes: expected 1 to 25"):
        simulator.episodes([Rollout(PolicyActor.stack([policy], np.zeros(count, int)), np.arange(count))])


def test_unknown_task_and_no_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown task 'PickCub': expected one of PickCube-v1"):
        load_task("PickCub")
    with pytest.raises(ValueError, match="workers=0: expected at least 1"):
        Simulator(TASK, workers=0)


def test_a_killed_worker_is_an_error_and_a_killed_parent_leaves_no_worker() -> None:
    script = textwrap.dedent(
        """
        import os, signal
        import numpy as np, torch
        from nnbench.tasks.policy import PolicyActor, random_policy
        from nnbench.tasks.simulation import Rollout, SimulationError, Simulator, load_task
        if __name__ == "__main__":
            with Simulator(load_task("PickCube-v1"), 1) as simulator:
                policy = random_policy((16, 16, 16, 32), 42, 8, torch.Generator())
                unit = Rollout(PolicyActor.stack([policy], np.zeros(1, int)), np.array([0]))
                simulator.episodes([unit])
                worker, = simulator._pool._processes
                print(worker, flush=True)
                input()
                os.kill(worker, signal.SIGKILL)
                try:
                    simulator.episodes([unit])
                except SimulationError as error:
                    print(error, flush=True)
        """
    )

    def start() -> tuple["subprocess.Popen[str]", int]:
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    process, _ = start()
    output, _ = process.communicate("\n")
    assert "PickCube-v1: a simulation worker died" in output

    process, worker = start()
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().split()[2] != "Z"
