"""`nnit`, predicting v = sqrt(level) noise - sqrt(1 - level) x_0 (Salimans and Ho 2022), noise and network at once."""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import nnit
from nnbench.methods.nnit.config import CPU, REHEARSAL, Config


class Method(nnit.Method):
    """`nnit` with another configuration."""

    name: ClassVar[str] = "nnit_v"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "nnit",
        "v is predicted, with small embeddings of places and a rate of its own",
    )
    version: ClassVar[int] = 3
    config: ClassVar[Config] = replace(CPU, target="v", place_std=0.02, peak_lr=2e-3)
    rehearsal: ClassVar[Config] = replace(REHEARSAL, target="v", place_std=0.02)
