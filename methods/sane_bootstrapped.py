"""`sane` whose best samples become the anchors that is sampled around, twice (the authors' bootstrapping).

It rolls out 100 samples of the very architecture that is asked for before it answers, on the zoo's validation episodes:
optimisation at test time, which the NNiT paper excludes and no other method here has. `reads` has no word for that: of
the zoo it reads the training networks' weights alone, but it also uses the simulator.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import sane
from nnbench.methods.sane.config import CPU, Config


class Method(sane.Method):
    """`sane` with another configuration; the same training."""

    name: ClassVar[str] = "sane_bootstrapped"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "sane",
        "the best of its samples on validation episodes become the anchors, twice",
    )
    config: ClassVar[Config] = replace(CPU, bootstraps=2)
