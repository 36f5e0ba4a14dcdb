import numpy as np

from nnbench.tasks.stack_cube_easy import STACK_CUBE_EASY, LettingGo


def test_the_teacher_lets_go_where_the_cube_is_on_the_other_and_only_there() -> None:
    observations = np.zeros((4, STACK_CUBE_EASY.observation_dim), np.float32)
    observations[:, 39:42] = [[0.02, -0.02, 0.004], [0.04, 0, 0], [0, 0, 0.006], [0, 0, -0.004]]
    actions = LettingGo(lambda rows: np.full((len(rows), 8), -1, np.float32))(observations)
    let_go = [0, 0, 0, 0, 0, 0, 0, 1]
    np.testing.assert_array_equal(actions, [let_go, [-1] * 8, [-1] * 8, let_go])
