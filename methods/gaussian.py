"""Every weight drawn for itself, from a normal distribution fitted to the training networks.

It is the simplest model of a set of networks: it knows the mean and the spread of each weight, and nothing of how
weights depend on one another.
"""

from typing import ClassVar

import torch

from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Further
from nnbench.methods._noise import noise_source
from nnbench.tasks.policies.resizing import nearest_networks


class Method(Untrained):
    """Mean and standard deviation of each weight are over the networks of `nearest`."""

    name: ClassVar[str] = "gaussian"
    writes: ClassVar[tuple[Further, ...]] = ("widths", "depths")

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture."""
        networks = list(nearest_networks(arch, self.training).values())
        stacked = {key: torch.stack([network[key] for network in networks]) for key in networks[0]}
        generator = noise_source(seed, *arch)
        return [
            {
                key: values.mean(dim=0) + values.std(dim=0) * torch.randn(values.shape[1:], generator=generator)
                for key, values in stacked.items()
            }
            for _ in range(n)
        ]
