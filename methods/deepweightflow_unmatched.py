"""`deepweightflow` without re-basin, the authors' other mode: neurons stay in the order in which the zoo has them."""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import deepweightflow
from nnbench.methods.deepweightflow import Config


class Method(deepweightflow.Method):
    """Generates p(w | a)."""

    name: ClassVar[str] = "deepweightflow_unmatched"
    variant_of: ClassVar[tuple[str, str] | None] = ("deepweightflow", "without re-basin")
    config: ClassVar[Config] = replace(deepweightflow.Method.config, matched=False)
    rehearsal: ClassVar[Config] = replace(deepweightflow.Method.rehearsal, matched=False)
