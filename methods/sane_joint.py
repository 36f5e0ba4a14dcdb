"""`sane` with the authors' mode `joint`: the tokens of a sample come from one network, each with noise of its own.

The shared noise vector of `sane` moves all neurons of a network alike. What that is worth shows where samples work at
all, so with a narrower kernel (docs/trials.md, SANE).
"""

from typing import ClassVar

from nnbench.methods import sane
from nnbench.methods.sane.config import Sampling


class Method(sane.Method):
    """`sane`, sampled in another way."""

    name: ClassVar[str] = "sane_joint"
    variant_of: ClassVar[tuple[str, str] | None] = ("sane", "every token has noise of its own")
    trained_as: ClassVar[str | None] = "sane"
    sampling: ClassVar[Sampling] = Sampling(coupling="joint")
