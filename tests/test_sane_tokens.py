import pytest
import torch

from nnbench.methods.sane.tokens import detokenise, layout, token_size, tokenise, window
from nnbench.tasks.policies.architectures import Architecture, load_splits
from nnbench.tasks.policies.mlp import Weights, flatten_weights, random_policy

LISTED = load_splits().train + load_splits().unseen + load_splits().outside
OFF_THE_GRID = ((24, 48, 24, 48), (48, 24, 64, 16))


def policy(arch: Architecture, observation_dim: int = 42) -> Weights:
    weights = random_policy(arch, observation_dim, 8, torch.Generator().manual_seed(sum(arch)))
    return {key: value + 1 for key, value in weights.items()}  # nothing is zero, biases neither


@pytest.mark.parametrize("observation_dim", [35, 42, 70])
def test_rows_hold_every_architecture_exactly(observation_dim: int) -> None:
    for arch in LISTED + OFF_THE_GRID:
        weights = policy(arch, observation_dim)
        tokens = tokenise(weights)
        assert tokens.shape == (sum(arch) + 8, token_size(observation_dim))
        again = detokenise(tokens, arch, observation_dim, 8)
        assert list(again) == list(weights) and all(torch.equal(again[key], weights[key]) for key in weights)


def test_weights_are_told_from_padding() -> None:
    for arch in LISTED + OFF_THE_GRID:
        tokens, (_, valid) = tokenise(policy(arch)), layout(arch, 42, 8)
        assert torch.equal(valid, tokens.bool())
        assert int(valid.sum()) == len(flatten_weights(policy(arch)))


def test_a_row_lies_where_its_place_says() -> None:
    weights = policy((16, 64, 32, 16))
    places, _ = layout((16, 64, 32, 16), 42, 8)
    tokens = tokenise(weights)
    (index,) = [n for n, layer, row in places.tolist() if (layer, row) == (2, 5)]
    assert index == 16 + 64 + 5 and token_size(42) == 65
    assert torch.equal(tokens[index, :64], weights["4.weight"][5]) and tokens[index, 64] == weights["4.bias"][5]
    (index,) = [n for n, layer, row in places.tolist() if (layer, row) == (1, 63)]
    assert torch.equal(tokens[index, :16], weights["2.weight"][63]) and tokens[index, 64] == weights["2.bias"][63]
    assert not tokens[index, 16:64].any()
    assert places[:, 0].tolist() == list(range(len(tokens))) and len(tokens) <= window(8) == 264


def test_a_wider_layer_moves_later_rows_in_the_sequence_only() -> None:
    narrow, wide = (
        dict.fromkeys(map(tuple, layout(arch, 42, 8)[0].tolist())) for arch in ((16,) * 4, (16, 32, 16, 16))
    )
    assert (32, 2, 0) in narrow and (48, 2, 0) in wide  # (n, l, k)
    assert {place[1:] for place in narrow} < {place[1:] for place in wide}


@pytest.mark.parametrize(
    ("arch", "message"),
    [((32, 32, 32), "32-32-32 has 3 hidden layers, expected 4"), ((32, 128, 32, 32), "width 128, expected at most 64")],
)
def test_names_an_architecture_that_has_no_place(arch: Architecture, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layout(arch, 42, 8)
