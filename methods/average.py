"""The mean of two training networks, weight by weight.

The average of two networks whose neurons are in different orders computes nothing. Where it works, the weights of
different hypernetworks mean the same thing, as the paper says (section 6.1).
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from nnbench.api import Architecture, TrainingSet, Untrained, Weights
from nnbench.facts import Further
from nnbench.tasks.policies.resizing import nearest_architectures, resize


class Method(Untrained):
    """Averages pairs of networks of one of the nearest architectures."""

    name: ClassVar[str] = "average"
    writes: ClassVar[tuple[Further, ...]] = ("widths", "depths")

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture."""
        return [{key: (a[key] + b[key]) / 2 for key in a} for a, b in pairs(arch, n, seed, self.training)]


def pairs(arch: Architecture, n: int, seed: int, training: TrainingSet) -> Iterator[tuple[Weights, Weights]]:
    """n random pairs, made to fit `arch`: two hypernetworks' policies of one training architecture."""
    # Pairs within one architecture: what one hypernetwork writes for two architectures is nearly the same.
    sources = [
        list(training.networks(near).values())
        for near in nearest_architectures(arch, training)
        if len(training.networks(near)) > 1
    ]
    rng = np.random.default_rng((seed, *arch))
    for _ in range(n):
        networks = sources[rng.integers(len(sources))]
        a, b = (
            resize(networks[i], arch, training.task.observation_dim, training.task.action_dim)
            for i in rng.choice(len(networks), 2, replace=False)
        )
        yield a, b
