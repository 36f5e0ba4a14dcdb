"""`sane` that samples around the best of its own samples (the authors' bootstrapping).

Before it answers, it rolls out 50 samples of the very architecture that is asked for, on the zoo's validation
episodes. That is optimisation at test time, which the NNiT paper excludes and no other method here does. `reads` has no
word for it: of the zoo it reads the training networks' weights alone, but it also uses the simulator.
"""

from typing import ClassVar

from nnbench.methods import sane
from nnbench.methods.sane.config import Sampling


class Method(sane.Method):
    """`sane`, sampled in another way."""

    name: ClassVar[str] = "sane_bootstrapped"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "sane",
        "the best of its samples on validation episodes become the anchors",
    )
    trained_as: ClassVar[str | None] = "sane"
    sampling: ClassVar[Sampling] = Sampling(draws=2)
