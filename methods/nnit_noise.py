"""`nnit`, predicting noise as the paper's Table 7 says: every timestep alike, errors weighted alike."""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import nnit
from nnbench.methods.nnit.config import CPU, REHEARSAL, Config


class Method(nnit.Method):
    """`nnit` with another configuration."""

    name: ClassVar[str] = "nnit_noise"
    variant_of: ClassVar[tuple[str, str] | None] = ("nnit", "noise is predicted, at timesteps that are all alike")
    config: ClassVar[Config] = replace(CPU, target="noise", balanced=False, draw="uniform", peak_lr=3e-3)
    rehearsal: ClassVar[Config] = replace(REHEARSAL, target="noise", balanced=False, draw="uniform")
