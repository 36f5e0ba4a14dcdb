import numpy as np
import pytest
import torch

from nnbench.harness.conformance import toy_training_set
from nnbench.harness.novelty import ActionBank, Lookalike, act, nearest_by_weights, spread_by_weights
from nnbench.tasks.policies.mlp import PolicyActor, Weights, random_policy
from nnbench.tasks.policies.rebasin import permute

ARCH = (16, 32, 16, 32)


def network(seed: int, arch: tuple[int, ...] = ARCH) -> Weights:
    return random_policy(arch, 42, 8, torch.Generator().manual_seed(seed))


def reordered(weights: Weights) -> Weights:
    rng = np.random.default_rng(0)
    return permute(weights, [rng.permutation(width) for width in ARCH])


POLICIES = {seed: network(seed) for seed in (11, 5, 42)}


def test_a_reordered_copy_is_no_novelty() -> None:
    assert nearest_by_weights(reordered(network(5)), POLICIES) == (5, 0.0)
    assert nearest_by_weights(network(9), POLICIES).distance > 0.8 * spread_by_weights(POLICIES) > 1


def test_a_bound_never_hides_the_nearest() -> None:
    many = {seed: network(seed) for seed in range(12)}
    for sample in (network(99), {key: 0.5 * value for key, value in network(98).items()}, reordered(network(3))):
        every = {seed: nearest_by_weights(sample, {seed: policy}).distance for seed, policy in many.items()}
        found = nearest_by_weights(sample, many)
        assert found.distance == min(every.values()) and every[found.seed] == found.distance


def test_equally_near_policies_name_the_lowest_seed() -> None:
    assert nearest_by_weights(network(1), {9: network(0), 2: network(0)}).seed == 2
    assert nearest_by_weights(network(0), {9: network(0), 2: network(0)}).seed == 2


def test_unusable_policies_are_refused() -> None:
    with pytest.raises(ValueError, match="no policies"):
        nearest_by_weights(network(0), {})
    with pytest.raises(ValueError, match="the sample has"):
        nearest_by_weights(network(0), {3: network(0, (16, 16, 16, 16))})


def test_spread_is_to_another() -> None:
    distances = [
        nearest_by_weights(POLICIES[a], {b: POLICIES[b] for b in POLICIES if b != a}).distance for a in POLICIES
    ]
    assert spread_by_weights(POLICIES) == pytest.approx(np.median(distances))
    assert np.isnan(spread_by_weights({0: network(0)}))


def test_actions_are_the_simulators() -> None:
    states = torch.randn(10, 42, generator=torch.Generator().manual_seed(0)) * 3
    theirs = PolicyActor.stack([network(0)], np.zeros(10, int), None)(states.numpy()).clip(-1, 1)
    torch.testing.assert_close(act(network(0), states), torch.from_numpy(theirs), atol=1e-5, rtol=1e-5)
    assert act(network(0), states).abs().max() == 1


def test_who_acts_alike_is_found_in_any_architecture() -> None:
    training = toy_training_set()
    states = torch.randn(20, 42, generator=torch.Generator().manual_seed(0))
    bank = ActionBank.of(training, states)
    assert bank.actions.shape == (24, 20, 8)
    arch = training.architectures[2]
    known = training.networks(arch)[3]
    nudged = {key: value + 1e-4 for key, value in known.items()}
    copy, fresh = bank.nearest(nudged), bank.nearest(network(9))
    assert copy[:2] == (arch, 3) and copy.distance < 0.01 * bank.spread
    assert isinstance(fresh, Lookalike) and fresh.distance > bank.spread > 0.1
