"""Which hidden neurons of a policy matter, without any data."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nnbench.tasks.policies.mlp import Weights

_INPUTS = 1024
"""Observations with which it is measured what a neuron passes on."""


def passed_on(weights: Weights) -> list[Tensor]:
    """For each hidden layer what each neuron passes on to the next, (width,).

    That is the root mean square of its activation, times the norm of its outgoing weights, where the observations are
    standard normal, which is about what a policy reads.
    """
    hidden = torch.randn(_INPUTS, weights["0.weight"].shape[1], generator=torch.Generator().manual_seed(0))
    found = []
    for layer in range(len(weights) // 2 - 1):
        hidden = F.relu(F.linear(hidden, weights[f"{2 * layer}.weight"], weights[f"{2 * layer}.bias"]))
        found.append(hidden.square().mean(dim=0).sqrt() * weights[f"{2 * layer + 2}.weight"].norm(dim=0))
    return found
