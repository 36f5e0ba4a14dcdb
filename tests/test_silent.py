"""Silent neurons are removed exactly: what is left computes the same, and a padded copy is its original."""

import pytest
import torch

from nnbench.tasks.policies.mlp import Weights, act, architecture_of, random_policy
from nnbench.tasks.policies.rebasin import permute
from nnbench.tasks.policies.resizing import resize
from nnbench.tasks.policies.silent import without_silent


def policy(arch: tuple[int, ...], seed: int = 0) -> Weights:
    return random_policy(arch, 42, 8, torch.Generator().manual_seed(seed))


def same(weights: Weights, other: Weights) -> bool:
    states = torch.randn(64, 42, generator=torch.Generator().manual_seed(1))
    return torch.allclose(act(weights, states), act(other, states), atol=1e-6)


@pytest.mark.parametrize("wide", [(64, 64, 64, 64), (16, 16, 64, 32), (24, 17, 20, 33)])
def test_a_padded_policy_is_its_original_whatever_the_order(wide: tuple[int, ...]) -> None:
    narrow = policy((16, 16, 16, 32))
    padded = resize(narrow, wide, 42, 8)
    rng = torch.Generator().manual_seed(2)
    shuffled = permute(padded, [torch.randperm(width, generator=rng).numpy() for width in wide])
    for found in (padded, shuffled):
        left = without_silent(found)
        assert architecture_of(left) == (16, 16, 16, 32) and same(left, found)
    left = without_silent(padded)
    assert all(torch.equal(left[key], narrow[key]) for key in narrow)


def test_a_policy_without_silent_neurons_stays_as_it_is() -> None:
    whole = policy((16, 32, 16, 64))
    left = without_silent(whole)
    assert all(torch.equal(left[key], whole[key]) for key in whole)


def test_constants_move_into_the_next_layer_and_removals_go_on() -> None:
    weights = policy((16, 16, 16, 16))
    weights["2.weight"][3] = 0  # a constant, positive
    weights["2.bias"][3] = 0.7
    weights["2.weight"][5] = 0  # a constant that the ReLU makes zero
    weights["2.bias"][5] = -0.7
    weights["6.weight"][:, 2] = 0  # nothing reads neuron 2 of the third layer, ...
    weights["4.weight"][:, 4] = 0
    weights["4.weight"][2, 4] = 1.0  # ... which alone read neuron 4 of the second
    before = {key: value.clone() for key, value in weights.items()}
    left = without_silent(weights)
    assert architecture_of(left) == (16, 13, 15, 16) and same(left, weights)
    assert all(torch.equal(weights[key], before[key]) for key in weights), "the argument is not written to"


def test_a_layer_keeps_a_neuron() -> None:
    nothing = {key: torch.zeros_like(value) for key, value in policy((16, 16)).items()}
    nothing["4.bias"] += 0.5
    left = without_silent(nothing)
    assert architecture_of(left) == (1,) and same(left, nothing)  # of two layers that do nothing the first stays


@pytest.mark.parametrize("deep", [(32, 32, 32, 32, 32), (64, 32, 16, 32, 64), (64, 32, 64, 32, 16, 32)])
def test_a_deepened_policy_is_its_original(deep: tuple[int, ...]) -> None:
    original = policy((16, 16, 16, 32))
    deepened = resize(original, deep, 42, 8)
    rng = torch.Generator().manual_seed(2)
    shuffled = permute(deepened, [torch.randperm(width, generator=rng).numpy() for width in deep])
    assert architecture_of(deepened) == deep and same(deepened, original)
    for found in (deepened, shuffled):
        left = without_silent(found)
        assert architecture_of(left) == (16, 16, 16, 32) and same(left, original)


def test_a_layer_that_changes_what_it_is_given_stays() -> None:
    whole = policy((16, 16, 16))
    whole["2.weight"] = whole["2.weight"].abs()
    whole["2.bias"] = whole["2.bias"].abs()
    folded = without_silent(whole)
    assert architecture_of(folded) == (16, 16) and same(folded, whole)
    whole["2.bias"][3] = -1e-3
    assert architecture_of(without_silent(whole)) == (16, 16, 16)
