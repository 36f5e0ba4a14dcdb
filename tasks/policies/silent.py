"""Hidden neurons that take no part in what a network computes, and the network without them.

Padding a narrow policy with such neurons gives a policy of a wider architecture that does exactly the same. Without
them it is seen for what it is.
"""

import torch
from torch import Tensor

from nnbench.tasks.policies.mlp import Weights


def without_silent(weights: Weights) -> Weights:
    """The same function on fewer neurons: without those that nothing reads, and those whose output never changes.

    Nothing reads a neuron whose outgoing weights are all zero. The output of one whose incoming weights are all zero is
    a constant, which moves into the biases of the next layer. A layer keeps one neuron at least. The order of the
    others stays.
    """
    layers = len(weights) // 2
    matrices = [weights[f"{2 * layer}.weight"].double() for layer in range(layers)]
    biases = [weights[f"{2 * layer}.bias"].double() for layer in range(layers)]
    removed = True
    while removed:  # each removal may leave others without a reader, or without an input
        removed = False
        for layer in range(layers - 1):
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
    kept: dict[str, Tensor] = {}
    for layer in range(layers):
        kept[f"{2 * layer}.weight"] = matrices[layer].to(torch.float32)
        kept[f"{2 * layer}.bias"] = biases[layer].to(torch.float32)
    return kept
