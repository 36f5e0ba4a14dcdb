"""`d2nwg` with the parameters in the order of the state dict, one after the other.

This is the layout of the authors' code, whose networks are all of one architecture. With several architectures, a
parameter's place depends on the widths of all layers before it, so an architecture that was never trained on shifts the
places that the decoder learned. On seen architectures this scores below `d2nwg` because there is more to learn in
equally many steps, and they are too few; what it loses from seen to unseen is what the shift costs.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import d2nwg
from nnbench.methods.d2nwg.config import CPU, REHEARSAL, Config


class Method(d2nwg.Method):
    """Generates p(w | a)."""

    name: ClassVar[str] = "d2nwg_flat"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "d2nwg",
        "parameters follow one another, wherever the widths put them",
    )
    config: ClassVar[Config] = replace(CPU, layout="flat")
    rehearsal: ClassVar[Config] = replace(REHEARSAL, layout="flat")
