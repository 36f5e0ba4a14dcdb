"""`nnit`, predicting noise as the paper does."""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import nnit
from nnbench.methods.nnit.config import CPU, REHEARSAL, Config


class Method(nnit.Method):
    """`nnit` with another configuration."""

    name: ClassVar[str] = "nnit_noise"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "nnit",
        "noise is predicted, with small embeddings of places and a rate of its own",
    )
    version: ClassVar[int] = 3
    config: ClassVar[Config] = replace(CPU, target="noise", place_std=0.02, peak_lr=3e-3)
    rehearsal: ClassVar[Config] = replace(REHEARSAL, target="noise", place_std=0.02)
