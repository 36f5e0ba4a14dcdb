"""`nnit`, predicting noise as the paper's Table 7 says.

With one last map for all places of the grid, not one of rank 64 for each: noise fills all 256 dimensions of a patch,
and what the map cannot write no step would remove.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import nnit
from nnbench.methods.nnit.config import CPU, REHEARSAL, Config


class Method(nnit.Method):
    """Generates p(w | a), and p(a, w)."""

    name: ClassVar[str] = "nnit_noise"
    config: ClassVar[Config] = replace(CPU, target="noise", place_rank=0)
    rehearsal: ClassVar[Config] = replace(REHEARSAL, target="noise", place_rank=0)
