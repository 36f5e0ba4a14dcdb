"""Networks at initialisation. What scores no better has learned nothing."""

from typing import ClassVar

from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Further, Reading
from nnbench.methods._noise import noise_source
from nnbench.tasks.policies.mlp import random_policy


class Method(Untrained):
    """He-initialised weights and zero biases; it does not look at the training set."""

    name: ClassVar[str] = "random"
    reads: ClassVar[tuple[Reading, ...]] = ()
    writes: ClassVar[tuple[Further, ...]] = ("widths", "depths")

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture, the i-th from a seed of its own."""
        sizes = self.training.task.observation_dim, self.training.task.action_dim
        return [random_policy(arch, *sizes, noise_source(seed, index, *arch)) for index in range(n)]
