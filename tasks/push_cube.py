"""PushCube-v1: push the blue cube onto the target on the table, as ManiSkill 3.0.1 defines it.

This restates ManiSkill's `PushCubeEnv` for all scenes at once; `tests/test_engine.py` compares the two.
"""

import numpy as np

from nnbench.tasks.simulation.engine import Evaluation, State, Task, View, closeness

_GOAL_RADIUS_M = 0.1
_CUBE_HALF_SIZE_M = 0.02
_PUSH_FROM_M = np.array([-_CUBE_HALF_SIZE_M - 0.005, 0, 0], np.float32)
"""Where the hand should push, from the cube's centre."""


def _evaluate(state: State) -> Evaluation:
    cube, goal = state.poses["obj"], state.poses["goal_region"][:, :3]
    push_distance = np.linalg.norm(cube[:, :3] + _PUSH_FROM_M - state.tcp_pose[:, :3], axis=1)
    goal_distance = np.linalg.norm(cube[:, :2] - goal[:, :2], axis=1)
    success = (goal_distance < _GOAL_RADIUS_M) & (cube[:, 2] < _CUBE_HALF_SIZE_M + 5e-3)

    reached = push_distance < 0.01
    on_table = closeness(np.abs(cube[:, 2] - _CUBE_HALF_SIZE_M))
    reward = closeness(push_distance) + closeness(goal_distance) * (1 + on_table) * reached
    reward[success] = 4.0

    observation = np.concatenate([state.qpos, state.qvel, state.tcp_pose, goal, cube], axis=1)  # (K, 35)
    return Evaluation(observation.astype(np.float32), (reward / 4).astype(np.float32), success)


PUSH_CUBE = Task(
    name="PushCube-v1",
    observation_dim=35,
    action_dim=8,
    horizon=50,
    bodies=("obj", "goal_region"),
    evaluate=_evaluate,
    view=View(eye=(0.8, 0.5, 0.55), target=(0.12, 0.0, 0.08), field_rad=0.68),
)
