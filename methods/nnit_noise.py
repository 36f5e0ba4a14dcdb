"""`nnit`, predicting noise as the paper's Table 7 says.

Noise fills all dimensions of a patch, and a token must pass it on beside what it knows of the network. So patches are 8
x 8, a quarter of the model's width. It gets 7,000 steps, which is 56,000 networks where the default sees 320,000 and
the paper 8.3 million, and its learning rate was never tuned.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import nnit
from nnbench.methods.nnit.config import CPU, REHEARSAL, Config


class Method(nnit.Method):
    """Generates p(w | a), and p(a, w)."""

    name: ClassVar[str] = "nnit_noise"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "nnit",
        "noise is predicted, patches are 8 x 8, no place of the grid has a map of its own, training takes 7,000 "
        "steps of 40,000, and its rate was never tuned",
    )
    config: ClassVar[Config] = replace(CPU, target="noise", patch=8, place_rank=0, steps=7_000)
    rehearsal: ClassVar[Config] = replace(REHEARSAL, target="noise", patch=8, place_rank=0)
