"""ManiSkill on a machine without Vulkan or a GPU, and with a Vulkan device that is not CUDA's.

ManiSkill 3.0.1 builds visual materials even with `render_backend="none"`, and SAPIEN then asks for a rendering device.
Physics needs neither, so both are replaced before the first scene is built. A process imports ManiSkill with visuals or
without, never both.
"""

import os
import warnings
from dataclasses import replace
from functools import cache
from typing import Any


class _NoMaterial:
    """Takes the place of ManiSkill's descriptions of how a body looks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


def _add_nothing(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self


@cache
def import_mani_skill() -> None:
    """Import ManiSkill so that its environments build without visuals. Once per process; later calls do nothing."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    with warnings.catch_warnings():
        # SAPIEN warns of missing Vulkan libraries on import; nothing here renders.
        warnings.simplefilter("ignore")
        import sapien.render
        from sapien.wrapper.actor_builder import ActorBuilder

        sapien.render.RenderMaterial = _NoMaterial
        for name in dir(ActorBuilder):
            if name.startswith("add_") and "visual" in name:
                setattr(ActorBuilder, name, _add_nothing)
        import mani_skill.envs  # noqa: F401


@cache
def import_mani_skill_with_visuals() -> None:
    """Import ManiSkill so that its environments have visuals, on the rendering device that SAPIEN prefers.

    Raises RuntimeError where SAPIEN finds no device.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SAPIEN brings its own Vulkan loader and says so
        import sapien.render
        from mani_skill.envs import sapien_env

        device = sapien.render.RenderSystem().device
        parse = sapien_env.parse_sim_and_render_backend

        def parse_and_choose(simulation: str, rendering: str) -> Any:
            return replace(parse(simulation, rendering), render_device=device)

        # Devices other than CUDA's are named pci:0000:00:00.0, and ManiSkill's parser stops at the second colon.
        sapien_env.parse_sim_and_render_backend = parse_and_choose
