"""StackCubeEasy-v1: put the red cube on the green one, which cannot be moved, and let go.

The paper's appendix B says only that the goal object is kinematic and that the state space is PickCube's. So this is
ManiSkill 3.0.1's StackCube-v1, its success and its dense reward, with the observation laid out as PickCube's: the goal
is where the red cube comes to rest. `stack_cube_easy_env.py` is the environment; `tests/test_engine.py` compares them.
"""

from dataclasses import dataclass

import numpy as np

from nnbench.tasks.policies.standardiser import Standardiser
from nnbench.tasks.task import Actor, Evaluation, Filter, PaperDagger, ReportedRow, State, Task, View, closeness

_EDGE_M = 0.04
_OFFSET_XY_M = float(np.linalg.norm([0.02, 0.02])) + 0.005
_OFFSET_Z_M = 0.005
_STATIC_M_S, _STATIC_RAD_S = 1e-2, 0.5
_GRIPPER_WIDTH_M = 0.08
_ROBOT_X_M = -0.615
_KNOWN_RAD, _KNOWN_M = 0.2, 0.2
"""Within these PickCube's expert grasps (angle from straight ahead) and carries to (distance from the origin)."""


def _evaluate(state: State) -> Evaluation:
    cube, base = state.poses["cubeA"], state.poses["cubeB"][:, :3]
    goal = base + np.array([0, 0, _EDGE_M], np.float32)
    tcp_to_cube = cube[:, :3] - state.tcp_pose[:, :3]
    cube_to_goal = goal - cube[:, :3]
    velocity = state.velocities["cubeA"]
    speed, spin = np.linalg.norm(velocity[:, :3], axis=1), np.linalg.norm(velocity[:, 3:], axis=1)

    offset = cube[:, :3] - base
    on_base = (np.linalg.norm(offset[:, :2], axis=1) <= _OFFSET_XY_M) & (np.abs(offset[:, 2] - _EDGE_M) <= _OFFSET_Z_M)
    success = on_base & (speed <= _STATIC_M_S) & (spin <= _STATIC_RAD_S) & ~state.grasped

    released = np.where(state.grasped, state.qpos[:, 7:].sum(axis=1) / _GRIPPER_WIDTH_M, 1)
    still = 1 - np.tanh(10 * speed + spin)
    reward = 2 * closeness(np.linalg.norm(tcp_to_cube, axis=1))
    reward = np.where(state.grasped, 4 + closeness(np.linalg.norm(cube_to_goal, axis=1)), reward)
    reward = np.where(on_base, 6 + (released + still) / 2, reward)
    reward[success] = 8.0

    observation = np.concatenate(
        [state.qpos, state.qvel, state.grasped[:, None], state.tcp_pose, goal, cube, tcp_to_cube, cube_to_goal], axis=1
    )  # (K, 42) = 9 + 9 + 1 + 7 + 3 + 7 + 3 + 3
    return Evaluation(observation.astype(np.float32), (reward / 8).astype(np.float32), success)


@dataclass(frozen=True)
class Stacking:
    """Makes PickCube's expert stack. By itself it knows only the middle of this table, and never lets go.

    The arm is symmetric about its first joint. So for a cube outside the known part, the expert is shown the whole
    scene turned until the cube lies in it. The goal shown to the expert is above the real one until the cube is there.
    Once the cube is at the goal, the arm stands still and lets go.
    """

    carrier: Actor

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        tcp, goal, cube = (observations[:, first : first + 3] for first in (19, 26, 29))
        grasped = observations[:, 18] > 0.5
        offset = goal - cube
        distance = np.linalg.norm(offset[:, :2], axis=1)
        # The expert stops a little short; it is shown a goal as much farther.
        goal = goal + 0.5 * offset * grasped[:, None]
        goal[:, 2] += np.clip(2 * (distance - 0.03), 0, _EDGE_M)

        bearing = _bearing(np.where(grasped[:, None], tcp, cube))
        turn = np.where(grasped, bearing, bearing - np.clip(bearing, -_KNOWN_RAD, _KNOWN_RAD))
        goal, tcp, cube = (_turned(position, -turn) for position in (goal, tcp, cube))
        goal[:, :2] = goal[:, :2].clip(-_KNOWN_M, _KNOWN_M)
        seen = observations.copy()
        seen[:, 0] -= turn
        seen[:, 19:22], seen[:, 26:29], seen[:, 29:32] = tcp, goal, cube
        for first in (22, 32):
            seen[:, first : first + 4] = _turned_quaternion(observations[:, first : first + 4], -turn)
        seen[:, 36:39], seen[:, 39:42] = cube - tcp, goal - cube

        actions = self.carrier(seen)
        away = np.linalg.norm(observations[:, 36:39], axis=1) > 0.03
        actions[~grasped & away, 7] = 1
        there = (distance <= 0.02) & (offset[:, 2] >= -0.02) & (offset[:, 2] <= _OFFSET_Z_M)
        actions[there] = np.array([0, 0, 0, 0, 0, 0, 0, 1], np.float32)
        return actions


def _bearing(positions: np.ndarray) -> np.ndarray:
    """(K, 3) to the angle (K,) under which the arm's first joint sees them."""
    return np.arctan2(positions[:, 1], positions[:, 0] - _ROBOT_X_M)


def _turned(positions: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(K, 3) turned about the first joint."""
    x, (y, z) = positions[:, 0] - _ROBOT_X_M, positions[:, 1:].T
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([_ROBOT_X_M + cos * x - sin * y, sin * x + cos * y, z], axis=1).astype(np.float32)


def _turned_quaternion(quaternions: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(K, 4), scalar first, turned about the vertical."""
    (w, x, y, z), cos, sin = quaternions.T, np.cos(angle / 2), np.sin(angle / 2)
    turned = [cos * w - sin * z, cos * x - sin * y, cos * y + sin * x, cos * z + sin * w]
    return np.stack(turned, axis=1).astype(np.float32)


# Measured on the expert of sha256 8e6b58b9f81a2cb5b8ee229ec51e842b38ba6a38ded295569f2489ff040f4fd6.
_STANDARDISER = Standardiser(
    mean=np.array([
        0.0308, 0.6468, -0.047, -1.8356, 0.0067, 2.425, 0.504, 0.0347, 0.0347, 0.0136, 0.1088, -0.0193, 0.0714, -0.021,
        -0.0187, -0.1238, 0.0215, 0.0433, 0.1775, 0.0004, -0.0131, 0.0742, 0.013, 0.9706, 0.1272, -0.0342, -0.006,
        -0.0213, 0.06, 0.0022, -0.0128, 0.0508, 0.5425, 0.0058, 0.0098, 0.0574, 0.0019, 0.0003, -0.0234, -0.0083,
        -0.0085, 0.0092,
    ]),
    scale=np.array([
        0.1267, 0.1366, 0.0973, 0.1681, 0.0988, 0.2112, 0.1466, 0.05, 0.05, 0.2607, 0.3536, 0.2411, 0.2816, 0.1884,
        0.3224, 0.2356, 0.2186, 0.2556, 0.3821, 0.0708, 0.1288, 0.05, 0.05, 0.0939, 0.1303, 0.1108, 0.0727, 0.1267,
        0.05, 0.0789, 0.1357, 0.05, 0.3991, 0.1397, 0.1514, 0.7075, 0.05, 0.05, 0.05, 0.05, 0.0955, 0.05,
    ]),
)  # fmt: skip

_REPORTED: dict[int, tuple[ReportedRow, ...]] = {
    2: (
        {"method": "dataset", "partition": "train", "return": 39.53, "plus_minus": 0.78, "success": 0.94},
        {"method": "sane", "partition": "seen", "return": 4.64, "plus_minus": 0.16, "success": 0.0},
        {"method": "d2nwg", "partition": "seen", "return": 37.65, "plus_minus": 0.69, "success": 0.9},
        {"method": "nnit", "partition": "seen", "return": 38.38, "plus_minus": 0.51, "success": 0.91},
        {"method": "sane", "partition": "unseen", "return": 3.71, "plus_minus": 0.13, "success": 0.0},
        {"method": "d2nwg", "partition": "unseen", "return": 27.18, "plus_minus": 2.35, "success": 0.42},
        {"method": "nnit", "partition": "unseen", "return": 36.24, "plus_minus": 1.33, "success": 0.86},
    ),
    3: ({"method": "nnit", "partition": "joint", "return": 37.57, "plus_minus": 0.85, "success": 0.9},),
    6: ({"nearest_l2": 72.79, "nearest_cosine": 0.21},),
}
"""As the paper printed it; `nnbench.analysis.reported` says what each table is about."""

STACK_CUBE_EASY = Task(
    name="StackCubeEasy-v1",
    observation_dim=42,
    action_dim=8,
    horizon=50,
    bodies=("cubeA", "cubeB"),
    evaluate=_evaluate,
    view=View(eye=(0.85, 0.25, 0.55), target=(0.0, 0.0, 0.07), field_rad=0.7),
    grasped="cubeA",
    velocities=("cubeA",),
    registers="nnbench.tasks.stack_cube_easy_env",
    teacher=Stacking,
    filter=Filter(min_return=30.0, min_success=0.8),
    paper_dagger=PaperDagger(iterations=1500, beta=0.98, architectures=16),
    standardised_by=_STANDARDISER,
    reported=_REPORTED,
)
