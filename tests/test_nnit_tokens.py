import pytest
import torch

from nnbench.methods.nnit.tokens import (
    decode_architecture,
    encode_architecture,
    grid_shape,
    patchify,
    positions,
    unpatchify,
    valid_patches,
)
from nnbench.tasks.policies.architectures import Architecture, load_splits
from nnbench.tasks.policies.mlp import Weights, flatten_weights, random_policy

LISTED = load_splits().train + load_splits().unseen + load_splits().outside
PATCH, ROW = (16, 16), (1, 65)
OFF_THE_GRID = ((24, 48, 24, 48), (48, 24, 64, 16))


def policy(arch: Architecture, seed: int = 0, observation_dim: int = 42) -> Weights:
    weights = random_policy(arch, observation_dim, 8, torch.Generator().manual_seed(seed))
    return {key: value + 1 for key, value in weights.items()}  # nothing is zero, biases neither


@pytest.mark.parametrize("patch", [(16, 16), (8, 8), (5, 5), ROW])
@pytest.mark.parametrize("observation_dim", [35, 42])
def test_patches_hold_every_architecture_exactly(patch: tuple[int, int], observation_dim: int) -> None:
    for arch in LISTED + OFF_THE_GRID:
        weights = policy(arch, sum(arch), observation_dim)
        tokens = patchify(weights, patch)
        assert tokens.shape == (len(positions(patch)), patch[0] * patch[1])
        again = unpatchify(tokens, arch, observation_dim, 8, patch)
        assert again.keys() == weights.keys() and all(torch.equal(again[key], weights[key]) for key in weights)


@pytest.mark.parametrize("patch", [PATCH, ROW])
def test_patches_that_hold_part_of_the_network_are_told_from_padding(patch: tuple[int, int]) -> None:
    for arch in LISTED + OFF_THE_GRID:
        tokens, valid = patchify(policy(arch), patch), valid_patches(arch, 42, 8, patch)
        assert torch.equal(valid, tokens.any(dim=1))
        assert int(tokens.bool().sum()) == len(flatten_weights(policy(arch)))


def test_a_patch_lies_where_its_position_says() -> None:
    weights = policy((16, 64, 32, 16))
    places, tokens = positions(PATCH).tolist(), patchify(weights, PATCH)
    assert grid_shape(PATCH) == (4, 5) and len(places) == 100
    assert torch.equal(tokens[places.index([2, 1, 3])].view(16, 16), weights["4.weight"][16:32, 48:64])
    edge = tokens[places.index([1, 2, 1])].view(16, 16)
    assert torch.equal(edge[:, 0], weights["2.bias"][32:48]) and not edge[:, 1:].any()
    assert not tokens[places.index([1, 0, 2])].any()


def test_a_row_is_all_that_one_neuron_reads_and_its_bias() -> None:
    weights = policy((16, 64, 32, 16))
    places, tokens, valid = positions(ROW).tolist(), patchify(weights, ROW), valid_patches((16, 64, 32, 16), 42, 8, ROW)
    assert int(valid.sum()) == 16 + 64 + 32 + 16 + 8 and tokens.shape == (5 * 64, 65)
    row = tokens[places.index([2, 31, 0])]
    assert torch.equal(row[:64], weights["4.weight"][31]) and row[64] == weights["4.bias"][31]
    row = tokens[places.index([4, 7, 0])]
    assert torch.equal(row[:17], torch.cat([weights["8.weight"][7], weights["8.bias"][7:8]])) and not row[17:].any()


def test_architectures_are_told_from_noisy_codes() -> None:
    for arch in LISTED:
        codes = encode_architecture(arch)
        assert codes.shape == (6, 5) and (codes.sum(dim=1) == -3).all()
        noisy = codes + 0.3 * torch.randn(6, 5, generator=torch.Generator().manual_seed(sum(arch)))
        assert decode_architecture(noisy) == arch


def test_a_place_never_decodes_to_a_symbol_it_cannot_have() -> None:
    codes = encode_architecture((16, 32, 64, 16))
    codes[2, 0], codes[2, 2] = 3.0, 0.5  # most like the input, next like 32
    assert decode_architecture(codes) == (16, 32, 64, 16)
