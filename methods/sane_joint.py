"""`sane` with the authors' mode `joint`: the tokens of a sample come from one network, each with noise of its own.

What it scores below `sane` is what the shared noise vector is worth, which moves all neurons of a network alike.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import sane
from nnbench.methods.sane.config import CPU, Config


class Method(sane.Method):
    """`sane` with another configuration; the same training."""

    name: ClassVar[str] = "sane_joint"
    variant_of: ClassVar[tuple[str, str] | None] = ("sane", "every token has noise of its own")
    config: ClassVar[Config] = replace(CPU, coupling="joint")
