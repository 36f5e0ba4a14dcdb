"""The floor `ghn`: ask the zoo's own hypernetworks for the architecture.

The training networks of a learned method were written by these hypernetworks, so this is what a generator that
perfectly recalls its data source would produce. With S hypernetworks there are S different answers; more samples
repeat them.
"""

from typing import ClassVar

import numpy as np

from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Reading, Role
from nnbench.methods.nearest import copies


class Method(Untrained):
    """Nothing is learned and nothing stored: the zoo is the model."""

    name: ClassVar[str] = "ghn"
    role: ClassVar[Role] = "source"
    reads: ClassVar[tuple[Reading, ...]] = ("hypernetworks",)

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies; of S hypernetworks each writes floor(n / S) or ceil(n / S), in an order drawn anew each round."""
        policies = self.training.hypernetwork_policies(arch)
        return copies([policies[s] for s in sorted(policies)], n, np.random.default_rng((seed, *arch)))
