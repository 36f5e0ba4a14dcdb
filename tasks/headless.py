"""Simulation on a machine without Vulkan or a GPU.

ManiSkill 3.0.1 builds visual materials even with `render_backend="none"`, and SAPIEN then asks for a rendering device.
Physics needs neither, so both are replaced before the first scene is built.
"""

import os
import warnings
from functools import cache
from typing import Any


class _NoMaterial:
    """Stands where ManiSkill describes how a body looks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


def _add_nothing(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self


@cache
def import_mani_skill() -> None:
    """Import ManiSkill so that its environments build without visuals. Once a process; later calls do nothing."""
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
