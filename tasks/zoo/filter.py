"""Which policies are good enough to learn from (paper, table 5)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Filter:
    """Thresholds on the mean return and the share of success at the end, and how many episodes that is judged on."""

    min_return: float = 35.0
    min_success: float = 0.9
    episodes: int = 64
    first_seed: int = 500_200
    best: int = 100
    """At most this many policies an architecture, by mean return."""


FILTERS = {
    "PickCube-v1": Filter(),
    "PushCube-v1": Filter(),
    "StackCubeEasy-v1": Filter(min_return=30.0, min_success=0.8),
}
"""The paper's thresholds."""
