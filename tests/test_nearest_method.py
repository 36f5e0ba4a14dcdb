"""The baseline `nearest`: which networks it takes and how it makes them fit."""

from pathlib import Path

import pytest

from nnbench.methods.nearest import Method
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import check_weights, weights_sha256
from nnbench.tasks.zoo.zoo import Zoo


@pytest.fixture
def method(zoo: Zoo, tmp_path: Path) -> Method:
    return Method.fit(zoo.training_set(), seed=0, directory=tmp_path)


def test_a_training_architecture_is_answered_with_its_own_networks(method: Method) -> None:
    arch = load_splits().train[0]
    networks = method.training.networks(arch)
    hashes = [weights_sha256(sample) for sample in method.generate(arch, 2 * len(networks))]
    own = {weights_sha256(network) for network in networks.values()}
    assert set(hashes[: len(networks)]) == set(hashes[len(networks) :]) == own


def test_samples_repeat_by_seed_and_fit(method: Method) -> None:
    arch = load_splits().unseen[0]
    samples = method.generate(arch, 30, seed=1)
    for sample in samples:
        check_weights(sample, arch, 42, 8, "nearest")
    hashes = [weights_sha256(sample) for sample in samples]
    assert hashes == [weights_sha256(sample) for sample in method.generate(arch, 30, seed=1)]
    assert hashes != [weights_sha256(sample) for sample in method.generate(arch, 30, seed=2)]
    assert len(set(hashes)) > 10
