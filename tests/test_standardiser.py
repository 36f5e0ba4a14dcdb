import numpy as np
import pytest
import torch

from nnbench.tasks.policies.mlp import PolicyActor, random_policy
from nnbench.tasks.policies.standardiser import LEAST_SCALE, Standardiser
from nnbench.tasks.registry import TASKS
from nnbench.tasks.task import Task


def test_observations_become_as_large_as_each_other_and_what_stands_still_is_not_blown_up() -> None:
    rng = np.random.default_rng(0)
    observations = rng.normal([2.5, -1.0, 0.3], [0.2, 3.0, 1e-6], (5000, 3)).astype(np.float32)
    standardised = Standardiser.of(observations)(observations)
    assert standardised.dtype == np.float32
    np.testing.assert_allclose(standardised[:, :2].mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(standardised[:, :2].std(axis=0), 1, atol=1e-3)
    assert standardised[:, 2].std() < 2e-6 / LEAST_SCALE


def test_a_policy_reads_what_the_standardiser_gives() -> None:
    rng = np.random.default_rng(0)
    observations = rng.normal(rng.normal(size=42), rng.uniform(0.05, 2, 42), (25, 42)).astype(np.float32)
    standardiser = Standardiser.of(observations)
    policies = [random_policy(arch, 42, 8, torch.Generator().manual_seed(0)) for arch in ((16, 32, 64, 16), (64,) * 4)]
    index = np.arange(25) % 2
    acted = PolicyActor.stack(policies, index, standardiser)(observations)
    np.testing.assert_allclose(acted, PolicyActor.stack(policies, index, None)(standardiser(observations)), atol=1e-5)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_task_has_one_of_its_own_size(task: Task) -> None:
    assert task.standardiser.mean.shape == task.standardiser.scale.shape == (task.observation_dim,)
    assert (task.standardiser.scale >= LEAST_SCALE).all()


def test_other_numbers_are_another_standardiser() -> None:
    ours = TASKS["PickCube-v1"].standardiser
    assert Standardiser(ours.mean, ours.scale.copy()).sha256 == ours.sha256
    assert Standardiser(ours.mean + 1e-4, ours.scale).sha256 != ours.sha256
    assert TASKS["StackCubeEasy-v1"].standardiser.sha256 != ours.sha256
