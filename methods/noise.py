"""The floor `noise`: a training network and a little noise on every weight.

Where novelty is measured as a distance, this is novel: it lies off every training network and works about as well. A
generator whose samples are as near and no better has learned to copy; so Zeng et al. (2025) read what generators write.
"""

from typing import ClassVar

import numpy as np
import torch

from nnbench.api import Architecture, Untrained, Weights
from nnbench.tasks.policies.resizing import nearest_networks

SIGMA = 0.05
"""Of the noise, where all training weights are scaled to a standard deviation of 0.538; Zeng et al. took .05 and .1."""


class Method(Untrained):
    """`nearest`, drawn with replacement, and Gaussian noise on every weight and bias."""

    name: ClassVar[str] = "noise"
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
