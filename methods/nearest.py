"""A training network of the most similar architecture, cropped and padded to fit.

Each hypernetwork cuts all its policies out of one field of weights and rescales them for the fan-in, so a policy of one
architecture is nearly a policy of the next. A narrower policy padded with silent units is the policy itself. On an
architecture that it never saw, a generator is worth what it does beyond this.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Further
from nnbench.tasks.policies.resizing import nearest_networks


class Method(Untrained):
    """Learns nothing and stores nothing: the training set is the model."""

    name: ClassVar[str] = "nearest"
    writes: ClassVar[tuple[Further, ...]] = ("widths", "depths")

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies made of the networks of the nearest architectures, each used once before any is used again."""
        networks = list(nearest_networks(arch, self.training).values())
        return copies(networks, n, np.random.default_rng((seed, *arch)))


def copies(networks: Sequence[Weights], n: int, rng: np.random.Generator) -> list[Weights]:
    """n copies, each network used once before any is used again, in an order drawn anew in each round."""
    rounds = [rng.permutation(len(networks)) for _ in range(math.ceil(n / len(networks)))]
    order = [i for drawn in rounds for i in drawn][:n]
    return [{key: value.clone() for key, value in networks[i].items()} for i in order]
