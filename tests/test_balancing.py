"""Balanced networks compute the same, and one function has one scale."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbench.tasks.policies.balancing import balance
from nnbench.tasks.policies.mlp import Weights, act, flatten_weights, random_policy
from nnbench.tasks.policies.resizing import resize

ARCHS = [(16,), (16, 16, 16, 32), (64, 16, 32), (8, 24, 8, 8, 12)]


def policy(arch: tuple[int, ...], seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    weights = random_policy(arch, 42, 8, generator)
    return {key: value + 0.05 * torch.randn(value.shape, generator=generator) for key, value in weights.items()}


def rescaled(weights: Weights, largest: float, seed: int) -> Weights:
    """The same function: every hidden neuron's scale is drawn from 1 / largest to largest."""
    generator, scaled = torch.Generator().manual_seed(seed), {key: value.clone() for key, value in weights.items()}
    for layer in range(len(weights) // 2 - 1):
        scale = largest ** (2 * torch.rand(len(weights[f"{2 * layer}.bias"]), generator=generator) - 1)
        scaled[f"{2 * layer}.weight"] *= scale[:, None]
        scaled[f"{2 * layer}.bias"] *= scale
        scaled[f"{2 * layer + 2}.weight"] /= scale
    return scaled


def acts_alike(weights: Weights, other: Weights) -> bool:
    states = torch.randn(64, 42, generator=torch.Generator().manual_seed(1))
    return torch.allclose(act(weights, states), act(other, states), atol=1e-4)


def distance(weights: Weights, other: Weights) -> float:
    return float((flatten_weights(weights) - flatten_weights(other)).norm() / flatten_weights(other).norm())


@given(arch=st.sampled_from(ARCHS), seed=st.integers(0, 2**31), largest=st.floats(1.0, 20.0))
@settings(max_examples=30, deadline=None)
def test_a_function_has_one_scale(arch: tuple[int, ...], seed: int, largest: float) -> None:
    weights = policy(arch, seed)
    other = rescaled(weights, largest, seed + 1)
    balanced, again = balance(weights), balance(other)
    assert acts_alike(balanced, weights) and acts_alike(other, weights)
    assert distance(balanced, again) < 1e-4
    for layer in range(len(weights) // 2 - 1):
        read = balanced[f"{2 * layer}.weight"].square().sum(dim=1) + balanced[f"{2 * layer}.bias"].square()
        passed = balanced[f"{2 * layer + 2}.weight"].square().sum(dim=0)
        torch.testing.assert_close(read, passed, rtol=1e-4, atol=1e-6)
    assert flatten_weights(balanced).norm() <= flatten_weights(weights).norm() * (1 + 1e-6)


def test_what_is_balanced_stays_to_the_bit_and_the_argument_too() -> None:
    weights = policy((16, 32, 16, 16), 0)
    before = {key: value.clone() for key, value in weights.items()}
    once = balance(weights)
    assert all(torch.equal(weights[key], before[key]) for key in weights)
    assert distance(balance(once), once) < 1e-6
    assert all(torch.equal(balance(weights)[key], once[key]) for key in once)


def test_neurons_that_nothing_reads_or_that_read_nothing_become_zero() -> None:
    narrow = policy((16, 16, 16), 0)
    padded = resize(narrow, (16, 20, 16), 42, 8)
    junk = {key: value.clone() for key, value in padded.items()}
    junk["2.weight"][16:] = 100.0  # what they read; nothing reads them
    assert acts_alike(junk, padded) and not acts_alike(balance(junk), policy((16, 20, 16), 1))
    assert distance(balance(junk), balance(padded)) < 1e-6
    junk["2.weight"][16:], junk["2.bias"][16:], junk["4.weight"][:, 16:] = 0.0, 0.0, 100.0
    assert distance(balance(junk), balance(padded)) < 1e-6


def test_a_neuron_that_hardly_matters_hardly_counts() -> None:
    padded = resize(policy((16, 16, 16), 0), (16, 20, 16), 42, 8)
    junk = {key: value.clone() for key, value in padded.items()}
    junk["2.weight"][16:], junk["4.weight"][:, 16:] = 100.0, 1e-6
    assert distance(junk, padded) > 10 and distance(balance(junk), balance(padded)) < 0.02
