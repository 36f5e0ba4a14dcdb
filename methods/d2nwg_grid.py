"""`d2nwg` where a connection has the same place in every architecture, with the zoo's principal components inside.

The policies of a held-out architecture then lie nearly in the span of those that were trained on, and the decoder
writes that span nearly exactly: what is asked of the diffusion is only which policy. It predicts clean latents, mostly
at the timesteps that say something of them, as `nnit` does. A control, not the paper's adaptation.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import d2nwg
from nnbench.methods.d2nwg.config import CPU, REHEARSAL, Config, on_components


class Method(d2nwg.Method):
    """Generates p(w | a)."""

    name: ClassVar[str] = "d2nwg_grid"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "d2nwg",
        "every connection has a place of its own, and the linear layers are the zoo's principal components",
    )
    config: ClassVar[Config] = on_components(CPU)
    rehearsal: ClassVar[Config] = on_components(replace(REHEARSAL, features=(8, 4)))
