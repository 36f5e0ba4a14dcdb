"""`sane` with every token drawn for itself, as the density estimates say and the authors' released code does not.

The shared draw of `sane` keeps the rows of one network together. Without it nothing works, whatever the bandwidth
(docs/trials.md, SANE).
"""

from typing import ClassVar

from nnbench.methods import sane
from nnbench.methods.sane.config import Sampling


class Method(sane.Method):
    """`sane`, sampled in another way."""

    name: ClassVar[str] = "sane_independent"
    variant_of: ClassVar[tuple[str, str] | None] = ("sane", "every token is drawn for itself")
    trained_as: ClassVar[str | None] = "sane"
    sampling: ClassVar[Sampling] = Sampling(coupling="independent")
