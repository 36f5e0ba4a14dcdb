"""What methods read of the zoo, and the order of the classes that this makes."""

from collections.abc import Sequence
from typing import get_args

from nnbench.facts import Reading

HARD = "weights only"
EXPLAINED = f"Grouped by what methods read of the zoo. {HARD}: the hard class, no more than the training networks."
"""Below tables whose rows are grouped."""


def name_access(reads: Sequence[Reading]) -> str:
    """The class of methods that read this."""
    return HARD if set(reads) <= {"weights"} else ", ".join(_ordered(reads))


def rank_access(reads: Sequence[Reading]) -> tuple[int, ...]:
    """Sorts classes, the hard one first."""
    if name_access(reads) == HARD:
        return ()
    return tuple(map(get_args(Reading).index, _ordered(reads)))


def _ordered(reads: Sequence[Reading]) -> list[Reading]:
    return sorted(set(reads), key=get_args(Reading).index)
