"""`average`, after the neurons of one network are put in the order of the other's.

What it scores above `average` is what the order of the neurons costs.
"""

from typing import ClassVar

from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Further
from nnbench.methods.average import pairs
from nnbench.tasks.policies.rebasin import align


class Method(Untrained):
    """Averages the pairs of `average`, aligned."""

    name: ClassVar[str] = "average_aligned"
    writes: ClassVar[tuple[Further, ...]] = ("widths", "depths")
    reference: ClassVar[str | None] = (
        "Ainsworth et al., Git Re-Basin: Merging Models modulo Permutation Symmetries, ICLR 2023, arXiv 2209.04836"
    )

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture."""
        samples = []
        for a, b in pairs(arch, n, seed, self.training):
            b = align(b, a)
            samples.append({key: (a[key] + b[key]) / 2 for key in a})
        return samples
