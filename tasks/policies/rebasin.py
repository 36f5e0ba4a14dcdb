"""Match the hidden neurons of two networks: their order can change without changing what a network computes.

Weight matching of Git Re-Basin (Ainsworth et al. 2023, section 3.2) for multilayer perceptrons: the permutations of the
hidden neurons that bring one network nearest to another in L2. Coordinate descent over the layers; each step solves a
linear assignment problem exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from nnbench.errors import InputError
from nnbench.tasks.policies.mlp import Weights


def permute(weights: Weights, permutations: Sequence[np.ndarray]) -> Weights:
    """The same function with neuron permutations[l][i] of hidden layer l in place i.

    Raises InputError unless there is a permutation of the right size for each hidden layer.
    """
    layers = len(weights) // 2
    widths = [weights[f"{2 * layer}.bias"].shape[0] for layer in range(layers - 1)]
    if [sorted(p) for p in permutations] != [list(range(width)) for width in widths]:
        raise InputError(f"expected a permutation for each of the hidden widths {widths}")
    permuted = {key: value.clone() for key, value in weights.items()}
    for layer, permutation in enumerate(permutations):
        order = torch.as_tensor(permutation)
        for key in (f"{2 * layer}.weight", f"{2 * layer}.bias"):
            permuted[key] = permuted[key][order]
        key = f"{2 * layer + 2}.weight"
        permuted[key] = permuted[key][:, order]
    return permuted


def match(weights: Weights, reference: Weights) -> list[np.ndarray]:
    """Permutations that bring `weights` near `reference`, two networks of one architecture.

    Coordinate descent ends in a local optimum, so it is run from two starts and the better result is returned. The
    first start is the given order, so that the distance never grows. The second matches layer after layer by incoming
    weights alone, which finds any order of a copy. Raises InputError where the shapes differ.
    """
    if [(k, v.shape) for k, v in weights.items()] != [(k, v.shape) for k, v in reference.items()]:
        raise InputError("expected two networks of one architecture")
    ours, theirs = ([value.double().numpy() for value in network.values()] for network in (weights, reference))
    layers = len(ours) // 2
    widths = [len(ours[2 * layer + 1]) for layer in range(layers - 1)]
    forward: list[np.ndarray] = []
    for layer in range(len(widths)):
        incoming = ours[2 * layer][:, forward[-1]] if forward else ours[2 * layer]
        similarity = theirs[2 * layer] @ incoming.T + np.outer(theirs[2 * layer + 1], ours[2 * layer + 1])
        forward.append(linear_sum_assignment(similarity, maximize=True)[1])

    gains = []
    starts = [[np.arange(width) for width in widths], forward]
    for found in starts:
        gain, previous = _inner_product(ours, theirs, found), -np.inf
        stale = set(range(len(widths)))  # matched again, a layer between the same neighbours would come out the same
        while stale and gain > previous + 1e-9 * max(1.0, abs(gain)):
            previous = gain
            for layer in range(len(widths)):
                if layer not in stale:
                    continue
                stale.remove(layer)
                order = _assign(ours, theirs, found, layer)
                if not np.array_equal(order, found[layer]):
                    found[layer] = order
                    stale |= {layer - 1, layer + 1} & set(range(len(widths)))
            gain = _inner_product(ours, theirs, found)
        gains.append(gain)
    return starts[int(np.argmax(gains))]


def align(weights: Weights, reference: Weights) -> Weights:
    """`weights`, its neurons in the order that is nearest to `reference`."""
    return permute(weights, match(weights, reference))


@dataclass(frozen=True)
class Neurons:
    """A network's hidden neurons, to be compared with another's whatever the order of either."""

    layers: tuple[np.ndarray, ...]
    """Of each hidden layer (width, features): a neuron's incoming weights, bias and outgoing weights. The weights that
    lead to another hidden layer, whose order is open, are sorted and count half, for they are seen from both ends."""
    output_bias: np.ndarray

    @classmethod
    def of(cls, weights: Weights) -> Self:
        values = [value.double().numpy() for value in weights.values()]
        hidden, layers = len(values) // 2 - 1, []
        for layer in range(hidden):
            incoming, bias, outgoing = values[2 * layer], values[2 * layer + 1], values[2 * layer + 2].T
            if layer > 0:
                incoming = np.sqrt(0.5) * np.sort(incoming, axis=1)
            if layer < hidden - 1:
                outgoing = np.sqrt(0.5) * np.sort(outgoing, axis=1)
            layers.append(np.concatenate([incoming, bias[:, None], outgoing], axis=1))
        return cls(tuple(layers), values[-1])

    def bound(self, other: Self) -> float:
        """An L2 distance that no order of the neurons brings the two networks below.

        Each layer is matched by itself, and two sets of numbers are nearest to one another when both are sorted.
        """
        total = float(((self.output_bias - other.output_bias) ** 2).sum())
        for ours, theirs in zip(self.layers, other.layers, strict=True):
            apart = cdist(ours, theirs, "sqeuclidean")
            total += float(apart[linear_sum_assignment(apart)].sum())
        return float(np.sqrt(total))


def _assign(ours: list[np.ndarray], theirs: list[np.ndarray], permutations: list[np.ndarray], layer: int) -> np.ndarray:
    """The best order of one layer's neurons, those of the others given."""
    incoming = ours[2 * layer] if layer == 0 else ours[2 * layer][:, permutations[layer - 1]]
    last = layer == len(permutations) - 1
    outgoing = ours[2 * layer + 2] if last else ours[2 * layer + 2][permutations[layer + 1]]
    similarity = theirs[2 * layer] @ incoming.T + np.outer(theirs[2 * layer + 1], ours[2 * layer + 1])
    similarity += theirs[2 * layer + 2].T @ outgoing  # (place, neuron)
    order: np.ndarray = linear_sum_assignment(similarity, maximize=True)[1]
    return order


def _inner_product(ours: list[np.ndarray], theirs: list[np.ndarray], permutations: list[np.ndarray]) -> float:
    """The inner product of the permuted network and the reference; the L2 distance falls as it grows."""
    total = 0.0
    for layer in range(len(permutations) + 1):
        weight, bias = ours[2 * layer], ours[2 * layer + 1]
        if layer > 0:
            weight = weight[:, permutations[layer - 1]]
        if layer < len(permutations):
            weight, bias = weight[permutations[layer]], bias[permutations[layer]]
        total += float((weight * theirs[2 * layer]).sum() + (bias * theirs[2 * layer + 1]).sum())
    return total
