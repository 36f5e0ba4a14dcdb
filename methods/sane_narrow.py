"""`sane` with a quarter of the authors' bandwidth: the widest of four that leaves policies of the zoo working.

With a bandwidth of 0 a sample is a training network (`dataset`), or is put together from rows of training networks
where the architecture is unseen.
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
