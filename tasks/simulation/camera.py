"""Pictures of a task's scene at recorded states, taken by a process of its own.

This process never steps, and the workers never render. So a rollout cannot depend on whether it is filmed.
"""

import multiprocessing
import os
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from pebble import ProcessExpired, ProcessPool

from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.scene import Scene
from nnbench.tasks.simulation.vulkan import Driver, RenderError
from nnbench.tasks.simulation.workers import end_with_parent
from nnbench.tasks.task import Task

_NEAR_M, _FAR_M = 0.01, 100.0


class Camera:
    """Takes pictures of states from the task's view; use it as a context manager."""

    def __init__(self, task: Task, driver: Driver, size: int) -> None:
        self.task = task
        self.size = size
        """Pixels across and up."""
        self._driver = driver
        self._pool = ProcessPool(1, context=multiprocessing.get_context("spawn"))
        self._opened = self._pool.schedule(_open, (task.source, driver, size))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.stop()
        self._pool.join()

    def pictures(self, states: np.ndarray) -> Iterator[np.ndarray]:
        """One picture (size, size, 3) uint8 per state; rows as in `Engine.capture_initial_states`.

        The first picture waits until the scene is built and lit; without a GPU that takes half a minute. Raises
        RenderError where the driver fails.
        """
        try:
            self._opened.result()
            yield from self._pool.map(_take, list(states)).result()
        except (ProcessExpired, RuntimeError) as error:
            raise RenderError(
                f"{self._driver.device} failed to take a picture of {self.task.name} ({error}): name another driver's "
                "file in VK_ICD_FILENAMES"
            ) from error


_scene: Scene
"""The camera process's own."""
_lens: Any


def _open(task_source: str, driver: Driver, size: int) -> None:
    end_with_parent()
    driver.choose()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # drivers print there a line per call that they do not support
    global _scene, _lens
    task = load_task(task_source)
    _scene = Scene(task, visuals=True)
    import sapien.render
    from mani_skill.utils.sapien_utils import look_at

    # ManiSkill chose its fastest shaders when it built the scene.
    sapien.render.set_camera_shader_dir("default")
    sapien.render.set_picture_format("Color", "r8g8b8a8unorm")
    _lens = _scene.world.add_camera("film", size, size, task.view.field_rad, _NEAR_M, _FAR_M)
    _lens.entity.set_pose(look_at(task.view.eye, task.view.target).sp)


def _take(state: np.ndarray) -> np.ndarray:
    _scene.pose(state)
    _scene.world.update_render()
    _lens.take_picture()
    return np.ascontiguousarray(_lens.get_picture("Color")[:, :, :3])
