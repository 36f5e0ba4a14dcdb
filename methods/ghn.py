"""The floor `ghn`: ask the zoo's own hypernetworks for the architecture.

The training networks of a learned method were written by these hypernetworks, so this is what a generator that
perfectly recalls its data source would produce. With S hypernetworks there are S different answers; more samples
repeat them.
"""

from typing import ClassVar

import numpy as np

from nnbench.api import Architecture, Untrained, Weights


class Method(Untrained):
    """Nothing is learned and nothing stored: the zoo is the model."""

    name: ClassVar[str] = "ghn"
    reads_ghn: ClassVar[bool] = True

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies; of S hypernetworks each writes floor(n / S) or ceil(n / S), in an order drawn anew each round."""
        policies = self.training.hypernetwork_policies(arch)
        rng = np.random.default_rng((seed, *arch))
        rounds = [rng.permutation(sorted(policies)) for _ in range(-(-n // len(policies)))]
        order = [int(ghn_seed) for drawn in rounds for ghn_seed in drawn][:n]
        return [{key: value.clone() for key, value in policies[ghn_seed].items()} for ghn_seed in order]
