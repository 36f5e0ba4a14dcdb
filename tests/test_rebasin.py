import itertools

import numpy as np
import pytest
import torch

from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import PolicyActor, Weights, flatten_weights, random_policy
from nnbench.tasks.policies.rebasin import Neurons, align, match, permute

SPLITS = load_splits()


def network(arch: tuple[int, ...], seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    weights = random_policy(arch, 42, 8, generator)
    return {k: v + 0.1 * torch.randn(v.shape, generator=generator) for k, v in weights.items()}  # biases too


def scrambled(weights: Weights, seed: int) -> tuple[Weights, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    widths = [len(value) for key, value in weights.items() if key.endswith("bias")][:-1]
    permutations = [rng.permutation(width) for width in widths]
    return permute(weights, permutations), permutations


@pytest.mark.parametrize("arch", SPLITS.train + SPLITS.unseen + SPLITS.outside)
def test_permuting_changes_no_action_and_is_found_again(arch: tuple[int, ...]) -> None:
    weights = network(arch, 0)
    other, _ = scrambled(weights, 1)
    observations = np.random.default_rng(0).standard_normal((4, 42)).astype(np.float32)
    before, after = (PolicyActor.stack([w], np.zeros(4, int), None)(observations) for w in (weights, other))
    np.testing.assert_allclose(after, before, atol=1e-6)
    restored = align(other, weights)
    assert all(torch.equal(restored[key], value) for key, value in weights.items())


def test_a_noisy_copy_is_recognised_in_any_order() -> None:
    weights = network((64, 32, 64, 16), 0)
    noise = network((64, 32, 64, 16), 5)
    noisy, _ = scrambled({key: value + 0.05 * noise[key] for key, value in weights.items()}, 2)

    def distance(one: Weights) -> float:
        return float((flatten_weights(one) - flatten_weights(weights)).norm())

    assert distance(align(noisy, weights)) < 0.1 * distance(noisy)


def test_alignment_never_moves_a_network_away() -> None:
    for seed in range(5):
        ours, theirs = network((16, 16, 32, 16), seed), network((16, 16, 32, 16), 100 + seed)
        moved = align(ours, theirs)
        before, after = (float((flatten_weights(w) - flatten_weights(theirs)).norm()) for w in (ours, moved))
        assert after < before


@pytest.mark.parametrize("seed", range(4))
def test_no_exchange_of_two_neurons_brings_unrelated_networks_nearer(seed: int) -> None:
    reference, weights = network((16, 16, 16, 16), 100 + seed), network((16, 16, 16, 16), seed)
    found = match(weights, reference)
    theirs = flatten_weights(reference).double()
    nearest = (flatten_weights(permute(weights, found)).double() - theirs).norm()
    for layer in range(4):
        for i, j in itertools.combinations(range(16), 2):
            exchanged = [order.copy() for order in found]
            exchanged[layer][[i, j]] = exchanged[layer][[j, i]]
            assert (flatten_weights(permute(weights, exchanged)).double() - theirs).norm() >= nearest - 1e-9


@pytest.mark.parametrize("arch", [(16, 32, 16, 32), (3, 2), (5,)])
def test_no_order_of_the_neurons_is_nearer_than_the_bound(arch: tuple[int, ...]) -> None:
    reference = network(arch, 0)
    for scale in (0.0, 0.1, 1.0):
        noise = network(arch, 7)
        other, _ = scrambled({key: value + scale * noise[key] for key, value in reference.items()}, 3)
        bound = Neurons.of(other).bound(Neurons.of(reference))
        if len(arch) < 3:  # every order there is
            orders = itertools.product(*(itertools.permutations(range(width)) for width in arch))
            candidates = [permute(other, [np.array(order) for order in orders_of]) for orders_of in orders]
        else:
            candidates = [align(other, reference)]
        nearest = min(float((flatten_weights(one) - flatten_weights(reference)).norm()) for one in candidates)
        assert bound <= nearest * (1 + 1e-6)
        assert bound >= (1 - 1e-6) * nearest or len(arch) > 1  # one hidden layer hides nothing
        assert bound >= 0.5 * nearest


def test_misfits_are_refused() -> None:
    weights = network((16, 16, 32, 16), 0)
    with pytest.raises(ValueError, match=r"a permutation for each of the hidden widths \[16, 16, 32, 16\]"):
        permute(weights, [np.arange(16)] * 4)
    with pytest.raises(ValueError, match="two networks of one architecture"):
        match(weights, network((16, 16, 16, 32), 0))
