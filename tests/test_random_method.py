"""The baseline `random`."""

from pathlib import Path

import torch

from nnbench.methods.random import Method
from nnbench.tasks.policies.mlp import check_weights
from nnbench.tasks.zoo.zoo import Zoo

ARCH = (32, 32, 16, 64)


def test_samples_are_their_own_and_repeat_by_seed(zoo: Zoo, tmp_path: Path) -> None:
    method = Method.fit(zoo.training_set(), seed=0, directory=tmp_path)
    samples = method.generate(ARCH, 3, seed=1)
    for sample, again in zip(samples, method.generate(ARCH, 4, seed=1), strict=False):
        check_weights(sample, ARCH, 42, 8, "random")
        assert all(torch.equal(sample[key], again[key]) for key in sample)
    assert not torch.equal(samples[0]["0.weight"], samples[1]["0.weight"])
    assert not torch.equal(samples[0]["0.weight"], method.generate(ARCH, 1, seed=2)[0]["0.weight"])
