import copy
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import PolicyActor, check_weights, forward
from nnbench.tasks.zoo.ghn import GHNConfig, GHNEnsemble, _DoublingConvolution, act

DECODERS = (GHNConfig(decoder="conv1x1"), GHNConfig(decoder="upsample"))


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_member_depends_on_its_own_seed_alone(decoder: GHNConfig) -> None:
    together, alone = GHNEnsemble([3, 5], 42, 8, decoder), GHNEnsemble([5], 42, 8, decoder)
    arch = (16, 64, 32, 16)
    for key, value in alone.policies(arch)[5].items():
        torch.testing.assert_close(together.policies(arch)[5][key], value)
        assert not torch.equal(together.policies(arch)[3][key], value) or not value.any()


def test_policies_of_every_architecture_are_what_training_sees() -> None:
    ensemble = GHNEnsemble([0, 1], 42, 8)
    observations = torch.randn(1, 1, 6, 42)
    splits = load_splits()
    for arch in splits.train + splits.unseen + splits.outside:
        weights, biases = ensemble(torch.tensor(arch).expand(2, 1, 4))
        trained = act(weights, biases, observations.expand(2, 1, 6, 42))[1, 0, :, :8].detach().numpy()
        policy = check_weights(ensemble.policies(arch)[1], arch, 42, 8, "ghn")
        np.testing.assert_allclose(
            PolicyActor.stack([policy], np.zeros(6, int), None)(observations[0, 0].numpy()), trained, atol=1e-5
        )


@pytest.mark.parametrize("decoder", DECODERS)
def test_gradient_reaches_every_parameter(decoder: GHNConfig) -> None:
    ensemble = GHNEnsemble([0, 1], 42, 8, decoder)
    weights, biases = ensemble(torch.tensor([(16, 32, 64, 32), (64, 64, 64, 64)]).expand(2, 2, 4))
    act(weights, biases, torch.randn(2, 2, 16, 42)).square().sum().backward()
    for name, parameter in ensemble.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.flatten(1).any(dim=1).all()), name


def test_only_the_upsampling_decoder_makes_neighbours_alike() -> None:
    correlations = {}
    for decoder in DECODERS:
        policy = GHNEnsemble([0], 42, 8, decoder).policies((64, 64, 64, 64))[0]
        weight = policy["2.weight"]
        correlations[decoder.decoder] = torch.corrcoef(torch.stack([weight[1:].flatten(), weight[:-1].flatten()]))[
            0, 1
        ].item()
    assert abs(correlations["conv1x1"]) < 0.1 and correlations["upsample"] > 0.3


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.decoder)
def test_policies_begin_neither_without_weights_nor_with_huge_actions(decoder: GHNConfig) -> None:
    states = torch.randn(50, 42, generator=torch.Generator().manual_seed(0))
    for policy in GHNEnsemble([0, 1, 2], 42, 8, decoder).policies((64, 64, 64)).values():
        weights, biases = ([policy[f"{2 * layer}.{kind}"] for layer in range(4)] for kind in ("weight", "bias"))
        assert float(policy["2.weight"].std()) > 0.05 * (2 / 64) ** 0.5  # of He's size
        assert 1e-5 < float(forward(weights, biases, states).std(dim=0).mean()) < 1


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match="expected hidden widths of at most 64"):
        GHNEnsemble([0], 42, 8).policies((128, 16, 16, 32))
    with pytest.raises(ValueError, match="expected at most 64 each"):
        GHNEnsemble([0], 65, 8)
    with pytest.raises(ValueError, match="expected a power of two"):
        GHNEnsemble([0], 42, 8, GHNConfig(max_width=96))


def test_convolving_on_the_map_is_convolving_the_doubled_map() -> None:
    layer = _DoublingConvolution(3, 2, [torch.Generator().manual_seed(seed) for seed in range(4)])
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(5, 4 * 3, 6, 7, generator=torch.Generator().manual_seed(9))
    doubled = F.interpolate(x, scale_factor=2)
    expected = F.conv2d(doubled, layer.weight.flatten(0, 1), layer.bias.flatten(), padding=1, groups=4)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("decoder", ["conv1x1", "upsample"])
def test_wider_and_shallower_policies_can_be_written(decoder: Literal["conv1x1", "upsample"]) -> None:
    ensemble = GHNEnsemble([0], 42, 8, GHNConfig(decoder=decoder, channels=8, max_width=256))
    check_weights(ensemble.policies((256, 128, 256))[0], (256, 128, 256), 42, 8, "ghn")


def test_every_machine_writes_the_same_weights() -> None:
    ensemble = GHNEnsemble([0], 42, 8)
    once = ensemble.policies((64, 64, 64, 64))[0]
    widths = torch.tensor([(64, 64, 64, 64)] * 7).expand(1, 7, 4)  # other shapes, other kernels
    again = copy.deepcopy(ensemble).double()(widths)[0][0, 3, 1].float()
    assert torch.equal(once["2.weight"], again)
