"""StackCubeEasy-v1 as a gymnasium environment."""

import warnings

import numpy as np
import pytest

from nnbench.tasks.registry import TASKS
from nnbench.tasks.simulation.scene import make_environment


def test_gymnasiums_environment_checker_passes() -> None:
    make_environment(TASKS["StackCubeEasy-v1"])  # registers it
    import gymnasium
    from gymnasium.utils.env_checker import check_env
    from mani_skill.utils.wrappers.gymnasium import CPUGymWrapper

    env = gymnasium.make("StackCubeEasy-v1", obs_mode="state", control_mode="pd_joint_delta_pos", render_backend="none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have no wrapper, but ManiSkill's are what makes it one
        # The close check makes the environment again from its spec, which refuses ManiSkill's time limit.
        check_env(CPUGymWrapper(env), skip_render_check=True, skip_close_check=True)
    env.reset(seed=0)
    truncated = [bool(env.step(env.action_space.sample())[3]) for _ in range(50)]
    assert truncated == [False] * 49 + [True]


def test_the_green_cube_cannot_be_moved_and_the_goal_is_on_it() -> None:
    env = make_environment(TASKS["StackCubeEasy-v1"])
    observation, _ = env.reset(seed=1)
    base = env.cubeB.pose.p[0].numpy()
    np.testing.assert_allclose(observation[0, 26:29], base + np.array([0, 0, 0.04]), atol=1e-6)
    assert base[2] == pytest.approx(0.02)
    assert env.cubeB.px_body_type == "kinematic" and env.cubeA.px_body_type == "dynamic"
