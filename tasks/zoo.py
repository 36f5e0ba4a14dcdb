"""The zoo: an ensemble of GHNs and the policies they write, with each policy's validation score.

Stored are the GHNs (bfloat16) and an index of scores; policies are materialised from the GHNs when first asked for.
"""

from typing import Protocol

from nnbench.tasks.policy import Weights


class HeldOutAccess(PermissionError):
    """A generator asked for a network of an architecture it must not have seen."""


class Network(Protocol):
    weights: Weights
    ghn_seed: int
