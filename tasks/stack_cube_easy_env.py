"""The ManiSkill environment StackCubeEasy-v1; importing this module registers it with gymnasium.

Without Vulkan, call `nnbench.tasks.simulation.headless.import_mani_skill` before.
"""

from typing import Any

import gymnasium
import sapien
import torch
from mani_skill.envs.tasks.tabletop.stack_cube import StackCubeEnv
from mani_skill.utils import common
from mani_skill.utils.building import actors
from mani_skill.utils.registration import register_env
from mani_skill.utils.scene_builder.table import TableSceneBuilder


@register_env("StackCubeEasy-v1", max_episode_steps=50)
class StackCubeEasyEnv(StackCubeEnv):
    """StackCube-v1 with the green cube (`cubeB`) kinematic and PickCube-v1's state layout (paper, appendix B)."""

    SUPPORTED_ROBOTS = ("panda",)

    def __init__(self, *args: Any, robot_uids: str = "panda", **kwargs: Any) -> None:
        super().__init__(*args, robot_uids=robot_uids, **kwargs)

    def reset(self, seed: int | list[int] | None = None, options: dict[str, Any] | None = None) -> Any:
        # gymnasium asks that one seed fix all later episodes; ManiSkill leaves those to torch's global generator.
        gymnasium.Env.reset(self, seed=seed[0] if isinstance(seed, list) else seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        return super().reset(seed=seed, options=options)

    def _load_scene(self, options: dict[str, Any]) -> None:
        self.cube_half_size = common.to_tensor([0.02] * 3, device=self.device)
        self.table_scene = TableSceneBuilder(env=self, robot_init_qpos_noise=self.robot_init_qpos_noise)
        self.table_scene.build()
        self.cubeA = actors.build_cube(
            self.scene, half_size=0.02, color=[1, 0, 0, 1], name="cubeA", initial_pose=sapien.Pose(p=[0, 0, 0.1])
        )
        self.cubeB = actors.build_cube(
            self.scene,
            half_size=0.02,
            color=[0, 1, 0, 1],
            name="cubeB",
            body_type="kinematic",
            initial_pose=sapien.Pose(p=[1, 0, 0.1]),
        )

    def _get_obs_extra(self, info: dict[str, Any]) -> dict[str, torch.Tensor]:
        goal = self.cubeB.pose.p + torch.tensor([0, 0, 2 * float(self.cube_half_size[2])], device=self.device)
        observation = dict(is_grasped=info["is_cubeA_grasped"], tcp_pose=self.agent.tcp.pose.raw_pose, goal_pos=goal)
        if "state" in self.obs_mode:
            observation |= dict(
                obj_pose=self.cubeA.pose.raw_pose,
                tcp_to_obj_pos=self.cubeA.pose.p - self.agent.tcp.pose.p,
                obj_to_goal_pos=goal - self.cubeA.pose.p,
            )
        return observation
