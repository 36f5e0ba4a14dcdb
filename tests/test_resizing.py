import numpy as np
import torch

from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import PolicyActor, check_weights, random_policy
from nnbench.tasks.policies.resizing import nearest_architectures, resize
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
