"""`nnit`, predicting v = sqrt(level) noise - sqrt(1 - level) x_0 (Salimans and Ho 2022), half noise and half network.

It is noise prediction beside a skip connection: where hardly anything but noise is left, the model need not write the
noise, so its error is not divided by the little that is left of the network. Patches and steps are those of
`nnit_noise`, for the same reasons.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import nnit
from nnbench.methods.nnit.config import CPU, REHEARSAL, Config


class Method(nnit.Method):
    """Generates p(w | a), and p(a, w)."""

    name: ClassVar[str] = "nnit_v"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "nnit",
        "v is predicted, patches are 8 x 8, no place of the grid has a map of its own, training takes 7,000 "
        "steps of 40,000, and its rate was never tuned",
    )
    config: ClassVar[Config] = replace(CPU, target="v", patch=8, place_rank=0, steps=7_000)
    rehearsal: ClassVar[Config] = replace(REHEARSAL, target="v", patch=8, place_rank=0)
