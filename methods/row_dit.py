"""`nnit_pca` with SANE's tokens: a token is one neuron, a row of [weight | bias], instead of a patch.

The paper compares NNiT's patches with SANE's rows, but SANE is another model, trained and sampled in another way. Here
the transformer, its conditioning, training and sampling are those of `nnit_pca`, and a token's place is its layer and
its neuron. So what `nnit_pca` scores above this is what patches are worth, and twice the steps: a network has more
neurons than patches, and half of the steps take as long or longer. docs/adaptations/row-dit.md says what else follows
from the tokens, and compares it with `sane` too.
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import nnit_pca
from nnbench.methods.nnit.config import Config
from nnbench.methods.nnit_pca.config import CPU, REHEARSAL


class Method(nnit_pca.Method):
    """Generates p(w | a), and p(a, w)."""

    name: ClassVar[str] = "row_dit"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "nnit_pca",
        "a token is a neuron instead of a patch, and half of the steps",
    )
    config: ClassVar[Config] = replace(CPU, tokenisation="rows", steps=CPU.steps // 2)
    rehearsal: ClassVar[Config] = replace(REHEARSAL, tokenisation="rows")
