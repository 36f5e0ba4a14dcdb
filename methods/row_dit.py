"""The control `row_dit`: NNiT in all but its tokens, which are SANE's: a row of [weight | bias], one neuron.

The paper sets NNiT's patches against SANE's rows, but SANE is another model, trained and sampled in another way. Here
the transformer, its conditioning, training and sampling are NNiT's own, and a token has a layer and a neuron as its
place: what `nnit` scores above this is what patches are worth. A network is more neurons than patches, so it gets half
of NNiT's steps, which take about as long or longer (docs/adaptations/row-dit.md, where it is also set beside `sane`).
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import nnit
from nnbench.methods.nnit.config import CPU, REHEARSAL, Config


class Method(nnit.Method):
    """Generates p(w | a), and p(a, w), a neuron a token."""

    name: ClassVar[str] = "row_dit"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "nnit",
        "a token is a neuron instead of a patch, and half of the steps",
    )
    config: ClassVar[Config] = replace(CPU, tokenisation="rows", steps=CPU.steps // 2)
    rehearsal: ClassVar[Config] = replace(REHEARSAL, tokenisation="rows")
