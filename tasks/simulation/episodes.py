"""Finished episodes.

N is the number of episodes, T the horizon, O and A the observation and action dimensions.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Episodes(NamedTuple):
    """Finished episodes, row by row in the order of the seeds asked for."""

    seeds: np.ndarray  # (N,) int64
    returns: np.ndarray  # (N,) float32, sum of the normalised dense reward
    success_once: np.ndarray  # (N,) bool
    success_at_end: np.ndarray  # (N,) bool
    diverged: np.ndarray  # (N,) bool, an action was not finite: return 0, no success
    observations: np.ndarray | None = None  # (N, T + 1, O)
    actions: np.ndarray | None = None  # (N, T, A), before clamping
    rewards: np.ndarray | None = None  # (N, T)
    states: np.ndarray | None = None  # (N, T + 1, S) float32, rows as of `Engine.capture_initial_states`


def join_episodes(parts: Sequence[Episodes]) -> Episodes:
    """All episodes of the parts, in their order. The parts must hold the same columns."""
    columns: list[tuple[Any, ...]] = list(zip(*parts, strict=True))
    return Episodes._make(None if column[0] is None else np.concatenate(column) for column in columns)
