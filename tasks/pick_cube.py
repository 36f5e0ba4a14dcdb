"""PickCube-v1: grasp the red cube and bring it to the goal, as ManiSkill 3.0.1 defines it.

This restates ManiSkill's `PickCubeEnv` for all scenes at once; `tests/test_engine.py` compares the two.
"""

import numpy as np

from nnbench.tasks.policies.standardiser import Standardiser
from nnbench.tasks.task import Evaluation, PaperDagger, ReportedRow, State, Task, View, closeness

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


# Measured on the expert of sha256 2c7cd5532e09556084872477303f428afb54b58c51a53ad0d7a8ec53e8c02581.
_STANDARDISER = Standardiser(
    mean=np.array([
        -0.0534, 0.4636, 0.0209, -1.9278, 0.129, 2.4184, 0.5943, 0.0225, 0.0225, -0.0242, 0.0095, 0.0135, 0.0143,
        0.0446, 0.0016, -0.0694, 0.0953, 0.1354, 0.8107, 0.0034, -0.0133, 0.1479, -0.0415, 0.9891, 0.0245, 0.0166,
        -0.0067, -0.0081, 0.1698, 0.0091, -0.0127, 0.124, 0.5089, 0.0096, 0.0032, 0.1197, 0.0057, 0.0005, -0.024,
        -0.0157, 0.0046, 0.0458,
    ]),
    scale=np.array([
        0.0567, 0.21, 0.0845, 0.1545, 0.0942, 0.211, 0.1313, 0.05, 0.05, 0.155, 0.3803, 0.1795, 0.2379, 0.186, 0.3192,
        0.1909, 0.1525, 0.1476, 0.3917, 0.0603, 0.058, 0.0859, 0.05, 0.0919, 0.0508, 0.0821, 0.0579, 0.0589, 0.0909,
        0.066, 0.0611, 0.094, 0.3574, 0.1145, 0.0952, 0.7593, 0.05, 0.05, 0.05, 0.0604, 0.05, 0.0805,
    ]),
)  # fmt: skip

_REPORTED: dict[int, tuple[ReportedRow, ...]] = {
    1: (
        {"method": "ghn", "return": 39.35, "success": 0.99, "nearest_l2": 54.66, "nearest_cosine": 0.07},
        {"method": "sgd", "return": 39.49, "success": 0.989, "nearest_l2": 41.73, "nearest_cosine": 0.02},
    ),
    2: (
        {"method": "dataset", "partition": "train", "return": 39.37, "plus_minus": 0.55, "success": 0.98},
        {"method": "sane", "partition": "seen", "return": 3.81, "plus_minus": 0.29, "success": 0.01},
        {"method": "d2nwg", "partition": "seen", "return": 38.59, "plus_minus": 1.35, "success": 0.98},
        {"method": "nnit", "partition": "seen", "return": 38.77, "plus_minus": 0.41, "success": 0.98},
        {"method": "sane", "partition": "unseen", "return": 3.65, "plus_minus": 0.41, "success": 0.01},
        {"method": "d2nwg", "partition": "unseen", "return": 28.31, "plus_minus": 4.53, "success": 0.59},
        {"method": "nnit", "partition": "unseen", "return": 38.7, "plus_minus": 0.36, "success": 0.99},
    ),
    3: ({"method": "nnit", "partition": "joint", "return": 38.85, "plus_minus": 0.32, "success": 0.99},),
    4: (
        {"partition": "seen", "arch": "32-16-64-32", "return": 39.69, "success": 1.0},
        {"partition": "seen", "arch": "32-64-16-32", "return": 39.01, "success": 1.0},
        {"partition": "seen", "arch": "32-32-32-16", "return": 38.99, "success": 1.0},
        {"partition": "seen", "arch": "64-64-16-32", "return": 38.81, "success": 0.98},
        {"partition": "unseen", "arch": "32-32-16-64", "return": 37.75, "success": 0.96},
        {"partition": "unseen", "arch": "32-32-32-64", "return": 37.01, "success": 0.94},
        {"partition": "unseen", "arch": "32-16-16-16", "return": 38.53, "success": 0.98},
        {"partition": "unseen", "arch": "16-16-16-32", "return": 33.8, "success": 0.94},
    ),
    6: ({"nearest_l2": 46.94, "nearest_cosine": 0.17},),
}
"""As the paper printed it; `nnbench.analysis.reported` says what each table is about."""

PICK_CUBE = Task(
    name="PickCube-v1",
    observation_dim=42,
    action_dim=8,
    horizon=50,
    bodies=("cube", "goal_site"),
    evaluate=_evaluate,
    view=View(eye=(0.65, 0.4, 0.45), target=(0.0, 0.0, 0.16), field_rad=0.62),
    grasped="cube",
    paper_dagger=PaperDagger(iterations=500, beta=0.97, architectures=8),
    standardised_by=_STANDARDISER,
    reported=_REPORTED,
)
