"""The floor `nearest`: which networks it takes and how it makes them fit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nnbench.methods.nearest import Method, nearest_architectures, resize
from nnbench.tasks.architectures import load_splits
from nnbench.tasks.policy import PolicyActor, check_weights, random_policy, weights_sha256
from nnbench.tasks.zoo import Zoo


@pytest.fixture
def method(zoo: Zoo, tmp_path: Path) -> Method:
    return Method.fit(zoo.training_set(reads_ghn=False), seed=0, directory=tmp_path)


def test_held_out_architectures_have_neighbours_one_doubling_away(method: Method) -> None:
    for arch in load_splits().unseen:
        near = nearest_architectures(arch, method.training)
        assert near and set(near) <= set(load_splits().train)
        assert all(sum(abs(np.log2(a / b)) for a, b in zip(arch, other, strict=True)) == 1 for other in near)


def test_a_training_architecture_is_answered_with_its_own_networks(method: Method) -> None:
    arch = load_splits().train[0]
    networks = method.training.networks(arch)
    hashes = [weights_sha256(sample) for sample in method.generate(arch, 2 * len(networks))]
    own = {weights_sha256(network) for network in networks.values()}
    assert set(hashes[: len(networks)]) == set(hashes[len(networks) :]) == own


def test_a_cropped_network_is_the_top_left_rescaled() -> None:
    source = random_policy((32, 32, 16, 64), 42, 8, torch.Generator().manual_seed(0))
    cropped = check_weights(resize(source, (32, 16, 16, 64), 42, 8), (32, 16, 16, 64), 42, 8, "nearest")
    torch.testing.assert_close(cropped["2.weight"], source["2.weight"][:16])
    torch.testing.assert_close(cropped["4.weight"], source["4.weight"][:, :16] * 2**0.5)
    torch.testing.assert_close(cropped["6.weight"], source["6.weight"])


def test_added_units_say_nothing() -> None:
    source = random_policy((32, 32, 16, 64), 42, 8, torch.Generator().manual_seed(0))
    padded = resize(source, (64, 32, 16, 64), 42, 8)
    observations = np.random.default_rng(0).standard_normal((5, 42)).astype(np.float32)
    before, after = (PolicyActor.stack([weights], np.zeros(5, int))(observations) for weights in (source, padded))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_samples_repeat_by_seed_and_fit(method: Method) -> None:
    arch = load_splits().unseen[0]
    samples = method.generate(arch, 30, seed=1)
    for sample in samples:
        check_weights(sample, arch, 42, 8, "nearest")
    hashes = [weights_sha256(sample) for sample in samples]
    assert hashes == [weights_sha256(sample) for sample in method.generate(arch, 30, seed=1)]
    assert hashes != [weights_sha256(sample) for sample in method.generate(arch, 30, seed=2)]
    assert len(set(hashes)) > 10
