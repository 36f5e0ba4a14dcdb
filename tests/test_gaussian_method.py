"""The baseline `gaussian`."""

from pathlib import Path

import torch

from nnbench.methods.gaussian import Method
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import check_weights, flatten_weights
from nnbench.tasks.zoo.zoo import Zoo


def test_samples_have_the_networks_mean_and_spread_and_repeat_by_seed(zoo: Zoo, tmp_path: Path) -> None:
    method = Method.fit(zoo.training_set(), seed=0, directory=tmp_path)
    arch = load_splits().train[0]
    known = torch.stack([flatten_weights(network) for network in method.training.networks(arch).values()])
    samples = method.generate(arch, 400, seed=1)
    check_weights(samples[0], arch, 42, 8, "gaussian")
    drawn = torch.stack([flatten_weights(sample) for sample in samples])
    spread = known.std(dim=0)
    assert float(((drawn.mean(dim=0) - known.mean(dim=0)) / spread).abs().max()) < 5 / 400**0.5
    torch.testing.assert_close((drawn.std(dim=0) / spread).mean(), torch.tensor(1.0), atol=0.02, rtol=0)
    again = method.generate(arch, 2, seed=1)
    assert all(torch.equal(samples[1][key], value) for key, value in again[1].items())
    assert not torch.equal(samples[0]["0.weight"], method.generate(arch, 1, seed=2)[0]["0.weight"])
