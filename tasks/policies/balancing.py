"""The scale of hidden neurons, which can change without changing what a network computes.

A ReLU neuron whose incoming weights and bias are multiplied by a positive number, and whose outgoing weights are
divided by it, does the same. So weights can lie far apart and be one function; in one scale they can be compared.
"""

import numpy as np
import torch

from nnbench.tasks.policies.mlp import Weights

_SWEEPS = 1_000
_CLOSE = 1e-9
"""Of the logarithm of a scale: what changes less is balanced."""


def balance(weights: Weights) -> Weights:
    """The same function at the least L2 norm: each hidden neuron's incoming weights and bias have the norm of its
    outgoing weights (Stock et al. 2019, "Equi-normalization of neural networks").

    A neuron that nothing reads, or that reads nothing, becomes zero: its norm can be made as small as one likes.
    """
    values = [value.double().numpy().copy() for value in weights.values()]
    matrices, biases = values[::2], values[1::2]
    for _ in range(_SWEEPS):
        # Scaling one layer changes the norms beside it, but there is one optimum, and every step comes nearer.
        if max([_balance_layer(matrices, biases, layer) for layer in range(len(matrices) - 1)], default=0.0) < _CLOSE:
            break
    return {key: torch.from_numpy(value).to(torch.float32) for key, value in zip(weights, values, strict=True)}


def _balance_layer(matrices: list[np.ndarray], biases: list[np.ndarray], layer: int) -> float:
    """Scale the neurons of one hidden layer in place; the largest change, as a logarithm."""
    read = np.sqrt((matrices[layer] ** 2).sum(axis=1) + biases[layer] ** 2)
    passed = np.sqrt((matrices[layer + 1] ** 2).sum(axis=0))
    live = (read > 0) & (passed > 0)
    scale = np.sqrt(np.divide(passed, read, out=np.ones_like(read), where=live))
    up, down = np.where(live, scale, 0.0), np.where(live, 1 / scale, 0.0)
    matrices[layer] *= up[:, None]
    biases[layer] *= up
    matrices[layer + 1] *= down
    return float(np.abs(np.log(scale)).max())
