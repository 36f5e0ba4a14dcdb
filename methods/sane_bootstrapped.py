"""`sane` whose best samples become the anchors that is sampled around, twice (the authors' bootstrapping).

It rolls out 100 samples of the very architecture that is asked for before it answers, on the zoo's validation episodes:
optimisation at test time, which the NNiT paper excludes and no other method here has.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import sane
from nnbench.methods.sane.config import CPU, Config


class Method(sane.Method):
    """`sane` with another configuration; the same training."""

    name: ClassVar[str] = "sane_bootstrapped"
    config: ClassVar[Config] = replace(CPU, bootstraps=2)
