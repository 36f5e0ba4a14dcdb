"""`deepweightflow` without re-basin, the authors' other mode: neurons stay in the order in which the zoo has them.

Where hypernetworks wrote the zoo, few components then hold what all policies do (docs/trials.md).
"""

from dataclasses import replace
from typing import ClassVar

from nnbench.methods import deepweightflow
from nnbench.methods.deepweightflow import Config


class Method(deepweightflow.Method):
    """Generates p(w | a)."""

    name: ClassVar[str] = "deepweightflow_unmatched"
    variant_of: ClassVar[tuple[str, str] | None] = ("deepweightflow", "without re-basin, on fewer components")
    config: ClassVar[Config] = replace(
        deepweightflow.Method.config, matched=False, components=512, hidden=2048, middle=1024
    )
    rehearsal: ClassVar[Config] = replace(deepweightflow.Method.rehearsal, matched=False)
