"""The floor `average`: the mean of two training networks, weight by weight.

Two networks that compute the same function with their neurons in another order average to nothing. Where the average
works, weights of different hypernetworks mean the same thing, which is what the paper says of them (section 6.1).
"""

from typing import ClassVar

import numpy as np

from nnbench.api import Architecture, Untrained, Weights
from nnbench.methods.nearest import nearest_networks


class Method(Untrained):
    """Pairs out of `nearest`."""

    name: ClassVar[str] = "average"

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture, each of a random pair of different networks."""
        networks = nearest_networks(arch, self.training)
        rng = np.random.default_rng((seed, *arch))
        pairs = [rng.choice(len(networks), 2, replace=False) for _ in range(n)]
        return [{key: (networks[a][key] + networks[b][key]) / 2 for key in networks[a]} for a, b in pairs]
