"""The baseline `average`."""

from pathlib import Path

import torch

from nnbench.methods.average import Method
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import check_weights, flatten_weights, weights_sha256
from nnbench.tasks.policies.resizing import nearest_networks
from nnbench.tasks.zoo.zoo import Zoo


def test_samples_are_midpoints_of_two_networks_and_repeat_by_seed(zoo: Zoo, tmp_path: Path) -> None:
    method = Method.fit(zoo.training_set(), seed=0, directory=tmp_path)
    arch = load_splits().unseen[0]
    known = [flatten_weights(network) for network in nearest_networks(arch, method.training).values()]
    midpoints = torch.stack([(a + b) / 2 for i, a in enumerate(known) for b in known[:i]])
    samples = method.generate(arch, 5, seed=1)
    for sample in samples:
        check_weights(sample, arch, 42, 8, "average")
        assert (midpoints - flatten_weights(sample)).norm(dim=1).min() < 1e-4
    hashes = [weights_sha256(sample) for sample in samples]
    assert hashes == [weights_sha256(s) for s in method.generate(arch, 5, seed=1)]
    assert hashes != [weights_sha256(s) for s in method.generate(arch, 5, seed=2)]
