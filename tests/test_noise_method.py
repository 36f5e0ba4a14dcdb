"""The baseline `noise`."""

from pathlib import Path

import torch

from nnbench.methods.noise import SIGMA, Method
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import check_weights, flatten_weights, weights_sha256
from nnbench.tasks.policies.resizing import nearest_networks
from nnbench.tasks.zoo.zoo import Zoo


def test_samples_lie_one_noise_from_a_network_and_repeat_by_seed(zoo: Zoo, tmp_path: Path) -> None:
    method = Method.fit(zoo.training_set(), seed=0, directory=tmp_path)
    arch = load_splits().unseen[0]
    known = torch.stack([flatten_weights(network) for network in nearest_networks(arch, method.training).values()])
    samples = method.generate(arch, 5, seed=1)
    for sample in samples:
        check_weights(sample, arch, 42, 8, "noise")
        nearest = (known - flatten_weights(sample)).norm(dim=1).min()
        expected = SIGMA / method.training.scale * known.shape[1] ** 0.5
        torch.testing.assert_close(nearest, torch.tensor(expected), rtol=0.1, atol=0)
    hashes = [weights_sha256(sample) for sample in samples]
    assert len(set(hashes)) == 5 and hashes == [weights_sha256(s) for s in method.generate(arch, 5, seed=1)]
    assert hashes[0] != weights_sha256(method.generate(arch, 1, seed=2)[0])
