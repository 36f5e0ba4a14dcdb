"""Many ManiSkill-built scenes of one task, stepped together by PhysX in this process.

ManiSkill builds every scene and resets it once per seed; PhysX steps it; the task computes observation, reward and
success of all scenes at once. `tests/test_engine.py` compares the result with `env.step`.

K is the number of scenes stepped together, T the horizon, O and A the observation and action dimensions.
"""

import gc
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnbench.errors import NnbenchError
from nnbench.tasks.simulation.episodes import Episodes
from nnbench.tasks.simulation.scene import Scene, make_environment
from nnbench.tasks.task import Actor, Evaluation, State, Task

_OPEN_M, _SHUT_M = np.float32(0.04), np.float32(-0.01)


class SimulationError(NnbenchError, RuntimeError):
    """A rollout that cannot be trusted or finished."""


class Engine:
    """K scenes of one task in this process."""

    def __init__(self, task: Task, scenes: int) -> None:
        self.task, self.scenes = task, scenes
        self.environment = make_environment(task)
        """ManiSkill's own environment. The engine resets it for initial states and never steps it."""
        self._scenes: list[Scene] = []
        for _ in range(scenes):
            self._scenes.append(Scene(task))
            gc.freeze()  # ManiSkill collects garbage for every scene it builds; this skips the finished scenes

    def capture_initial_states(self, seeds: Sequence[int]) -> np.ndarray:
        """Initial states of the bodies after `env.reset(seed=s)` of a single ManiSkill environment, one row per seed.

        Rows (S,) float32 are joint positions (9) and the pose (7) of each of the task's bodies.
        """
        env, rows = self.environment, []
        for seed in seeds:
            env.reset(seed=int(seed))
            poses = _poses([getattr(env, name)._objs[0].pose for name in self.task.bodies])
            rows.append(np.concatenate([env.agent.robot._objs[0].get_qpos(), poses.ravel()]))
        return np.stack(rows).astype(np.float32)

    def reset(self, initial_states: np.ndarray) -> Evaluation:
        """Put the first len(initial_states) scenes into these states, at rest."""
        for scene, row in zip(self._scenes, initial_states, strict=False):
            scene.place(row)
        return self.observe(len(initial_states))

    def step(self, actions: np.ndarray) -> Evaluation:
        """One control step of the first len(actions) scenes; actions (K, 8) are clamped to [-1, 1]."""
        self.drive(actions)
        self.simulate(len(actions))
        return self.observe(len(actions))

    def drive(self, actions: np.ndarray) -> None:
        """Hand the joints their targets, as ManiSkill's controller `pd_joint_delta_pos` does.

        An arm joint is sent at most 0.1 rad away from where it is; the gripper's one action maps [-1, 1] to finger
        positions [-0.01, 0.04] m.
        """
        count = len(actions)
        actions = np.clip(actions, -1, 1)
        targets = np.empty((count, 9), np.float32)
        targets[:, :7] = self._qpos[:count, :7] + actions[:, :7] * np.float32(0.1)
        targets[:, 7:] = 0.5 * (_OPEN_M + _SHUT_M) + 0.5 * (_OPEN_M - _SHUT_M) * actions[:, 7:]
        for scene, target in zip(self._scenes, targets.tolist(), strict=False):
            for set_drive_target, value in zip(scene.set_drive_targets, target, strict=True):
                set_drive_target(value)

    def simulate(self, count: int) -> None:
        """The physics of one control step of the first `count` scenes."""
        for scene in self._scenes[:count]:
            step = scene.system.step
            for _ in range(scene.substeps):
                step()

    def rollout(self, initial_states: np.ndarray, actor: Actor, seeds: np.ndarray, record: bool) -> Episodes:
        """Whole episodes from these initial states.

        A policy whose action is once not finite has diverged: its episode returns 0 and is not solved. Raises
        SimulationError on actions of another shape, and, with `record`, on one that is not finite.
        """
        observations, executed, rewards, success = [self.reset(initial_states).observation], [], [], []
        states, diverged = [self._states], np.zeros(len(seeds), bool)
        for t in range(self.task.horizon):
            actions = actor(observations[-1])
            _check_shape(self.task, actions, seeds)
            diverged |= ~np.isfinite(actions).all(axis=1)
            if diverged.any():
                if record:
                    raise SimulationError(
                        f"{self.task.name}, episode seed {seeds[np.argmax(diverged)]}, step {t}: the policy's action "
                        "is not finite; check its weights for overflowing values"
                    )
                actions = np.where(diverged[:, None], np.float32(0), actions)
            observation, reward, succeeded = self.step(actions)
            observations.append(observation)
            executed.append(actions)
            rewards.append(reward)
            success.append(succeeded)
            states.append(self._states)
        paid, solved = np.stack(rewards, axis=1), np.stack(success, axis=1)
        paid[diverged], solved[diverged] = 0, False
        episodes = Episodes(seeds, paid.sum(axis=1), np.any(solved, axis=1), solved[:, -1], diverged)
        if not record:
            return episodes
        return episodes._replace(
            observations=np.stack(observations, axis=1),
            actions=np.stack(executed, axis=1),
            rewards=paid,
            states=np.stack(states, axis=1),
        )

    def observe(self, count: int) -> Evaluation:
        """The task's evaluation of the first `count` scenes as they are now."""
        scenes = self._scenes[:count]
        tcp_pose = _poses([scene.tcp.entity_pose for scene in scenes])
        poses = {name: _poses([scene.bodies[name].entity_pose for scene in scenes]) for name in self.task.bodies}
        grasped = np.zeros(count, bool)
        if self.task.grasped is not None:
            distance = np.linalg.norm(poses[self.task.grasped][:, :3] - tcp_pose[:, :3], axis=1)
            for k, scene in enumerate(scenes):
                grasped[k] = distance[k] < scene.reach_m and scene.is_grasping()
        self._qpos = np.array([scene.robot.get_qpos() for scene in scenes])
        self._states = np.concatenate([self._qpos, *poses.values()], axis=1)
        state = State(
            qpos=self._qpos,
            qvel=np.array([scene.robot.get_qvel() for scene in scenes]),
            tcp_pose=tcp_pose,
            grasped=grasped,
            poses=poses,
            velocities={name: _velocities([scene.bodies[name] for scene in scenes]) for name in self.task.velocities},
        )
        return self.task.evaluate(state)


def _check_shape(task: Task, actions: np.ndarray, seeds: np.ndarray) -> None:
    """Raises SimulationError unless the actions are (K, A)."""
    if actions.shape != (len(seeds), task.action_dim):
        raise SimulationError(
            f"{task.name}: the policy's actions have shape {actions.shape}, expected {(len(seeds), task.action_dim)}; "
            "is it a policy of another task?"
        )


def _poses(poses: list[Any]) -> np.ndarray:
    return np.concatenate([np.array([pose.p for pose in poses]), np.array([pose.q for pose in poses])], axis=1)


def _velocities(bodies: list[Any]) -> np.ndarray:
    linear, angular = [body.linear_velocity for body in bodies], [body.angular_velocity for body in bodies]
    return np.concatenate([np.array(linear), np.array(angular)], axis=1)
