"""Batched rollouts on the CPU: many ManiSkill-built scenes a process, one process a core.

ManiSkill builds every scene and resets it once a seed; PhysX steps it; observation, reward and success are computed
for all scenes of a process at once. `tests/test_simulation.py` holds the result against `env.step`.

K is the number of scenes stepped together, T the horizon, O and A the observation and action dimensions.
"""

import gc
import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from nnbench.tasks.policy import Actor

SCENES_PER_WORKER = 25
"""Episodes a worker simulates at a time; a work unit is at most this long."""

_OPEN_M, _SHUT_M = np.float32(0.04), np.float32(-0.01)
_COS_85_DEGREES = math.cos(math.radians(85))


class State(NamedTuple):
    """What the bodies of K scenes are doing; all float32 unless said otherwise."""

    qpos: np.ndarray  # (K, 9) rad, fingers m
    qvel: np.ndarray  # (K, 9) rad/s, fingers m/s
    tcp_pose: np.ndarray  # (K, 7) position m, quaternion wxyz
    grasped: np.ndarray  # (K,) bool
    bodies: dict[str, np.ndarray]  # name to (K, 7) poses


class Evaluation(NamedTuple):
    """What a task makes of a state."""

    observation: np.ndarray  # (K, O) float32
    reward: np.ndarray  # (K,) float32 in [0, 1]
    success: np.ndarray  # (K,) bool


@dataclass(frozen=True)
class Task:
    """A ManiSkill task: which bodies to read, and what observation, reward and success are made of them."""

    name: str
    observation_dim: int
    action_dim: int
    horizon: int
    """Control steps an episode; none ends earlier."""
    bodies: tuple[str, ...]
    """Attributes of the ManiSkill environment whose poses the task reads."""
    grasped: str
    """The body of which `State.grasped` speaks."""
    evaluate: Callable[[State], Evaluation]


class Episodes(NamedTuple):
    """Finished episodes, row by row in the order of the seeds asked for."""

    seeds: np.ndarray  # (N,) int64
    returns: np.ndarray  # (N,) float32, sum of the normalised dense reward
    success_once: np.ndarray  # (N,) bool
    success_at_end: np.ndarray  # (N,) bool
    observations: np.ndarray | None = None  # (N, T + 1, O)
    actions: np.ndarray | None = None  # (N, T, A), before clamping
    rewards: np.ndarray | None = None  # (N, T)


def load_task(name: str) -> Task:
    """The task of a ManiSkill environment id. Raises ValueError listing the known ones."""
    from nnbench.tasks.pick_cube import PICK_CUBE

    known = {task.name: task for task in (PICK_CUBE,)}
    if name not in known:
        raise ValueError(f"unknown task {name!r}: expected one of {', '.join(known)}")
    return known[name]


class SimulationError(RuntimeError):
    """A rollout that cannot be trusted or finished."""


@dataclass(frozen=True)
class _Scene:
    """Handles of one ManiSkill scene that the engine reads and writes every step."""

    env: Any
    system: Any
    robot: Any
    set_drive_targets: list[Any]
    tcp: Any
    fingers: tuple[Any, Any]
    bodies: tuple[Any, ...]
    grasped: Any
    moving: list[Any]

    @classmethod
    def build(cls, task: Task) -> "_Scene":
        import gymnasium

        env: Any = gymnasium.make(
            task.name,
            obs_mode="state",
            control_mode="pd_joint_delta_pos",
            num_envs=1,
            sim_backend="physx_cpu",
            render_backend="none",
        ).unwrapped
        env.reset(seed=0)
        system, robot = env.scene.px, env.agent.robot._objs[0]
        fingers = (env.agent.finger1_link._objs[0], env.agent.finger2_link._objs[0])
        return cls(
            env=env,
            system=system,
            robot=robot,
            set_drive_targets=[joint.set_drive_target for joint in robot.active_joints],
            tcp=env.agent.tcp._objs[0],
            fingers=fingers,
            bodies=tuple(getattr(env, name)._objs[0] for name in task.bodies),
            grasped=getattr(env, task.grasped)._bodies[0],
            moving=[body for body in system.rigid_dynamic_components if not body.kinematic],
        )

    def place(self, initial_state: np.ndarray) -> None:
        """Put robot and bodies where a row of `Engine.capture_initial_states` says, at rest."""
        import sapien

        still = np.zeros(9, np.float32)
        self.robot.set_qpos(initial_state[:9])
        self.robot.set_qvel(still)
        self.robot.set_qf(still)
        for component in self.moving:
            component.set_linear_velocity([0.0, 0.0, 0.0])
            component.set_angular_velocity([0.0, 0.0, 0.0])
        for b, body in enumerate(self.bodies):
            pose = initial_state[9 + 7 * b : 16 + 7 * b]
            body.set_pose(sapien.Pose(pose[:3], pose[3:]))

    def is_grasping(self, substep_s: float) -> bool:
        """Panda.is_grasping: both fingers press the body with 0.5 N or more within 85 degrees of their closing axis.

        Plain floats: this runs once a scene and control step, on a dozen numbers, where numpy is ten times slower.
        """
        impulses = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]  # N s on the body's side of each finger
        touching = [False, False]
        for contact in self.system.get_contacts():
            first, second = contact.bodies
            if first is self.grasped:
                other, sign = second, -1.0
            elif second is self.grasped:
                other, sign = first, 1.0  # an impulse acts on the contact's first body
            else:
                continue
            if other not in self.fingers:
                continue
            side = self.fingers.index(other)
            touching[side] = True
            total = impulses[side]
            for point in contact.points:
                x, y, z = point.impulse.tolist()
                total[0] += sign * x
                total[1] += sign * y
                total[2] += sign * z
        return all(touching) and all(
            _presses(impulse, finger.entity_pose.q.tolist(), side, substep_s)
            for impulse, finger, side in zip(impulses, self.fingers, (1.0, -1.0), strict=True)
        )


class Engine:
    """K scenes of one task in this process."""

    def __init__(self, task: Task, scenes: int) -> None:
        from nnbench.tasks.headless import import_mani_skill

        import_mani_skill()
        self.task = task
        self._scenes: list[_Scene] = []
        for _ in range(scenes):
            self._scenes.append(_Scene.build(task))
            gc.freeze()  # ManiSkill collects garbage for every scene it builds: spare it the scenes that are built
        self._substeps: int = self._scenes[0].env._sim_steps_per_control
        self._substep_s: float = self._scenes[0].system.timestep

    def capture_initial_states(self, seeds: Sequence[int]) -> np.ndarray:
        """What `env.reset(seed=s)` of a single ManiSkill environment makes of the bodies, a row a seed.

        Rows (S,) float32 are joint positions (9) and the pose (7) of each of the task's bodies.
        """
        scene = self._scenes[0]
        rows = []
        for seed in seeds:
            scene.env.reset(seed=int(seed))
            poses = _poses([body.pose for body in scene.bodies])
            rows.append(np.concatenate([scene.robot.get_qpos(), poses.ravel()]))
        return np.stack(rows).astype(np.float32)

    def reset(self, initial_states: np.ndarray) -> Evaluation:
        """Put the first len(initial_states) scenes into these states, at rest."""
        for scene, row in zip(self._scenes, initial_states, strict=False):
            scene.place(row)
            # PhysX keeps the contacts of its last step, and ManiSkill's own reset of a used scene then reports a body
            # as grasped that is not. One step in the new place makes it forget them.
            scene.system.step()
            scene.place(row)
        return self._observe(len(initial_states))

    def step(self, actions: np.ndarray) -> Evaluation:
        """One control step of the first len(actions) scenes; actions (K, 8) are clamped to [-1, 1]."""
        scenes = self._scenes[: len(actions)]
        actions = np.clip(actions, -1, 1)
        # pd_joint_delta_pos: an arm joint is sent at most 0.1 rad away from where it is; the gripper's one action
        # maps [-1, 1] to finger positions [-0.01, 0.04] m.
        targets = np.empty((len(scenes), 9), np.float32)
        targets[:, :7] = self._qpos[: len(scenes), :7] + actions[:, :7] * np.float32(0.1)
        targets[:, 7:] = 0.5 * (_OPEN_M + _SHUT_M) + 0.5 * (_OPEN_M - _SHUT_M) * actions[:, 7:]
        for scene, target in zip(scenes, targets.tolist(), strict=True):
            for set_drive_target, value in zip(scene.set_drive_targets, target, strict=True):
                set_drive_target(value)
            step = scene.system.step
            for _ in range(self._substeps):
                step()
        return self._observe(len(scenes))

    def rollout(self, initial_states: np.ndarray, actor: Actor, seeds: np.ndarray, record: bool) -> Episodes:
        """Whole episodes from these initial states. Raises SimulationError on an action that is not finite."""
        scenes, horizon = len(initial_states), self.task.horizon
        observation = self.reset(initial_states).observation
        rewards = np.empty((scenes, horizon), np.float32)
        success = np.empty((scenes, horizon), bool)
        observations, executed = [observation], []
        for t in range(horizon):
            actions = actor(observation)
            if not np.isfinite(actions).all():
                row = int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])
                raise SimulationError(
                    f"{self.task.name}, episode seed {seeds[row]}, step {t}: the policy's action is not finite; "
                    "check its weights for overflowing values"
                )
            observation, rewards[:, t], success[:, t] = self.step(actions)
            if record:
                observations.append(observation)
                executed.append(actions)
        episodes = Episodes(seeds, rewards.sum(axis=1), np.any(success, axis=1), success[:, -1])
        if not record:
            return episodes
        return episodes._replace(
            observations=np.stack(observations, axis=1), actions=np.stack(executed, axis=1), rewards=rewards
        )

    def _observe(self, count: int) -> Evaluation:
        scenes = self._scenes[:count]
        self._qpos = np.array([scene.robot.get_qpos() for scene in scenes])
        state = State(
            qpos=self._qpos,
            qvel=np.array([scene.robot.get_qvel() for scene in scenes]),
            tcp_pose=_poses([scene.tcp.entity_pose for scene in scenes]),
            grasped=np.array([scene.is_grasping(self._substep_s) for scene in scenes]),
            bodies={
                name: _poses([scene.bodies[b].pose for scene in scenes]) for b, name in enumerate(self.task.bodies)
            },
        )
        return self.task.evaluate(state)


def _poses(poses: list[Any]) -> np.ndarray:
    return np.concatenate([np.array([pose.p for pose in poses]), np.array([pose.q for pose in poses])], axis=1)


def _presses(impulse: list[float], quaternion: list[float], side: float, substep_s: float) -> bool:
    """Whether the impulse of one substep is a firm push along `side` times the y axis of a link turned so."""
    magnitude = math.hypot(*impulse)
    if magnitude < 0.5 * substep_s:
        return False
    w, x, y, z = quaternion
    axis = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    return side * sum(a * i for a, i in zip(axis, impulse, strict=True)) >= _COS_85_DEGREES * magnitude


@dataclass(frozen=True)
class Rollout:
    """A work unit: up to SCENES_PER_WORKER episodes stepped together by one worker."""

    actor: Actor
    seeds: np.ndarray  # (K,) int64
    record: bool = False


class Simulator:
    """Worker processes that roll out policies in one task; use it as a context manager.

    Neither the number of workers nor the order of work changes what is asked of PhysX. PhysX itself is not quite free
    of history: where several contacts begin in one step it orders them by what the scene did before, so a few episodes
    in a hundred (3 of 64 with hypernetwork policies) have two possible outcomes. All others repeat bit for bit.
    """

    def __init__(self, task: Task, workers: int | None = None) -> None:
        workers = workers if workers is not None else (os.cpu_count() or 1)
        if workers < 1:
            raise ValueError(f"workers={workers}: expected at least 1")
        self.task = task
        self.workers = workers
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(task.name,)
        )
        with _one_blas_thread():  # one process a core: more threads would only wait for one another
            for _ in range(workers):
                self._pool.submit(os.getpid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def rollout(self, units: Iterable[Rollout]) -> Iterator[tuple[int, Episodes]]:
        """Run the units on all workers; yields (position in `units`, episodes) in the order they finish.

        Units are taken from the iterable only as workers become free, so a generator may decide on the next unit by
        the results yielded so far. Raises SimulationError when a worker dies.
        """
        pending: dict[Future[Episodes], int] = {}
        source = enumerate(units)
        exhausted = False
        try:
            while pending or not exhausted:
                while not exhausted and len(pending) < self.workers + 1:  # one waits so that no worker does
                    position, unit = next(source, (-1, None))
                    if unit is None:
                        exhausted = True
                    else:
                        pending[self._submit(unit)] = position
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield pending.pop(future), future.result()
        except BrokenProcessPool as error:
            raise _worker_died(self.task) from error
        finally:
            for future in pending:
                future.cancel()

    def episodes(self, units: Sequence[Rollout]) -> list[Episodes]:
        """All units' episodes, in the order of the units."""
        results = dict(self.rollout(units))
        return [results[position] for position in range(len(units))]

    def _submit(self, unit: Rollout) -> "Future[Episodes]":
        if not 1 <= len(unit.seeds) <= SCENES_PER_WORKER:
            raise ValueError(f"a rollout of {len(unit.seeds)} episodes: expected 1 to {SCENES_PER_WORKER}")
        return self._pool.submit(_rollout, unit)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Processes started here read 1 as their number of BLAS threads; this process has read its own long ago."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ |= dict.fromkeys(names, "1")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _worker_died(task: Task) -> SimulationError:
    return SimulationError(
        f"{task.name}: a simulation worker died (killed, out of memory, or it could not start; its own message is "
        "above). Finished work is stored; run the same command again, with fewer --workers if memory is short"
    )


_engine: Engine
"""The worker process's own engine."""
_initial_states: dict[int, np.ndarray] = {}
"""The worker's bank: what ManiSkill's reset made of each episode seed it has met. A reset costs 5 ms."""


def _start_worker(task_name: str) -> None:
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it shuts the pool down
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    global _engine
    _engine = Engine(load_task(task_name), SCENES_PER_WORKER)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # a killed parent closes no queue: without this the worker would wait for work for ever


def _rollout(unit: Rollout) -> Episodes:
    seeds = unit.seeds.tolist()
    missing = [seed for seed in seeds if seed not in _initial_states]
    if missing:
        _initial_states.update(zip(missing, _engine.capture_initial_states(missing), strict=True))
    states = np.stack([_initial_states[seed] for seed in seeds])
    return _engine.rollout(states, unit.actor, unit.seeds, unit.record)
