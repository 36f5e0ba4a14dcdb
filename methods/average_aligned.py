"""The floor `average_aligned`: `average`, with the neurons of one network put in the order of the other's first.

What it gains on `average` is what the order of the neurons hides.
"""

from typing import ClassVar

import numpy as np

from nnbench.api import Architecture, Untrained, Weights
from nnbench.methods.nearest import nearest_networks
from nnbench.tasks.permutation import align


class Method(Untrained):
    """Pairs out of `nearest`, aligned."""

    name: ClassVar[str] = "average_aligned"

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture, each of a random pair of different networks; the pairs are `average`'s."""
        networks = nearest_networks(arch, self.training)
        rng = np.random.default_rng((seed, *arch))
        samples = []
        for _ in range(n):
            a, b = (networks[i] for i in rng.choice(len(networks), 2, replace=False))
            b = align(b, a)
            samples.append({key: (a[key] + b[key]) / 2 for key in a})
        return samples
