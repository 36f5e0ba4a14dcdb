"""The training networks themselves, on the architectures that have some.

They are what a generator learns from, measured under the same protocol as what it writes: the paper's Dataset row.
"""

from typing import ClassVar

import numpy as np

from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Role
from nnbench.methods.nearest import copies


class Method(Untrained):
    """Hands out the training networks of the architecture asked for, in an order drawn anew in each round."""

    name: ClassVar[str] = "dataset"
    role: ClassVar[Role] = "source"
    seen_only: ClassVar[bool] = True

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies, each used once before any is used again. Raises HeldOutAccess for other architectures."""
        networks = list(self.training.networks(arch).values())
        return copies(networks, n, np.random.default_rng((seed, *arch)))

    def generate_joint(self, n: int, *, seed: int = 0) -> list[tuple[Architecture, Weights]]:
        """n training networks of architectures drawn uniformly from those that have some."""
        rng = np.random.default_rng(seed)
        trained = [arch for arch in self.training.architectures if self.training.networks(arch)]
        drawn = [trained[i] for i in rng.integers(len(trained), size=n)]
        return [(arch, copies(list(self.training.networks(arch).values()), 1, rng)[0]) for arch in drawn]
