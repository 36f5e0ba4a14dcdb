"""One scene that ManiSkill builds: its environment, and the handles that the engine reads and writes every step."""

import importlib
import math
from typing import Any

import numpy as np

from nnbench.tasks.task import Task

_COS_85_DEGREES = math.cos(math.radians(85))


def make_environment(task: Task, *, visuals: bool = False) -> Any:
    """ManiSkill's own environment of the task on the CPU; with visuals if pictures are to be taken of it."""
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
        num_envs=1,
        sim_backend="physx_cpu",
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
        # A body further from the hand cannot touch the fingers, which are open after a reset.
        tcp = self.tcp.entity_pose.p
        self.reach_m = 0.0
        if self.grasped is not None:
            body = _radius(self.grasped, self.grasped.entity_pose.p)
            self.reach_m = body + max(_radius(finger, tcp) for finger in self.fingers)

    def place(self, initial_state: np.ndarray) -> None:
        """Put robot and bodies, at rest, where a row of `Engine.capture_initial_states` says.

        Everything moves into a PhysX scene that was never stepped, because a used scene remembers. It keeps its last
        step's contacts until the next step, and it solves contacts that begin together in an order that depends on
        earlier ones.
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
        """Put robot and bodies, at rest, where such a row says, in the scene as it is; enough for a picture."""
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

        Plain floats: this runs once per scene and control step, on a dozen numbers, where numpy is ten times slower.
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


def _radius(body: Any, centre: np.ndarray) -> float:
    """Within this distance (m) of `centre` lies all of the body's bounding box."""
    low, high = body.get_global_aabb_fast()
    return float(np.linalg.norm(np.maximum(np.abs(low - centre), np.abs(high - centre))))


def _presses(impulse: list[float], quaternion: list[float], side: float, substep_s: float) -> bool:
    """Whether the impulse of one substep is a firm push along `side` times the y axis of a link turned so."""
    magnitude = math.hypot(*impulse)
    if magnitude < 0.5 * substep_s:
        return False
    w, x, y, z = quaternion
    axis = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    return side * sum(a * i for a, i in zip(axis, impulse, strict=True)) >= _COS_85_DEGREES * magnitude
