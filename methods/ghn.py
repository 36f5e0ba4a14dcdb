"""The zoo's own hypernetworks, asked for the architecture.

They wrote the training networks, so this is what a generator would write that recalls its data source perfectly. S
hypernetworks give S different answers; more samples repeat them.
"""

from typing import ClassVar

import numpy as np

from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Further, Reading, Role
from nnbench.methods.nearest import copies


class Method(Untrained):
    """Learns nothing and stores nothing: the zoo is the model."""

    name: ClassVar[str] = "ghn"
    role: ClassVar[Role] = "source"
    writes: ClassVar[tuple[Further, ...]] = ("widths", "depths")
    reads: ClassVar[tuple[Reading, ...]] = ("hypernetworks",)

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies, floor(n / S) or ceil(n / S) by each of S hypernetworks, in an order drawn anew in each round."""
        policies = self.training.hypernetwork_policies(arch)
        return copies([policies[s] for s in sorted(policies)], n, np.random.default_rng((seed, *arch)))
