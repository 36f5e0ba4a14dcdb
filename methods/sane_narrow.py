"""`sane` with a quarter of the authors' bandwidth: the widest of four at which more than a few samples work.

With a bandwidth of 0 a sample is what the round trip leaves of a training network, or of rows of several where the
architecture is unseen.
"""

from typing import ClassVar

from nnbench.methods import sane
from nnbench.methods.sane.config import Sampling


class Method(sane.Method):
    """`sane`, sampled in another way."""

    name: ClassVar[str] = "sane_narrow"
    variant_of: ClassVar[tuple[str, str] | None] = ("sane", "a quarter of the kernel's bandwidth")
    trained_as: ClassVar[str | None] = "sane"
    sampling: ClassVar[Sampling] = Sampling(bandwidth=0.05)
