"""`sane` without re-basin: the neurons stay in the order in which the hypernetworks write them."""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import sane
from nnbench.methods.sane.config import CPU, Config


class Method(sane.Method):
    """`sane` with another configuration."""

    name: ClassVar[str] = "sane_unaligned"
    variant_of: ClassVar[tuple[str, str] | None] = ("sane", "neurons stay in the order they come in")
    config: ClassVar[Config] = replace(CPU, align="none")
