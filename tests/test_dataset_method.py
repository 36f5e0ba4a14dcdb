"""The row `dataset`."""

from pathlib import Path

import pytest

from nnbench.methods.dataset import Method
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import weights_sha256
from nnbench.tasks.policies.training_set import HeldOutAccess
from nnbench.tasks.zoo.zoo import Zoo


def test_it_hands_out_every_training_network_and_no_other(zoo: Zoo, tmp_path: Path) -> None:
    method = Method.fit(zoo.training_set(), seed=0, directory=tmp_path)
    arch = load_splits().seen[0]
    own = {weights_sha256(network) for network in method.training.networks(arch).values()}
    hashes = [weights_sha256(sample) for sample in method.generate(arch, 2 * len(own))]
    assert set(hashes[: len(own)]) == set(hashes[len(own) :]) == own
    with pytest.raises(HeldOutAccess, match="is no training architecture"):
        method.generate(load_splits().unseen[0], 1)


def test_jointly_it_hands_out_training_networks_of_any_architecture(zoo: Zoo, tmp_path: Path) -> None:
    method = Method.fit(zoo.training_set(), seed=0, directory=tmp_path)
    pairs = method.generate_joint(40)
    assert len({arch for arch, _ in pairs}) > 20
    for arch, sample in pairs:
        assert weights_sha256(sample) in {weights_sha256(w) for w in method.training.networks(arch).values()}
