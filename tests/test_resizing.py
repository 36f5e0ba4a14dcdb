import numpy as np
import torch

from nnbench.tasks.policies.architectures import doublings, load_splits
from nnbench.tasks.policies.mlp import PolicyActor, act, check_weights, random_policy
from nnbench.tasks.policies.resizing import nearest_architectures, resize, with_layers
from nnbench.tasks.zoo.zoo import Zoo


def test_held_out_architectures_have_neighbours_one_doubling_away(zoo: Zoo) -> None:
    training = zoo.training_set()
    for arch in load_splits().unseen:
        near = nearest_architectures(arch, training)
        assert near and set(near) <= set(load_splits().train)
        assert all(sum(abs(np.log2(a / b)) for a, b in zip(arch, other, strict=True)) == 1 for other in near)


def test_a_cropped_network_is_the_top_left_rescaled() -> None:
    source = random_policy((32, 32, 16, 64), 42, 8, torch.Generator().manual_seed(0))
    cropped = check_weights(resize(source, (32, 16, 16, 64), 42, 8), (32, 16, 16, 64), 42, 8, "nearest")
    torch.testing.assert_close(cropped["2.weight"], source["2.weight"][:16])
    torch.testing.assert_close(cropped["4.weight"], source["4.weight"][:, :16] * 2**0.5)
    torch.testing.assert_close(cropped["6.weight"], source["6.weight"])


def test_added_units_change_no_action() -> None:
    source = random_policy((32, 32, 16, 64), 42, 8, torch.Generator().manual_seed(0))
    padded = resize(source, (64, 32, 16, 64), 42, 8)
    observations = np.random.default_rng(0).standard_normal((5, 42)).astype(np.float32)
    before, after = (PolicyActor.stack([weights], np.zeros(5, int), None)(observations) for weights in (source, padded))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_a_deeper_network_passes_on_what_the_layer_before_computes() -> None:
    source = random_policy((16, 32, 16, 64), 42, 8, torch.Generator().manual_seed(0))
    states = torch.randn(5, 42, generator=torch.Generator().manual_seed(1))
    for deep in [(16, 32, 32, 16, 64), (16, 16, 32, 16, 64, 64)]:  # of the widths nothing is lost
        made = check_weights(resize(source, deep, 42, 8), deep, 42, 8, "nearest")
        torch.testing.assert_close(act(made, states), act(source, states), atol=1e-5, rtol=0)
    assert doublings((16, 32, 32, 16, 64), (16, 32, 16, 64)) == 0
    assert doublings((16, 32, 32, 16, 64), (16, 32, 64, 64)) == 2


def test_a_shallower_network_leaves_out_the_layer_that_fits_least_and_keeps_its_linear_map() -> None:
    source = random_policy((16, 32, 64, 16), 42, 8, torch.Generator().manual_seed(0))
    shallow = resize(source, (16, 32, 16), 42, 8)
    torch.testing.assert_close(shallow["4.weight"], source["6.weight"] @ source["4.weight"])
    torch.testing.assert_close(shallow["4.bias"], source["6.weight"] @ source["4.bias"] + source["6.bias"])
    assert all(torch.equal(shallow[key], source[key]) for key in ("0.weight", "0.bias", "2.weight", "2.bias"))
    torch.testing.assert_close(shallow["6.weight"], source["8.weight"])
    one = with_layers(source, (2,))
    assert [tuple(value.shape) for value in one.values()] == [(64, 42), (64,), (8, 64), (8,)]
