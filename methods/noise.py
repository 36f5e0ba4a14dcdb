"""A training network with a little noise on every weight.

Measured as a distance, this is novel: it lies off every training network and works about as well. A generator whose
samples are as near to the training networks and no better has learned to copy (Zeng et al. 2025).
"""

from typing import ClassVar

import numpy as np
import torch

from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Further
from nnbench.tasks.policies.resizing import nearest_networks

SIGMA = 0.05
"""Standard deviation of the noise, when all training weights have 0.538. Zeng et al. took .05 and .1."""


class Method(Untrained):
    """Draws from the networks of `nearest` with replacement, and adds Gaussian noise to every weight and bias."""

    name: ClassVar[str] = "noise"
    writes: ClassVar[tuple[Further, ...]] = ("widths", "depths")
    reference: ClassVar[str | None] = (
        "Zeng et al., Generative Modeling of Weights: Generalization or Memorization?, arXiv 2506.07998, 2025"
    )

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture; no two are equal."""
        networks = list(nearest_networks(arch, self.training).values())
        sigma = SIGMA / self.training.scale
        rng = np.random.default_rng((seed, *arch))
        samples = []
        for source in rng.integers(len(networks), size=n):
            generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
            samples.append(
                {
                    key: value + sigma * torch.randn(value.shape, generator=generator)
                    for key, value in networks[source].items()
                }
            )
        return samples
