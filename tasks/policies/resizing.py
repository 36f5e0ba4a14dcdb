"""Networks of one architecture made into networks of another, by cropping and padding."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnbench.tasks.policies.architectures import Architecture, best_origins, doublings, parameter_shapes
from nnbench.tasks.policies.mlp import Weights, architecture_of
from nnbench.tasks.policies.training_set import TrainingSet


def nearest_networks(arch: Architecture, training: TrainingSet) -> dict[tuple[Architecture, int], Weights]:
    """All networks of the nearest training architectures, by architecture and GHN seed, made to fit `arch`."""
    return {
        (near, seed): resize(network, arch, training.task.observation_dim, training.task.action_dim)
        for near in nearest_architectures(arch, training)
        for seed, network in sorted(training.networks(near).items())
    }


def largest_network(training: TrainingSet) -> Weights:
    """The first network of the training architecture with the most neurons."""
    largest = max((arch for arch in training.architectures if training.networks(arch)), key=sum)
    return next(iter(training.networks(largest).values()))


def nearest_architectures(arch: Architecture, training: TrainingSet) -> list[Architecture]:
    """The training architectures that have networks and are the fewest doublings of a width away from `arch`.

    An architecture that was trained on is its own nearest.
    """
    distance = {near: doublings(arch, near) for near in training.architectures if training.networks(near)}
    least = min(distance.values())
    return [near for near, found in distance.items() if math.isclose(found, least)]


def resize(source: Weights, arch: Architecture, observation_dim: int, action_dim: int) -> Weights:
    """Crop what is too wide, pad with zeros what is too narrow, and rescale for the fan-in that is lost.

    Units that padding adds have zero weights, so a network that is only padded computes the same as before. Layers are
    added and left out as the widths fit best.
    """
    source = with_layers(source, best_origins(arch, architecture_of(source)))
    resized: Weights = {}
    for key, shape in parameter_shapes(arch, observation_dim, action_dim).items():
        overlap = tuple(slice(min(ours, theirs)) for ours, theirs in zip(shape, source[key].shape, strict=True))
        resized[key] = torch.zeros(shape)
        resized[key][overlap] = source[key][overlap]
        if len(shape) == 2:
            resized[key] *= math.sqrt(source[key].shape[1] / min(source[key].shape[1], shape[1]))
    return resized


def with_layers(source: Weights, origins: Sequence[int]) -> Weights:
    """The network whose hidden layers are these of the source's, in their order.

    A layer that comes again passes on what it is given, which its ReLU does not change: the network computes the same.
    The next layer takes over the linear map of one that is left out, not its ReLU: that is another network.
    """
    layers = len(source) // 2
    made: list[tuple[Tensor, Tensor]] = []
    last = -1
    for origin in (*origins, layers - 1):
        if origin == last:
            width = len(source[f"{2 * origin}.bias"])
            matrix, bias = torch.eye(width), torch.zeros(width)
        else:
            matrix, bias = source[f"{2 * last + 2}.weight"], source[f"{2 * last + 2}.bias"]
            for layer in range(last + 2, origin + 1):
                following = source[f"{2 * layer}.weight"]
                matrix, bias = following @ matrix, following @ bias + source[f"{2 * layer}.bias"]
        made.append((matrix, bias))
        last = origin
    named: Weights = {}
    for layer, (matrix, bias) in enumerate(made):
        named |= {f"{2 * layer}.weight": matrix, f"{2 * layer}.bias": bias}
    return named
