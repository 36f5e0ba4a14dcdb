from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nnbench.harness.conformance import toy_training_set
from nnbench.harness.novelty import (
    ActionBank,
    Lookalike,
    Novelty,
    Padded,
    act,
    nearest_by_weights,
    spread_at_most,
    spread_by_weights,
)
from nnbench.store.schemas import FAR
from nnbench.tasks.policies.architectures import architecture_name, load_splits
from nnbench.tasks.policies.balancing import balance
from nnbench.tasks.policies.mlp import PolicyActor, Weights, flatten_weights, random_policy
from nnbench.tasks.policies.rebasin import permute
from nnbench.tasks.policies.resizing import resize
from nnbench.tasks.policies.tracks import contains

ARCH = (16, 32, 16, 32)


def network(seed: int, arch: tuple[int, ...] = ARCH) -> Weights:
    return random_policy(arch, 42, 8, torch.Generator().manual_seed(seed))


def reordered(weights: Weights) -> Weights:
    rng = np.random.default_rng(0)
    return permute(weights, [rng.permutation(width) for width in ARCH])


def rescaled(weights: Weights, seed: int) -> Weights:
    """The same function, the scale of every hidden neuron between a quarter and four times what it was."""
    generator, scaled = torch.Generator().manual_seed(seed), {key: value.clone() for key, value in weights.items()}
    for layer in range(len(weights) // 2 - 1):
        scale = 4 ** (2 * torch.rand(len(weights[f"{2 * layer}.bias"]), generator=generator) - 1)
        scaled[f"{2 * layer}.weight"] *= scale[:, None]
        scaled[f"{2 * layer}.bias"] *= scale
        scaled[f"{2 * layer + 2}.weight"] /= scale
    return scaled


def novelty() -> Novelty:
    """Beside four random policies of every architecture."""
    training = toy_training_set()
    splits = load_splits()

    def policies(arch: tuple[int, ...]) -> dict[int, Weights]:
        return {seed: network(seed, arch) for seed in range(4)}

    sizes = SimpleNamespace(observation_dim=42, action_dim=8)
    trained = SimpleNamespace(architectures=training.architectures, networks=policies, task=sizes)
    zoo: Any = SimpleNamespace(
        track=SimpleNamespace(splits=splits),
        source_name="ghn",
        states=torch.randn(20, 42, generator=torch.Generator().manual_seed(0)),
        policies=policies,
        training_set=lambda: trained,
    )
    return Novelty(zoo)


POLICIES = {seed: network(seed) for seed in (11, 5, 42)}


def test_a_rescaled_and_reordered_copy_is_no_novelty() -> None:
    copies = [rescaled(reordered(network(2)), seed) for seed in range(3)]
    assert nearest_by_weights(copies[0], {2: network(2)}).distance > 3  # as they are, they are far apart
    new = network(9)
    *found, other = novelty().columns([*copies, new], [0, 3])
    for row in found:
        assert row["ghn_seed"] == 2 and row["ghn_distance"] < 1e-3 * row["ghn_spread"] and row["comparison"] == 3
        assert row["mutual_distance"] < 1e-3 * row["ghn_spread"] and row["mutual_actions"] < 1e-5
    assert other["ghn_distance"] > 0.8 * other["ghn_spread"] and other["mutual_distance"] > 0.8 * other["ghn_spread"]


def test_a_rescaled_and_padded_copy_is_no_novelty() -> None:
    narrow = load_splits().train[0]
    padded = resize(network(1, narrow), (64, 64, 64, 64), 42, 8)
    padded["0.weight"][narrow[0] :] = 5.0  # what nothing reads
    (row,) = novelty().columns([rescaled(padded, 0)], [0])
    assert row["effective_arch"] == "-".join(map(str, narrow)) and row["trained_ratio"] < 1e-3
    (new,) = novelty().columns([network(9, narrow)], [0])
    assert new["trained_ratio"] > 0.8


@pytest.mark.parametrize("arch", [(64, 64, 64, 64), (64, 64, 64, 64, 64), (64, 40, 64, 64)])
def test_a_padded_copy_is_no_novelty_however_it_is_disturbed(arch: tuple[int, ...]) -> None:
    """In a trained architecture, in a deeper one and in one of other widths; every weight changes."""
    found = novelty()
    narrow = next(one for one in load_splits().train if contains(arch, one))
    padded = resize(network(2, narrow), arch, 42, 8)
    generator = torch.Generator().manual_seed(0)
    size = (
        0.2
        * spread_by_weights({seed: network(seed, narrow) for seed in range(4)})
        / len(flatten_weights(padded)) ** 0.5
    )
    noisy = {key: value + size * torch.randn(value.shape, generator=generator) for key, value in padded.items()}
    rng = np.random.default_rng(0)
    disturbed = rescaled(permute(noisy, [rng.permutation(width) for width in arch]), 0)
    row, new = found.columns([disturbed, network(9, arch)], [0])
    assert row["effective_arch"] == architecture_name(arch)  # nothing is silent
    assert 0.1 < row["trained_ratio"] < 0.3
    assert new["trained_ratio"] is None or new["trained_ratio"] > FAR


def test_a_bound_on_padded_policies_is_one() -> None:
    policies = {seed: balance(resize(network(seed, (16, 16)), (32, 32), 42, 8)) for seed in range(8)}
    padded = Padded.of({(16, 16): policies}, {(16, 16): 1.0})
    for sample in (network(99, (32, 32)), balance({key: value + 0.02 for key, value in policies[3].items()})):
        for bound, seed in zip(padded.bounds(sample), padded.seeds, strict=True):
            assert 0 < bound <= nearest_by_weights(sample, {0: policies[seed]}).distance


def test_a_bound_on_the_spread_is_one() -> None:
    for policies in (POLICIES, {seed: network(seed) for seed in range(12)}):
        assert spread_by_weights(policies) <= spread_at_most(policies) < 2 * spread_by_weights(policies)
    assert np.isnan(spread_at_most({0: network(0)}))


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


def test_the_spread_of_actions_is_to_another_hypernetwork() -> None:
    training = toy_training_set()
    states = torch.randn(20, 42, generator=torch.Generator().manual_seed(0))
    bank = ActionBank.of(training, states)
    writers = [seed for _, seed in bank.origins]
    nearest = [
        min(
            float((ours - theirs).norm(dim=1).mean())
            for theirs, other in zip(bank.actions, writers, strict=True)
            if other != seed
        )
        for ours, seed in zip(bank.actions, writers, strict=True)
    ]
    assert bank.spread == pytest.approx(np.median(nearest), rel=1e-6)
    alone = ActionBank.of(training, states, trained_alone=True)
    assert len(alone.writers.unique()) == len(alone.origins) and alone.spread <= bank.spread
    one = ActionBank(states, bank.origins[:1], bank.writers[:1], bank.actions[:1])
    assert np.isnan(one.spread)
