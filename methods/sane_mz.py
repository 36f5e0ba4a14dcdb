"""SANE as its authors changed it for zoos of several architectures (MultiZoo-SANE, arXiv 2504.10141).

The weights are not standardised. Instead the reconstruction loss is divided by the variance of the batch's weights, and
averaged over weights only, not over padding. One of the two views has its neurons in a random order.
"""

from typing import ClassVar

from nnbench.methods import sane
from nnbench.methods.sane.config import CPU, Config, mixed


class Method(sane.Method):
    """`sane` with another configuration."""

    name: ClassVar[str] = "sane_mz"
    variant_of: ClassVar[tuple[str, str] | None] = ("sane", "its authors' change for mixed architectures")
    reference: ClassVar[str | None] = (
        "Falk et al., The Impact of Model Zoo Size and Composition on Weight Space Learning, arXiv 2504.10141, 2025"
    )
    config: ClassVar[Config] = mixed(CPU)
