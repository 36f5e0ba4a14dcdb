"""Pictures show the states that were recorded, and finding a driver ends in one or in a remedy."""

from pathlib import Path

import numpy as np
import pytest

from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation import vulkan
from nnbench.tasks.simulation.camera import Camera
from nnbench.tasks.simulation.engine import Engine
from nnbench.tasks.simulation.scene import Scene
from nnbench.tasks.simulation.vulkan import Driver, RenderError, find_driver
from nnbench.tasks.task import Task, View

TASKS = ("PickCube-v1", "PushCube-v1", "StackCubeEasy-v1")
TCP = {"PickCube-v1": 19, "PushCube-v1": 18, "StackCubeEasy-v1": 19}  # where the observation has the hand's pose


def _seen_at(view: View, positions: np.ndarray) -> np.ndarray:
    """(N, 3) to (N, 2): right and down, from -1 to 1 in a picture."""
    ahead = np.subtract(view.target, view.eye)
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0, 0, 1])
    right /= np.linalg.norm(right)
    offset = positions - np.array(view.eye)
    sideways = np.stack([offset @ right, offset @ np.cross(ahead, right)], axis=1)
    return sideways / (offset @ ahead)[:, None] / np.tan(view.field_rad / 2)


def _positions(task: Task, states: np.ndarray) -> dict[str, np.ndarray]:
    return {name: states[:, 9 + 7 * b : 12 + 7 * b] for b, name in enumerate(task.bodies)}


@pytest.mark.parametrize("name", TASKS)
def test_a_posed_scene_is_where_the_episode_was(name: str) -> None:
    task = load_task(name)
    engine, seeds = Engine(task, 2), np.arange(40, 42)
    wild = np.random.default_rng(0)

    def act(observation: np.ndarray) -> np.ndarray:
        return wild.uniform(-1, 1, (len(observation), 8)).astype(np.float32)

    initial = engine.capture_initial_states(seeds.tolist())
    episodes = engine.rollout(initial, act, seeds, record=True)
    states, observations = episodes.states, episodes.observations
    assert states is not None and observations is not None and states.shape == (2, 51, 9 + 7 * len(task.bodies))
    np.testing.assert_array_equal(states[:, 0], initial)
    np.testing.assert_array_equal(states[:, :, :9], observations[:, :, :9])
    scene, tcp = Scene(task), TCP[name]
    for t in (50, 3, 27):  # in no order: a picture does not depend on the one before
        scene.pose(states[1, t])
        np.testing.assert_array_equal(scene.robot.get_qpos(), states[1, t, :9])
        hand = np.concatenate([scene.tcp.entity_pose.p, scene.tcp.entity_pose.q])
        np.testing.assert_allclose(hand, observations[1, t, tcp : tcp + 7], atol=1e-5)
        for b, body in enumerate(scene.bodies.values()):
            pose = np.concatenate([body.entity_pose.p, body.entity_pose.q])
            np.testing.assert_allclose(pose, states[1, t, 9 + 7 * b : 16 + 7 * b], atol=1e-6)
    # Everything that an episode places is in sight, the edge of PushCube's target too.
    placed = _positions(task, engine.capture_initial_states(range(40)))
    for body, positions in placed.items():
        radius = 0.1 if body == "goal_region" else 0.02
        edges = [positions + radius * np.array(offset) for offset in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))]
        assert np.abs(_seen_at(task.view, np.concatenate(edges))).max() < 1, body


def test_a_picture_shows_the_cube_where_the_state_has_it(camera: Camera) -> None:
    states = np.zeros((4, 23), np.float32)
    states[:, :9] = [0.0, 0.4, 0.0, -1.95, 0.0, 2.35, 0.8, 0.04, 0.04]
    states[:, [12, 19]] = 1  # quaternions
    states[:, 9:12] = [(0.1, 0.1, 0.02), (-0.1, 0.1, 0.02), (0.1, -0.1, 0.02), (0.1, 0.1, 0.02)]
    states[:, 18] = 5  # the goal out of sight
    pictures = list(camera.pictures(states))
    assert all(picture.shape == (camera.size, camera.size, 3) and picture.dtype == np.uint8 for picture in pictures)
    expected = (_seen_at(camera.task.view, states[:, 9:12]) + 1) * camera.size / 2
    for picture, (across, down) in zip(pictures, expected, strict=True):
        red, green, blue = picture.astype(int).transpose(2, 0, 1)
        rows, columns = np.nonzero((red > 100) & (green < 60) & (blue < 60))
        assert len(rows) > 20
        np.testing.assert_allclose((columns.mean(), rows.mean()), (across, down), atol=3)
    np.testing.assert_array_equal(pictures[0], pictures[3])


def test_a_driver_that_cannot_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VK_ICD_FILENAMES", raising=False)
    monkeypatch.setenv("VK_DRIVER_FILES", str(tmp_path / "nothing.json"))
    with pytest.raises(RenderError, match=r"failed to find a rendering device\): it was told by VK_DRIVER_FILES which"):
        find_driver()
    with Camera(load_task("PickCube-v1"), Driver("a card", None), 32) as camera:
        with pytest.raises(RenderError, match="a card failed to take a picture of PickCube-v1 .*VK_ICD_FILENAMES"):
            next(camera.pictures(np.zeros((1, 23), np.float32)))


def test_chromiums_driver_is_tried_where_the_loader_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    swiftshader = tmp_path / "vk_swiftshader_icd.json"
    swiftshader.touch()
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(vulkan, "_SWIFTSHADER", (tmp_path / "absent.json", swiftshader))
    tried = []

    def try_driver(works: bool) -> None:
        def answer(files: Path | None) -> tuple[bool, str]:
            tried.append(files)
            return (True, "SwiftShader") if works and files else (False, "no device")

        monkeypatch.setattr(vulkan, "_try", answer)

    try_driver(works=True)
    assert find_driver() == Driver("SwiftShader", swiftshader) and tried == [None, swiftshader]
    try_driver(works=False)
    with pytest.raises(RenderError, match=r"\(no device\): with a GPU .* without one install `chromium`"):
        find_driver()
