from dataclasses import replace

import pytest

from nnbench.errors import InputError
from nnbench.tasks.registry import TASKS
from nnbench.tasks.task import Task
from nnbench.tasks.zoo.ghn import GHNEnsemble
from nnbench.tasks.zoo.presets import preset


@pytest.mark.parametrize(
    ("task", "iterations", "beta", "architectures"),
    [("PickCube-v1", 500, 0.97, 8), ("PushCube-v1", 500, 0.97, 8), ("StackCubeEasy-v1", 1500, 0.98, 16)],
)
def test_the_papers_preset_is_its_table_5(task: str, iterations: int, beta: float, architectures: int) -> None:
    count, config = preset("paper", TASKS[task])
    dagger = config.dagger
    assert count == 128 and config.pool is None and config.architectures == "train"
    assert (dagger.iterations, dagger.beta, dagger.architectures) == (iterations, beta, architectures)
    assert (dagger.learning_rate, dagger.final_learning_rate, dagger.buffer) == (1e-3, 7e-4, 1_000_000)
    assert dagger.architectures * dagger.batch == 4096


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_papers_hypernetworks_can_be_built_and_write_policies(task: Task) -> None:
    _, config = preset("paper", task)
    ensemble = GHNEnsemble([0], task.observation_dim, task.action_dim, config.ghn)
    written = ensemble.policies((32, 16, 64, 32))[0]
    assert written["8.weight"].shape == (8, 32)
    assert ensemble.get_parameter("weight_decoder.2.weight").shape == (1, 128, 64 * 64)  # HyperPPO's channels


def test_the_upsampling_decoder_learns_from_the_same_states_for_longer() -> None:
    (count, config), (_, plain) = preset("upsample", TASKS["PickCube-v1"]), preset("cpu", TASKS["PickCube-v1"])
    assert count == 8 and config.ghn.decoder == "upsample" and config.pool is not None and plain.pool is not None
    assert config.pool.updates > plain.pool.updates
    assert (config.dagger, config.pool.episodes, config.pool.betas, config.pool.noises) == (
        plain.dagger,
        plain.pool.episodes,
        plain.pool.betas,
        plain.pool.noises,
    )


def test_a_task_that_the_paper_does_not_have_is_refused() -> None:
    mine = replace(TASKS["PickCube-v1"], name="Mine-v1", paper_dagger=None)
    assert preset("cpu", mine)[0] == 32
    with pytest.raises(InputError, match="Mine-v1: the paper trains no .* choose the preset cpu"):
        preset("paper", mine)
