"""PickCube-v1: grasp the red cube and bring it to the goal, as ManiSkill 3.0.1 defines it.

This restates ManiSkill's `PickCubeEnv` for all scenes at once; `tests/test_engine.py` compares the two.
"""

import numpy as np

from nnbench.tasks.simulation.engine import Evaluation, State, Task, View, closeness

_GOAL_RADIUS_M = 0.025
_STATIC_RAD_S = 0.2


def _evaluate(state: State) -> Evaluation:
    cube, goal = state.poses["cube"], state.poses["goal_site"][:, :3]
    tcp_to_cube = cube[:, :3] - state.tcp_pose[:, :3]
    cube_to_goal = goal - cube[:, :3]
    goal_distance = np.linalg.norm(cube_to_goal, axis=1)
    arm_velocity = state.qvel[:, :7]

    placed = goal_distance <= _GOAL_RADIUS_M
    success = placed & (np.abs(arm_velocity).max(axis=1) <= _STATIC_RAD_S)
    reward = closeness(np.linalg.norm(tcp_to_cube, axis=1))
    reward = reward + state.grasped + closeness(goal_distance) * state.grasped
    reward = reward + closeness(np.linalg.norm(arm_velocity, axis=1)) * placed
    reward[success] = 5.0

    observation = np.concatenate(
        [state.qpos, state.qvel, state.grasped[:, None], state.tcp_pose, goal, cube, tcp_to_cube, cube_to_goal], axis=1
    )  # (K, 42) = 9 + 9 + 1 + 7 + 3 + 7 + 3 + 3
    return Evaluation(observation.astype(np.float32), (reward / 5).astype(np.float32), success)


PICK_CUBE = Task(
    name="PickCube-v1",
    observation_dim=42,
    action_dim=8,
    horizon=50,
    bodies=("cube", "goal_site"),
    evaluate=_evaluate,
    view=View(eye=(0.65, 0.4, 0.45), target=(0.0, 0.0, 0.16), field_rad=0.62),
    grasped="cube",
)
