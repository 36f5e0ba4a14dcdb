import numpy as np
import pytest
import torch

from nnbench.check import toy_training_set
from nnbench.novelty import ActionBank, Neighbour, act, nearest_by_weights, spread_by_weights
from nnbench.tasks.permutation import permute
from nnbench.tasks.policy import PolicyActor, Weights, random_policy

ARCH = (16, 32, 16, 32)


def network(seed: int, arch: tuple[int, ...] = ARCH) -> Weights:
    return random_policy(arch, 42, 8, torch.Generator().manual_seed(seed))


def reordered(weights: Weights) -> Weights:
    rng = np.random.default_rng(0)
    return permute(weights, [rng.permutation(width) for width in ARCH])


TRAINING = {(ARCH, seed): network(seed) for seed in range(3)}


def test_a_reordered_copy_is_no_novelty() -> None:
    copy, fresh = nearest_by_weights([reordered(network(1)), network(9)], TRAINING)
    assert copy == Neighbour((ARCH, 1), 0.0)
    assert fresh.distance > 0.8 * spread_by_weights(TRAINING) > 1


def test_spread_is_between_different_hypernetworks() -> None:
    twins = TRAINING | {((64, 64, 64, 64), seed): weights for (_, seed), weights in TRAINING.items()}
    assert spread_by_weights(twins) == pytest.approx(spread_by_weights(TRAINING))
    assert np.isnan(spread_by_weights({(ARCH, 0): network(0)}))


def test_actions_are_the_simulators() -> None:
    states = torch.randn(10, 42, generator=torch.Generator().manual_seed(0)) * 3
    theirs = PolicyActor.stack([network(0)], np.zeros(10, int))(states.numpy()).clip(-1, 1)
    torch.testing.assert_close(act(network(0), states), torch.from_numpy(theirs), atol=1e-5, rtol=1e-5)
    assert act(network(0), states).abs().max() == 1


def test_who_acts_alike_is_found_in_any_architecture() -> None:
    training = toy_training_set(reads_ghn=False)
    states = torch.randn(20, 42, generator=torch.Generator().manual_seed(0))
    bank = ActionBank.of(training, states)
    assert bank.actions.shape == (24, 20, 8)
    arch = training.architectures[2]
    known = training.networks(arch)[3]
    nudged = {key: value + 1e-4 for key, value in known.items()}
    copy, fresh = bank.nearest([nudged, network(9)])
    assert copy.origin == (arch, 3) and copy.distance < 0.01 * bank.spread()
    assert fresh.distance > bank.spread() > 0.1
