"""A network of any architecture as one vector of fixed length, zero-padded, and back.

Shapes: P parameters of a network, D numbers of the vector, which is as long as the widest network needs.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from nnbench.errors import InputError
from nnbench.tasks.policies.architectures import MAX_WIDTH, Architecture, architecture_name, parameter_shapes
from nnbench.tasks.policies.mlp import Weights, architecture_of, flatten_weights

Layout = Literal["flat", "grid"]
"""`flat` fills the vector from its beginning, in the order of the state dict, as D2NWG's authors do: a parameter's
place depends on the widths of all layers before it. `grid` puts every parameter where the widest network has it: a
connection has the same place in all architectures."""


def vector_size(hidden_layers: int, observation_dim: int, action_dim: int) -> int:
    """D."""
    shapes = parameter_shapes((MAX_WIDTH,) * hidden_layers, observation_dim, action_dim)
    return sum(map(math.prod, shapes.values()))


def places(arch: Architecture, layout: Layout, observation_dim: int, action_dim: int) -> Tensor:
    """The place of each parameter in the vector, in the order of the state dict, (P,)."""
    shapes = parameter_shapes(arch, observation_dim, action_dim)
    if layout == "flat":
        return torch.arange(sum(map(math.prod, shapes.values())))
    found, first = [], 0
    for key, widest in parameter_shapes((MAX_WIDTH,) * len(arch), observation_dim, action_dim).items():
        block = torch.arange(first, first + math.prod(widest)).view(widest)
        found.append(block[tuple(slice(size) for size in shapes[key])].flatten())
        first += math.prod(widest)
    return torch.cat(found)


def vectorise(weights: Weights, arch: Architecture, layout: Layout, observation_dim: int, action_dim: int) -> Tensor:
    """(D,). Raises InputError where the network is of another architecture."""
    if architecture_of(weights) != arch:
        found = architecture_name(architecture_of(weights))
        raise InputError(f"expected a policy of architecture {architecture_name(arch)}, got one of {found}")
    vector = torch.zeros(vector_size(len(arch), observation_dim, action_dim))
    vector[places(arch, layout, observation_dim, action_dim)] = flatten_weights(weights)
    return vector


def devectorise(vector: Tensor, arch: Architecture, layout: Layout, observation_dim: int, action_dim: int) -> Weights:
    """The inverse of `vectorise`; numbers outside this architecture's places are left out."""
    shapes = parameter_shapes(arch, observation_dim, action_dim)
    values = vector[places(arch, layout, observation_dim, action_dim)]
    parts = values.split([math.prod(shape) for shape in shapes.values()])
    return {key: part.view(shape).clone() for (key, shape), part in zip(shapes.items(), parts, strict=True)}
