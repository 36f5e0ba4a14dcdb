"""Many ManiSkill-built scenes of one task, stepped together by PhysX in this process.

ManiSkill builds every scene and resets it once a seed; PhysX steps it; observation, reward and success are computed
for all scenes at once. `tests/test_engine.py` holds the result against `env.step`.

K is the number of scenes stepped together, T the horizon, O and A the observation and action dimensions.
"""

import gc
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nnbench.tasks.policies.mlp import Actor
from nnbench.tasks.policies.standardiser import Standardiser, load_standardiser

_OPEN_M, _SHUT_M = np.float32(0.04), np.float32(-0.01)
_COS_85_DEGREES = math.cos(math.radians(85))


class State(NamedTuple):
    """What the bodies of K scenes are doing; all float32 unless said otherwise."""

    qpos: np.ndarray  # (K, 9) rad, fingers m
    qvel: np.ndarray  # (K, 9) rad/s, fingers m/s
    tcp_pose: np.ndarray  # (K, 7) position m, quaternion wxyz
    grasped: np.ndarray  # (K,) bool
    poses: dict[str, np.ndarray]  # body to (K, 7)
    velocities: dict[str, np.ndarray]  # body to (K, 6) linear m/s, angular rad/s


class Evaluation(NamedTuple):
    """What a task makes of a state."""

    observation: np.ndarray  # (K, O) float32
    reward: np.ndarray  # (K,) float32 in [0, 1]
    success: np.ndarray  # (K,) bool


def closeness(distance_m: np.ndarray) -> np.ndarray:
    """1 where there is no distance, falling to 0: the shape of most terms of ManiSkill's dense rewards."""
    return 1 - np.tanh(5 * distance_m)


class View(NamedTuple):
    """Where pictures are taken from, so that everything an episode places is in sight; positions in metres."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    field_rad: float
    """Opening angle, across and up."""


@dataclass(frozen=True)
class Task:
    """A ManiSkill task with the Panda arm: which bodies to read, and what is made of them."""

    name: str
    observation_dim: int
    action_dim: int
    horizon: int
    """Control steps an episode; none ends earlier."""
    bodies: tuple[str, ...]
    """Attributes of the ManiSkill environment: everything that an episode places, and whose poses the task reads."""
    evaluate: Callable[[State], Evaluation]
    view: View
    grasped: str | None = None
    """The body of which `State.grasped` speaks; without one it is false."""
    velocities: tuple[str, ...] = ()
    """Those of the bodies whose velocities the task reads."""
    registers: str | None = None
    """Module whose import registers the environment with gymnasium, where ManiSkill does not."""
    teacher: Callable[[Actor], Actor] | None = None
    """What makes of another task's expert one that now and then succeeds here too, for a new expert to begin with."""

    @property
    def source(self) -> str:
        """What `load_task` takes in any process."""
        return self.name

    @property
    def standardiser(self) -> Standardiser:
        """What this task's policies read."""
        return load_standardiser(self.name)


class Episodes(NamedTuple):
    """Finished episodes, row by row in the order of the seeds asked for."""

    seeds: np.ndarray  # (N,) int64
    returns: np.ndarray  # (N,) float32, sum of the normalised dense reward
    success_once: np.ndarray  # (N,) bool
    success_at_end: np.ndarray  # (N,) bool
    observations: np.ndarray | None = None  # (N, T + 1, O)
    actions: np.ndarray | None = None  # (N, T, A), before clamping
    rewards: np.ndarray | None = None  # (N, T)
    states: np.ndarray | None = None  # (N, T + 1, S) float32, rows as of `Engine.capture_initial_states`


class SimulationError(RuntimeError):
    """A rollout that cannot be trusted or finished."""


def check_actions(task: Task, actions: np.ndarray, seeds: np.ndarray, t: int) -> None:
    """Raises SimulationError on an action that is not finite or of another shape than (K, A)."""
    if actions.shape != (len(seeds), task.action_dim):
        raise SimulationError(
            f"{task.name}: the policy's actions have shape {actions.shape}, expected {(len(seeds), task.action_dim)}; "
            "is it a policy of another task?"
        )
    finite = np.isfinite(actions).all(axis=1)
    if not finite.all():
        raise SimulationError(
            f"{task.name}, episode seed {seeds[np.argmin(finite)]}, step {t}: the policy's action is not finite; "
            "check its weights for overflowing values"
        )


def summarise(
    seeds: np.ndarray,
    observations: list[np.ndarray],
    actions: list[np.ndarray],
    rewards: np.ndarray,
    success: np.ndarray,
    record: bool,
    states: list[np.ndarray] | None = None,
) -> Episodes:
    """Episodes from T + 1 observations (K, O), T actions (K, A), rewards and successes (K, T), T + 1 states (K, S)."""
    episodes = Episodes(seeds, rewards.sum(axis=1), np.any(success, axis=1), success[:, -1])
    if not record:
        return episodes
    return episodes._replace(
        observations=np.stack(observations, axis=1),
        actions=np.stack(actions, axis=1),
        rewards=rewards,
        states=np.stack(states, axis=1) if states is not None else None,
    )


def make_environment(task: Task, count: int = 1, backend: str = "physx_cpu", *, visuals: bool = False) -> Any:
    """ManiSkill's own environment of the task, `count` of them in one on a GPU; with visuals where it is to be seen."""
    from nnbench.tasks.simulation.headless import import_mani_skill, import_mani_skill_with_visuals

    if visuals:
        import_mani_skill_with_visuals()
    else:
        import_mani_skill()
    import gymnasium

    if task.registers is not None:
        importlib.import_module(task.registers)
    env = gymnasium.make(
        task.name,
        obs_mode="state",
        control_mode="pd_joint_delta_pos",
        num_envs=count,
        sim_backend=backend,
        render_backend="none",
        enable_shadow=visuals,
    ).unwrapped
    env.reset(seed=0)
    return env


class Scene:
    """Handles of one ManiSkill scene that the engine reads and writes every step."""

    def __init__(self, task: Task, *, visuals: bool = False) -> None:
        env = make_environment(task, visuals=visuals)
        robot = env.agent.robot._objs[0]
        self.world: Any = env.scene.sub_scenes[0]
        self.system: Any = env.scene.px
        self.substeps: int = env._sim_steps_per_control
        self.robot: Any = robot
        self.set_drive_targets: list[Any] = [joint.set_drive_target for joint in robot.active_joints]
        self.tcp: Any = env.agent.tcp._objs[0]
        self.fingers = env.agent.finger1_link._objs[0], env.agent.finger2_link._objs[0]
        self.bodies: dict[str, Any] = {name: getattr(env, name)._bodies[0] for name in task.bodies}
        self.grasped: Any = getattr(env, task.grasped)._bodies[0] if task.grasped else None
        # Further from the hand than this the body cannot touch the fingers, open as they are after a reset.
        tcp = self.tcp.entity_pose.p
        self.reach_m = 0.0
        if self.grasped is not None:
            body = _radius(self.grasped, self.grasped.entity_pose.p)
            self.reach_m = body + max(_radius(finger, tcp) for finger in self.fingers)

    def place(self, initial_state: np.ndarray) -> None:
        """Put robot and bodies, at rest, where a row of `Engine.capture_initial_states` says.

        Everything moves into a PhysX scene that was never stepped. A used one remembers: its contacts are those of its
        last step until the next, and contacts that begin together are solved in an order that depends on earlier ones.
        """
        import sapien

        system = sapien.physx.PhysxCpuSystem()
        system.timestep = self.system.timestep
        world = sapien.Scene([system])
        entities = list(self.world.entities)  # in the order ManiSkill added them
        for entity in entities:
            entity.remove_from_scene()
        for entity in entities:
            world.add_entity(entity)
        self.world, self.system = world, system
        self.pose(initial_state)

    def pose(self, state: np.ndarray) -> None:
        """Put robot and bodies, at rest, where such a row says, for a picture."""
        import sapien

        still = np.zeros(9, np.float32)
        self.robot.set_qpos(state[:9])
        self.robot.set_qvel(still)
        self.robot.set_qf(still)
        for b, body in enumerate(self.bodies.values()):
            pose = state[9 + 7 * b : 16 + 7 * b]
            body.entity.set_pose(sapien.Pose(pose[:3], pose[3:]))
            if not body.kinematic:
                body.set_linear_velocity([0.0, 0.0, 0.0])
                body.set_angular_velocity([0.0, 0.0, 0.0])

    def is_grasping(self) -> bool:
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
            _presses(impulse, finger.entity_pose.q.tolist(), side, self.system.timestep)
            for impulse, finger, side in zip(impulses, self.fingers, (1.0, -1.0), strict=True)
        )


class Engine:
    """K scenes of one task in this process."""

    def __init__(self, task: Task, scenes: int) -> None:
        self.task, self.scenes = task, scenes
        self.environment = make_environment(task)
        """ManiSkill's own environment, which the engine resets for initial states and never steps."""
        self._scenes: list[Scene] = []
        for _ in range(scenes):
            self._scenes.append(Scene(task))
            gc.freeze()  # ManiSkill collects garbage for every scene it builds: spare it the scenes that are built

    def capture_initial_states(self, seeds: Sequence[int]) -> np.ndarray:
        """What `env.reset(seed=s)` of a single ManiSkill environment makes of the bodies, a row a seed.

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

        Raises SimulationError on an action that is not finite or of another shape.
        """
        observations, executed, rewards, success = [self.reset(initial_states).observation], [], [], []
        states = [self._states]
        for t in range(self.task.horizon):
            actions = actor(observations[-1])
            check_actions(self.task, actions, seeds, t)
            observation, reward, succeeded = self.step(actions)
            observations.append(observation)
            executed.append(actions)
            rewards.append(reward)
            success.append(succeeded)
            states.append(self._states)
        scored = np.stack(rewards, axis=1), np.stack(success, axis=1)
        return summarise(seeds, observations, executed, *scored, record, states)

    def observe(self, count: int) -> Evaluation:
        """What the task makes of the first `count` scenes as they are now."""
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


def _poses(poses: list[Any]) -> np.ndarray:
    return np.concatenate([np.array([pose.p for pose in poses]), np.array([pose.q for pose in poses])], axis=1)


def _radius(body: Any, centre: np.ndarray) -> float:
    """Within this distance (m) of `centre` lies all of the body's bounding box."""
    low, high = body.get_global_aabb_fast()
    return float(np.linalg.norm(np.maximum(np.abs(low - centre), np.abs(high - centre))))


def _velocities(bodies: list[Any]) -> np.ndarray:
    linear, angular = [body.linear_velocity for body in bodies], [body.angular_velocity for body in bodies]
    return np.concatenate([np.array(linear), np.array(angular)], axis=1)


def _presses(impulse: list[float], quaternion: list[float], side: float, substep_s: float) -> bool:
    """Whether the impulse of one substep is a firm push along `side` times the y axis of a link turned so."""
    magnitude = math.hypot(*impulse)
    if magnitude < 0.5 * substep_s:
        return False
    w, x, y, z = quaternion
    axis = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    return side * sum(a * i for a, i in zip(axis, impulse, strict=True)) >= _COS_85_DEGREES * magnitude
