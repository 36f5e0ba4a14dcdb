"""Hidden neurons and layers that take no part in what a network computes, and the network without them.

Padding a narrow policy with such neurons gives a policy of a wider architecture that does exactly the same, and layers
that pass on what they are given make it a deeper one. Without them it is seen for what it is.
"""

import torch
from torch import Tensor

from nnbench.tasks.policies.mlp import Weights


def without_silent(weights: Weights) -> Weights:
    """The same function on fewer neurons: without those that nothing reads, and those whose output never changes.

    Nothing reads a neuron whose outgoing weights are all zero. The output of one whose incoming weights are all zero is
    a constant, which moves into the biases of the next layer. A layer keeps one neuron at least. The order of the
    others stays. A layer without a negative weight or bias only passes on what the ReLU before it let through: the next
    layer takes over its linear map.
    """
    layers = len(weights) // 2
    matrices = [weights[f"{2 * layer}.weight"].double() for layer in range(layers)]
    biases = [weights[f"{2 * layer}.bias"].double() for layer in range(layers)]
    # Each removal may leave others without a reader, or without an input.
    while _remove_neurons(matrices, biases) or _remove_layer(matrices, biases):
        pass
    kept: dict[str, Tensor] = {}
    for layer, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
        kept[f"{2 * layer}.weight"] = matrix.to(torch.float32)
        kept[f"{2 * layer}.bias"] = bias.to(torch.float32)
    return kept


def _remove_neurons(matrices: list[Tensor], biases: list[Tensor]) -> bool:
    """Whether there was a silent one."""
    removed = False
    for layer in range(len(matrices) - 1):
        incoming, outgoing = matrices[layer], matrices[layer + 1]
        constant = (incoming == 0).all(dim=1)
        gone = constant | (outgoing == 0).all(dim=0)
        if gone.all():
            gone[0] = False
        if gone.any():
            fixed = constant & gone
            biases[layer + 1] = biases[layer + 1] + outgoing[:, fixed] @ biases[layer][fixed].clamp(min=0)
            matrices[layer], biases[layer] = incoming[~gone], biases[layer][~gone]
            matrices[layer + 1] = outgoing[:, ~gone]
            removed = True
    return removed


def _remove_layer(matrices: list[Tensor], biases: list[Tensor]) -> bool:
    """Whether there was one that only passes on."""
    for layer in range(1, len(matrices) - 1):
        if (matrices[layer] >= 0).all() and (biases[layer] >= 0).all():
            after = matrices[layer + 1]
            biases[layer : layer + 2] = [after @ biases[layer] + biases[layer + 1]]
            matrices[layer : layer + 2] = [after @ matrices[layer]]
            return True
    return False
