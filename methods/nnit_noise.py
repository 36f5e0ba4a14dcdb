"""`nnit`, predicting noise as the paper's Table 7 says.

Noise fills all dimensions of a patch, so a token must hand it through beside what it knows of the network: patches are
8 x 8, a quarter of the model's width. Steps are fewer, for three times the tokens take twice the time.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import nnit
from nnbench.methods.nnit.config import CPU, REHEARSAL, Config


class Method(nnit.Method):
    """Generates p(w | a), and p(a, w)."""

    name: ClassVar[str] = "nnit_noise"
    variant_of: ClassVar[tuple[str, str] | None] = ("nnit", "noise is predicted")
    config: ClassVar[Config] = replace(CPU, target="noise", patch=8, place_rank=0, steps=7_000)
    rehearsal: ClassVar[Config] = replace(REHEARSAL, target="noise", patch=8, place_rank=0)
