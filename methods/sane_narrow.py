"""`sane` with a quarter of the authors' bandwidth: the widest of four that leaves policies of the zoo working.

With a bandwidth of 0 a sample is a training network (`dataset`), or is put together from rows of training networks
where the architecture is unseen.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import sane
from nnbench.methods.sane.config import CPU, Config


class Method(sane.Method):
    """`sane` with another configuration; the same training."""

    name: ClassVar[str] = "sane_narrow"
    variant_of: ClassVar[tuple[str, str] | None] = ("sane", "a quarter of the kernel's bandwidth")
    config: ClassVar[Config] = replace(CPU, bandwidth=0.05)
