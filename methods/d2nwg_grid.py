"""The ablation `d2nwg_grid`: D2NWG with every parameter at the place that the widest network has it.

In D2NWG's flat vector a parameter's place depends on the widths of all layers before it, so an architecture that was
never trained on shifts what the decoder learned of places. What this scores above `d2nwg` is what that shift costs.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import d2nwg
from nnbench.methods.d2nwg.config import CPU, REHEARSAL, Config


class Method(d2nwg.Method):
    """Generates p(w | a)."""

    name: ClassVar[str] = "d2nwg_grid"
    config: ClassVar[Config] = replace(CPU, layout="grid")
    rehearsal: ClassVar[Config] = replace(REHEARSAL, layout="grid")
