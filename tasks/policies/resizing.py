"""Networks of one architecture made into networks of another, by cropping and padding."""

import math

import torch

from nnbench.tasks.policies.architectures import Architecture, parameter_shapes
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.policies.training_set import TrainingSet


def nearest_networks(arch: Architecture, training: TrainingSet) -> dict[tuple[Architecture, int], Weights]:
    """All networks of the nearest training architectures, by architecture and GHN seed, made to fit `arch`."""
    return {
        (near, seed): resize(network, arch, training.task.observation_dim, training.task.action_dim)
        for near in nearest_architectures(arch, training)
        for seed, network in sorted(training.networks(near).items())
    }


def nearest_architectures(arch: Architecture, training: TrainingSet) -> list[Architecture]:
    """The training architectures that have networks and are the fewest doublings of a width away from `arch`.

    An architecture that was trained on is its own nearest.
    """
    distance = {near: doublings(arch, near) for near in training.architectures if training.networks(near)}
    least = min(distance.values())
    return [near for near, found in distance.items() if math.isclose(found, least)]


def doublings(arch: Architecture, other: Architecture) -> float:
    """Distance of two architectures of one depth: L1 on the log2 of their widths."""
    return sum(abs(math.log2(ours / theirs)) for ours, theirs in zip(arch, other, strict=True))


def resize(source: Weights, arch: Architecture, observation_dim: int, action_dim: int) -> Weights:
    """Crop what is too wide, pad with zeros what is too narrow, and rescale for the fan-in that is lost.

    Units that padding adds have zero weights, so a network that is only padded computes the same as before.
    """
    resized: Weights = {}
    for key, shape in parameter_shapes(arch, observation_dim, action_dim).items():
        overlap = tuple(slice(min(ours, theirs)) for ours, theirs in zip(shape, source[key].shape, strict=True))
        resized[key] = torch.zeros(shape)
        resized[key][overlap] = source[key][overlap]
        if len(shape) == 2:
            resized[key] *= math.sqrt(source[key].shape[1] / min(source[key].shape[1], shape[1]))
    return resized
