"""A policy as a sequence of rows: a token is one output neuron, with its zero-padded weights and last its bias.

The authors' code has the bias right after the last weight, for their networks are all of one architecture. With another
number of inputs there is a weight or padding at that place.

A token has a place (n, l, k): its number in the sequence, its layer, and its number in the layer. A wider layer has
more rows, so n shifts in all later layers; l and k do not.

Shapes: T tokens per policy, D numbers per token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nnbench.errors import InputError
from nnbench.tasks.policies.architectures import MAX_WIDTH, Architecture, architecture_name, layer_widths
from nnbench.tasks.policies.mlp import Weights

HIDDEN_LAYERS = 4
LAYERS = HIDDEN_LAYERS + 1


def check_architecture(arch: Architecture) -> None:
    """Check that the model has a place for every row. Raises InputError."""
    if len(arch) != HIDDEN_LAYERS:
        raise InputError(f"sane: {architecture_name(arch)} has {len(arch)} hidden layers, expected {HIDDEN_LAYERS}")
    if max(arch) > MAX_WIDTH:
        raise InputError(f"sane: {architecture_name(arch)} has width {max(arch)}, expected at most {MAX_WIDTH}")


def token_size(observation_dim: int) -> int:
    """D, the length of the longest row of any architecture."""
    return max(observation_dim, MAX_WIDTH) + 1


def window(action_dim: int) -> int:
    """T of the widest architecture: the whole policy is one window."""
    return HIDDEN_LAYERS * MAX_WIDTH + action_dim


def layout(arch: Architecture, observation_dim: int, action_dim: int) -> tuple[Tensor, Tensor]:
    """The places (n, l, k) of all tokens, (T, 3), and which of their numbers are weights or biases, (T, D) bool.

    Raises InputError as `check_architecture`.
    """
    check_architecture(arch)
    widths = layer_widths(arch, observation_dim, action_dim)
    places = torch.tensor([(layer, row) for layer in range(LAYERS) for row in range(widths[layer + 1])])
    inputs, column = torch.tensor(widths)[places[:, 0]], torch.arange(token_size(observation_dim))
    valid = (column < inputs[:, None]) | (column == len(column) - 1)
    return torch.cat([torch.arange(len(places))[:, None], places], dim=1), valid


def tokenise(weights: Weights) -> Tensor:
    """[weight | padding | bias] of every layer, row by row, (T, D)."""
    padded = token_size(weights["0.weight"].shape[1]) - 1
    rows = []
    for layer in range(len(weights) // 2):
        weight, bias = weights[f"{2 * layer}.weight"], weights[f"{2 * layer}.bias"]
        rows.append(torch.cat([F.pad(weight, (0, padded - weight.shape[1])), bias[:, None]], dim=1))
    return torch.cat(rows)


def detokenise(tokens: Tensor, arch: Architecture, observation_dim: int, action_dim: int) -> Weights:
    """The inverse of `tokenise`; what (T, D) holds between a row's weights and its bias is left out."""
    widths = layer_widths(arch, observation_dim, action_dim)
    weights: Weights = {}
    for layer, rows in enumerate(tokens.split(widths[1:])):
        inputs = widths[layer]
        weights[f"{2 * layer}.weight"] = rows[:, :inputs].clone(memory_format=torch.contiguous_format)
        weights[f"{2 * layer}.bias"] = rows[:, -1].clone()
    return weights
