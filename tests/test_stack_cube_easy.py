import numpy as np

from nnbench.tasks.stack_cube_easy import STACK_CUBE_EASY, Stacking, _turned_quaternion


def test_the_teacher_lets_go_where_the_cube_is_on_the_other_and_only_there() -> None:
    observations = np.zeros((4, STACK_CUBE_EASY.observation_dim), np.float32)
    cube_to_goal = np.array([[0.01, -0.01, 0.004], [0.03, 0, 0], [0, 0, 0.006], [0, 0, -0.019]], np.float32)
    observations[:, 26:29], observations[:, 39:42] = cube_to_goal, cube_to_goal  # the cube is at the origin
    actions = Stacking(lambda rows: np.full((len(rows), 8), -1, np.float32))(observations)
    let_go = [0, 0, 0, 0, 0, 0, 0, 1]
    np.testing.assert_array_equal(actions, [let_go, [-1] * 8, [-1] * 8, let_go])


def test_the_teacher_shows_its_carrier_a_turned_scene() -> None:
    seen = []

    def carrier(rows: np.ndarray) -> np.ndarray:
        seen.append(rows)
        return np.zeros((len(rows), 8), np.float32)

    rng = np.random.default_rng(0)
    observations = rng.normal(size=(5, STACK_CUBE_EASY.observation_dim)).astype(np.float32)
    observations[:, 18] = 1  # grasped
    Stacking(carrier)(observations)
    (rows,) = seen
    np.testing.assert_allclose(rows[:, 20], 0, atol=1e-6)  # the hand straight ahead
    np.testing.assert_allclose(rows[:, 36:39], rows[:, 29:32] - rows[:, 19:22], atol=1e-6)
    for first in (22, 32):
        turned, as_it_was = (np.linalg.norm(array[:, first : first + 4], axis=1) for array in (rows, observations))
        np.testing.assert_allclose(turned, as_it_was, rtol=1e-5)
    np.testing.assert_array_equal(rows[:, 1:19], observations[:, 1:19])  # other joints and their speeds

    quarter = _turned_quaternion(np.array([[1, 0, 0, 0]], np.float32), np.array([np.pi / 2]))
    np.testing.assert_allclose(quarter, [[np.sqrt(0.5), 0, 0, np.sqrt(0.5)]], rtol=1e-6)
