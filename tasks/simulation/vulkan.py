"""Find a Vulkan driver that takes pictures, on a GPU or computed on the CPU.

SAPIEN 3.0.3 renders through SwiftShader, which comes with Chromium, and through Mesa's lavapipe from some version on:
25.0 works, 22.3 is refused.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from nnbench.errors import NnbenchError

_CHOICES = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
"""These tell Vulkan's loader which drivers there are."""

_SWIFTSHADER = tuple(
    Path(folder) / "vk_swiftshader_icd.json"
    for folder in (
        "/usr/lib/chromium",
        "/usr/lib/chromium-browser",
        "/usr/lib64/chromium-browser",
        "/opt/google/chrome",
    )
)
"""Chromium keeps its driver where no loader looks."""

_PATIENCE_S = 120

_TRIAL = """
import sapien.render
sapien.render.set_camera_shader_dir("trivial")  # the others take a CPU half a minute to prepare
scene = sapien.Scene([sapien.physx.PhysxCpuSystem(), sapien.render.RenderSystem()])
box = scene.create_actor_builder()
box.initial_pose = sapien.Pose([2, 0, 0])
box.add_box_visual(half_size=[0.2] * 3, material=sapien.render.RenderMaterial(base_color=[1, 0, 0, 1]))
box.build_kinematic()
camera = scene.add_camera("camera", 32, 32, 1.0, 0.1, 10.0)
scene.update_render()
camera.take_picture()
picture = camera.get_picture("Color")
middle, corner = picture[16, 16, :3].tolist(), picture[0, 0, :3].tolist()
assert middle[0] > 0 and middle[1:] == [0, 0] and corner == [0, 0, 0], f"a red box comes out as {middle} on {corner}"
print(scene.render_system.device.name)
"""


class RenderError(NnbenchError, RuntimeError):
    """Pictures cannot be taken. Names the reason and the remedy."""


@dataclass(frozen=True)
class Driver:
    """A Vulkan driver that took a correct picture."""

    device: str
    """As the driver calls it."""
    files: Path | None
    """The driver's description where Vulkan's loader does not find it by itself."""

    def choose(self) -> None:
        """Make it the driver of this process, before SAPIEN is imported."""
        if self.files is not None:
            os.environ["VK_ICD_FILENAMES"] = str(self.files)


def find_driver() -> Driver:
    """The first driver that takes a correct picture: one that Vulkan's loader finds, else Chromium's SwiftShader.

    Takes some seconds. Raises RenderError where none does.
    """
    told = [name for name in _CHOICES if os.environ.get(name)]
    candidates = [None] if told else [None, *(path for path in _SWIFTSHADER if path.exists())]
    reasons = []
    for files in candidates:
        succeeded, said = _try(files)
        if succeeded:
            return Driver(said, files)
        reasons.append(said)
    if told:
        remedy = f"it was told by {' and '.join(told)} which to take: unset that, or name a driver that works"
    else:
        remedy = (
            "with a GPU install its driver and `libvulkan1`; without one install `chromium`, for its SwiftShader, or "
            "`mesa-vulkan-drivers` 25 or later"
        )
    raise RenderError(f"no Vulkan device takes pictures ({'; '.join(dict.fromkeys(reasons))}): {remedy}")


def _try(files: Path | None) -> tuple[bool, str]:
    """Whether a picture came out right, and the last line printed: the device's name, or the reason of the failure."""
    environment = dict(os.environ) | ({"VK_ICD_FILENAMES": str(files)} if files else {})
    command = [sys.executable, "-W", "ignore", "-c", _TRIAL]
    try:  # in a process of its own, because a failing driver can end its process
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return False, f"no picture within {_PATIENCE_S} s"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"exit code {done.returncode}"
