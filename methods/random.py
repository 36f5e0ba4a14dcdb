"""Networks at initialisation. What scores no better has learned nothing."""

from typing import ClassVar

import numpy as np
import torch

from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Further, Reading
from nnbench.tasks.policies.mlp import random_policy


class Method(Untrained):
    """He-initialised weights and zero biases; it does not look at the training set."""

    name: ClassVar[str] = "random"
    reads: ClassVar[tuple[Reading, ...]] = ()
    writes: ClassVar[tuple[Further, ...]] = ("widths", "depths")

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture, the i-th from a seed of its own."""
        states = [np.random.SeedSequence((seed, i, *arch)).generate_state(1, np.uint64) for i in range(n)]
        generators = [torch.Generator().manual_seed(int(state[0])) for state in states]
        task = self.training.task
        return [random_policy(arch, task.observation_dim, task.action_dim, g) for g in generators]
