"""StackCubeEasy-v1: put the red cube on the green one, which cannot be moved, and let go.

The paper's appendix B says only that the goal object is kinematic and that the state space is PickCube's. So this is
ManiSkill 3.0.1's StackCube-v1, its success and its dense reward, with the observation laid out as PickCube's: the goal
is where the red cube comes to rest. `stack_cube_easy_env.py` is the environment; `tests/test_engine.py` compares them.
"""

from dataclasses import dataclass

import numpy as np

from nnbench.tasks.engine import Evaluation, State, Task, closeness
from nnbench.tasks.policy import Actor

_EDGE_M = 0.04
_OFFSET_XY_M = float(np.linalg.norm([0.02, 0.02])) + 0.005
_OFFSET_Z_M = 0.005
_STATIC_M_S, _STATIC_RAD_S = 1e-2, 0.5
_GRIPPER_WIDTH_M = 0.08


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
class LettingGo:
    """PickCube's expert carries the cube to the goal and holds it there; this one then stands still and lets go."""

    carrier: Actor

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        actions = self.carrier(observations)
        cube_to_goal = observations[:, 39:42]
        there = (np.linalg.norm(cube_to_goal[:, :2], axis=1) <= _OFFSET_XY_M) & (
            np.abs(cube_to_goal[:, 2]) <= _OFFSET_Z_M
        )
        actions[there] = np.array([0, 0, 0, 0, 0, 0, 0, 1], np.float32)
        return actions


STACK_CUBE_EASY = Task(
    name="StackCubeEasy-v1",
    observation_dim=42,
    action_dim=8,
    horizon=50,
    bodies=("cubeA", "cubeB"),
    evaluate=_evaluate,
    grasped="cubeA",
    velocities=("cubeA",),
    registers="nnbench.tasks.stack_cube_easy_env",
    teacher=LettingGo,
)
