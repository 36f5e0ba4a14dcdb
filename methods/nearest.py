"""The floor `nearest`: a training network of the most similar architecture, cropped and padded to fit.

The hypernetworks cut all their policies out of one field of weights and rescale them for the fan-in, so a policy of
one architecture is nearly a policy of the next; and a narrower policy padded with silent units is the policy itself.
What a generator is worth on an architecture it never saw is what it does beyond this.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from nnbench.api import Architecture, TrainingSet, Untrained, Weights
from nnbench.tasks.architectures import parameter_shapes


class Method(Untrained):
    """Nothing is learned and nothing stored: the training set is the model."""

    name: ClassVar[str] = "nearest"

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies made of the networks of the nearest architectures, each used once before any is used again."""
        networks = nearest_networks(arch, self.training)
        return copies(networks, n, np.random.default_rng((seed, *arch)))


def copies(networks: Sequence[Weights], n: int, rng: np.random.Generator) -> list[Weights]:
    """n copies, each network used once before any is used again, in an order drawn anew each round."""
    rounds = [rng.permutation(len(networks)) for _ in range(math.ceil(n / len(networks)))]
    order = [i for drawn in rounds for i in drawn][:n]
    return [{key: value.clone() for key, value in networks[i].items()} for i in order]


def nearest_networks(arch: Architecture, training: TrainingSet) -> list[Weights]:
    """All networks of the nearest training architectures, made to fit `arch`."""
    return [
        resize(network, arch, training.task.observation_dim, training.task.action_dim)
        for near in nearest_architectures(arch, training)
        for _, network in sorted(training.networks(near).items())
    ]


def nearest_architectures(arch: Architecture, training: TrainingSet) -> list[Architecture]:
    """Of the training architectures that have networks, those with the fewest doublings of a width to `arch`.

    An architecture that was trained on is its own nearest.
    """
    distance = {
        near: sum(abs(math.log2(ours / theirs)) for ours, theirs in zip(arch, near, strict=True))
        for near in training.architectures
        if training.networks(near)
    }
    least = min(distance.values())
    return [near for near, doublings in distance.items() if math.isclose(doublings, least)]


def resize(source: Weights, arch: Architecture, observation_dim: int, action_dim: int) -> Weights:
    """Crop what is too wide, pad with zeros what is too narrow, and rescale for the fan-in that is lost.

    Units that padding adds say nothing, so a network that is only padded computes what it did before.
    """
    resized: Weights = {}
    for key, shape in parameter_shapes(arch, observation_dim, action_dim).items():
        overlap = tuple(slice(min(ours, theirs)) for ours, theirs in zip(shape, source[key].shape, strict=True))
        resized[key] = torch.zeros(shape)
        resized[key][overlap] = source[key][overlap]
        if len(shape) == 2:
            resized[key] *= math.sqrt(source[key].shape[1] / min(source[key].shape[1], shape[1]))
    return resized
