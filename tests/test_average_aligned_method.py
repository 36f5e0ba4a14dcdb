"""The baseline `average_aligned`."""

from pathlib import Path

import torch

from nnbench.methods import average
from nnbench.methods.average_aligned import Method
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import check_weights, flatten_weights
from nnbench.tasks.policies.resizing import nearest_networks
from nnbench.tasks.zoo.zoo import Zoo


def test_samples_keep_more_of_both_networks_than_the_plain_average(zoo: Zoo, tmp_path: Path) -> None:
    training, arch = zoo.training_set(), load_splits().unseen[0]
    aligned, plain = (
        kind.fit(training, seed=0, directory=tmp_path).generate(arch, 3, seed=1) for kind in (Method, average.Method)
    )
    known = torch.stack([flatten_weights(network) for network in nearest_networks(arch, training).values()])
    for ours, theirs in zip(aligned, plain, strict=True):
        check_weights(ours, arch, 42, 8, "average_aligned")
        # Of two vectors of given length the mean is the longer the nearer they lie; both keep the same first network.
        assert flatten_weights(ours).norm() > 1.05 * flatten_weights(theirs).norm()
        assert (known - flatten_weights(ours)).norm(dim=1).min() < (known - flatten_weights(theirs)).norm(dim=1).min()
