"""How far generated policies are from the training set, by their weights and by what they do.

Weights are compared after the best found order of the neurons, so that a reordered copy is seen for what it is; actions
on states that the zoo keeps, which works across architectures. Either distance means little by itself: beside it stands
how far the training policies of different GHNs are from one another.

S samples, T training policies, N states, A action dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nnbench.tasks.architectures import Architecture
from nnbench.tasks.permutation import align
from nnbench.tasks.policy import Weights, flatten_weights
from nnbench.tasks.zoo import TrainingSet

Origin = tuple[Architecture, int]
"""A training policy: its architecture and its GHN's seed."""


class Neighbour(NamedTuple):
    """The nearest training policy."""

    origin: Origin
    distance: float


def nearest_by_weights(samples: Sequence[Weights], training: Mapping[Origin, Weights]) -> list[Neighbour]:
    """L2 distance to the nearest of the training networks, all of the samples' architecture, neurons aligned."""
    found = []
    for sample in samples:
        ours = flatten_weights(sample)
        distances = {
            origin: float((flatten_weights(align(network, sample)) - ours).norm())
            for origin, network in training.items()
        }
        nearest = min(distances, key=distances.__getitem__)
        found.append(Neighbour(nearest, distances[nearest]))
    return found


def spread_by_weights(training: Mapping[Origin, Weights]) -> float:
    """Median distance of a training network to the nearest of another GHN, neurons aligned; NaN where there is none."""
    found = []
    for origin, network in training.items():
        others = {other: weights for other, weights in training.items() if other[1] != origin[1]}
        if others:
            found.append(nearest_by_weights([network], others)[0].distance)
    return float(np.median(found)) if found else float("nan")


@dataclass(frozen=True)
class ActionBank:
    """What the training policies do in the zoo's states."""

    states: Tensor  # (N, O)
    origins: tuple[Origin, ...]
    actions: Tensor  # (T, N, A), within [-1, 1]

    @classmethod
    def of(cls, training: TrainingSet, states: Tensor) -> "ActionBank":
        """All training policies of all architectures."""
        policies = {
            (arch, seed): weights
            for arch in training.architectures
            for seed, weights in training.networks(arch).items()
        }
        return cls(states, tuple(policies), torch.stack([act(weights, states) for weights in policies.values()]))

    def nearest(self, samples: Sequence[Weights]) -> list[Neighbour]:
        """The training policy that acts most alike: mean over the states of the L2 distance of the actions."""
        found = []
        for sample in samples:
            distances = self._distances(act(sample, self.states))  # (T,)
            position = int(distances.argmin())
            found.append(Neighbour(self.origins[position], float(distances[position])))
        return found

    def spread(self) -> float:
        """Median distance of a training policy to the nearest of another GHN, over a hundred of them."""
        seeds = torch.tensor([seed for _, seed in self.origins])
        found = []
        for position in np.linspace(0, len(self.origins) - 1, min(100, len(self.origins))).round().astype(int):
            distances = self._distances(self.actions[position])
            others = distances[seeds != seeds[position]]
            if len(others):
                found.append(float(others.min()))
        return float(np.median(found)) if found else float("nan")

    def _distances(self, actions: Tensor) -> Tensor:
        return (self.actions - actions).norm(dim=2).mean(dim=1)


def act(weights: Weights, states: Tensor) -> Tensor:
    """The policy's actions, (N, A), as the simulator executes them."""
    hidden = states
    layers = len(weights) // 2
    for layer in range(layers):
        hidden = hidden @ weights[f"{2 * layer}.weight"].T + weights[f"{2 * layer}.bias"]
        hidden = F.relu(hidden) if layer < layers - 1 else hidden
    return hidden.clamp(-1, 1)
