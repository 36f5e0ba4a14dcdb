"""A policy as one sequence: architecture tokens and patches of its weights (section 5.1).

A layer is the block [weight | bias] of out x (in + 1) numbers, zero-padded to one grid of H x W for all layers and cut
into p x p patches. A patch is a token with a place (layer, row, column). A wider network has more such tokens, not
larger ones, so one model can write every architecture of four hidden layers of these widths. Here a patch may be any
rectangle, of h x w: 1 x 65 is a whole row of the grid, and the tokens are then SANE's, one per neuron.

The paper writes n_l x (n_{l+1} + 1); a bias has one number per output, so here it is out x (in + 1).

Shapes: L patches of a grid, l of them valid, P = h * w numbers per patch, S = 6 architecture tokens, V = 5 symbols.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nnbench.errors import InputError
from nnbench.tasks.policies.architectures import MAX_WIDTH, Architecture, architecture_name, layer_widths
from nnbench.tasks.policies.mlp import Weights

VOCABULARY = (16, 32, 64)
"""Hidden widths that have a symbol; the input and the output have one each too (section 5.1.1)."""

HIDDEN_LAYERS = 4
LAYERS = HIDDEN_LAYERS + 1
SYMBOLS = len(VOCABULARY) + 2
_INPUT, _OUTPUT = 0, SYMBOLS - 1


def encode_architecture(arch: Architecture) -> Tensor:
    """+1 for the symbol at each place and -1 for the others, (S, V): input, the hidden widths, output.

    The codes are fixed: embeddings that are learned while they are diffused could shrink until nothing is left to
    predict. Raises InputError where a width has no symbol or the number of hidden layers differs.
    """
    if len(arch) != HIDDEN_LAYERS:
        raise InputError(f"{architecture_name(arch)} has {len(arch)} hidden layers, expected {HIDDEN_LAYERS}")
    for width in arch:
        if width not in VOCABULARY:
            raise InputError(
                f"{architecture_name(arch)} has width {width}, which has no symbol; known widths: {VOCABULARY}"
            )
    symbols = [_INPUT, *(1 + VOCABULARY.index(width) for width in arch), _OUTPUT]
    return 2 * F.one_hot(torch.tensor(symbols), SYMBOLS).float() - 1


def decode_architecture(codes: Tensor) -> Architecture:
    """The nearest architecture to noisy codes (S, V): at each hidden place the most likely width."""
    return tuple(VOCABULARY[index] for index in codes[1:-1, 1:-1].argmax(dim=1).tolist())


def grid_shape(patch: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of patches of every layer's padded block, H / h and W / w."""
    return math.ceil(MAX_WIDTH / patch[0]), math.ceil((MAX_WIDTH + 1) / patch[1])


def positions(patch: tuple[int, int]) -> Tensor:
    """(layer, row, column) of every patch of the grid, (L, 3)."""
    rows, columns = grid_shape(patch)
    return torch.cartesian_prod(torch.arange(LAYERS), torch.arange(rows), torch.arange(columns))


def valid_patches(arch: Architecture, observation_dim: int, action_dim: int, patch: tuple[int, int]) -> Tensor:
    """Which patches of the grid hold part of the network, (L,) bool."""
    widths = torch.tensor(layer_widths(arch, observation_dim, action_dim))
    layer, row, column = positions(patch).unbind(1)
    return (row * patch[0] < widths[1:][layer]) & (column * patch[1] < widths[:-1][layer] + 1)


def patchify(weights: Weights, patch: tuple[int, int]) -> Tensor:
    """Every layer's block, zero-padded to the grid, as patches in the order of `positions`, (L, P)."""
    height, width = patch
    rows, columns = grid_shape(patch)
    tokens = []
    for layer in range(len(weights) // 2):
        block = torch.cat([weights[f"{2 * layer}.weight"], weights[f"{2 * layer}.bias"][:, None]], dim=1)
        out, inputs = block.shape
        block = F.pad(block, (0, columns * width - inputs, 0, rows * height - out))  # (H, W)
        tokens.append(block.unfold(0, height, height).unfold(1, width, width).reshape(-1, height * width))
    return torch.cat(tokens)


def unpatchify(
    tokens: Tensor, arch: Architecture, observation_dim: int, action_dim: int, patch: tuple[int, int]
) -> Weights:
    """The inverse of `patchify`: assemble (L, P) patches and cut the padding off (section 5.4)."""
    height, width = patch
    rows, columns = grid_shape(patch)
    widths = layer_widths(arch, observation_dim, action_dim)
    weights: Weights = {}
    for layer, part in enumerate(tokens.view(LAYERS, rows, columns, height, width)):
        block = part.transpose(1, 2).reshape(rows * height, columns * width)
        inputs, out = widths[layer], widths[layer + 1]
        weights[f"{2 * layer}.weight"] = block[:out, :inputs].clone(memory_format=torch.contiguous_format)
        weights[f"{2 * layer}.bias"] = block[:out, inputs].clone()
    return weights
