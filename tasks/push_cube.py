"""PushCube-v1: push the blue cube onto the target on the table, as ManiSkill 3.0.1 defines it.

This restates ManiSkill's `PushCubeEnv` for all scenes at once; `tests/test_engine.py` compares the two.
"""

import numpy as np

from nnbench.tasks.policies.standardiser import Standardiser
from nnbench.tasks.task import Evaluation, PaperDagger, ReportedRow, State, Task, View, closeness

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


# Measured on the expert of sha256 c0cd900fa98c8dbb64eb8d2ed18ae3c2d63080b65353b13aa3e195e2d8e7b65c.
_STANDARDISER = Standardiser(
    mean=np.array([
        0.1642, 0.8892, -0.1976, -1.6338, -0.2403, 2.7195, 1.1187, 0.0126, 0.0122, 0.0714, 0.2008, -0.0871, 0.1259,
        -0.0897, 0.1497, 0.1359, -0.2025, 0.1216, 0.0939, -0.0103, 0.0289, 0.1072, 0.9777, -0.0195, 0.1164, 0.1971,
        -0.0044, 0.001, 0.1349, -0.0066, 0.02, 0.9623, -0.0007, -0.0052, -0.0368,
    ]),
    scale=np.array([
        0.1055, 0.1934, 0.1133, 0.2101, 0.1158, 0.1951, 0.1486, 0.05, 0.05, 0.1815, 0.2868, 0.1743, 0.3518, 0.1752,
        0.315, 0.2357, 0.477, 0.2659, 0.0777, 0.0641, 0.05, 0.0557, 0.05, 0.0541, 0.1118, 0.0524, 0.0618, 0.05, 0.0782,
        0.0729, 0.05, 0.0845, 0.05, 0.0602, 0.2486,
    ]),
)  # fmt: skip

_REPORTED: dict[int, tuple[ReportedRow, ...]] = {
    2: (
        {"method": "dataset", "partition": "train", "return": 42.02, "plus_minus": 0.4, "success": 1.0},
        {"method": "sane", "partition": "seen", "return": 6.9, "plus_minus": 0.25, "success": 0.06},
        {"method": "d2nwg", "partition": "seen", "return": 42.28, "plus_minus": 0.05, "success": 1.0},
        {"method": "nnit", "partition": "seen", "return": 42.1, "plus_minus": 0.16, "success": 1.0},
        {"method": "sane", "partition": "unseen", "return": 5.89, "plus_minus": 0.32, "success": 0.02},
        {"method": "d2nwg", "partition": "unseen", "return": 37.35, "plus_minus": 1.63, "success": 0.89},
        {"method": "nnit", "partition": "unseen", "return": 42.0, "plus_minus": 0.19, "success": 1.0},
    ),
    3: ({"method": "nnit", "partition": "joint", "return": 41.99, "plus_minus": 0.1, "success": 1.0},),
    6: ({"nearest_l2": 49.66, "nearest_cosine": 0.12},),
}
"""As the paper printed it; `nnbench.analysis.reported` says what each table is about."""

PUSH_CUBE = Task(
    name="PushCube-v1",
    observation_dim=35,
    action_dim=8,
    horizon=50,
    bodies=("obj", "goal_region"),
    evaluate=_evaluate,
    view=View(eye=(0.8, 0.5, 0.55), target=(0.12, 0.0, 0.08), field_rad=0.68),
    paper_dagger=PaperDagger(iterations=500, beta=0.97, architectures=8),
    standardised_by=_STANDARDISER,
    reported=_REPORTED,
)
