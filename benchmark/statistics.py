"""Intervals of the tables: a hierarchical bootstrap for means, Wilson's for a share.

A architectures, C clusters of equal networks of one architecture, E episodes, R replicates.
"""

from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean and the ends of its interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def hierarchical_interval(
    groups: Sequence[Sequence[np.ndarray]],
    clusters: Sequence[Sequence[Hashable]] | None = None,
    *,
    level: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the mean over architectures of the mean over policies and episodes.

    `groups[a][p]` holds the E episode values of policy p of architecture a, in one order of episode seeds common to
    all. `clusters[a][p]` says which policies are one network: equal labels within an architecture are drawn
    together, for a network generated twice is no second observation; without labels every policy is its own.

    A replicate draws, with replacement,
    - episodes, once for all policies of all architectures: they share initial states, so episodes are crossed with
      policies and not nested in them, and a hard initial state is hard for many of them at once;
    - clusters of policies, within each architecture. Policies keep their weight: a cluster of three counts thrice.
    Architectures are not drawn: they are those of the split, not a sample of others.

    The interval therefore speaks of other episodes and of other networks like these ones from the same trained
    generator; not of training it again, and not of the choice of the top policies. Drawing both crossed factors
    counts their interaction more than once, which errs to the wide side (Owen 2007, "The pigeonhole bootstrap").
    An architecture with a single cluster has no visible spread between networks, and none enters the interval.

    Where all values are 0 or all are 1, every replicate is equal and the bootstrap would claim certainty. The interval
    is then that of Wilson for E trials, the number of distinct episodes.

    Raises ValueError where a group is empty, episode counts differ, labels do not match, or a value is not finite.
    """
    if clusters is None:
        clusters = [range(len(policies)) for policies in groups]
    values = _checked(groups, clusters)
    mean = float(np.mean([table.mean() for table in values]))

    rng = np.random.default_rng(seed)
    episodes = values[0].shape[1]
    episode_draws = _draw_counts(rng, replicates, episodes).astype(float)  # (R, E)
    total = np.zeros(replicates)
    for table, labels in zip(values, clusters, strict=True):
        members = np.array([[label == other for other in labels] for label in dict.fromkeys(labels)], float)  # (C, P)
        drawn = _draw_counts(rng, replicates, len(members))  # (R, C)
        sums = episode_draws @ (members @ table).T  # (R, C)
        # Divided once, so that sums of zeros and ones stay exact.
        total += (drawn * sums).sum(axis=1) / (episodes * (drawn @ members.sum(axis=1)))
    tail = (1 - level) / 2
    low, high = (float(end) for end in np.quantile(total / len(values), [tail, 1 - tail]))

    extremes = {float(end) for table in values for end in (table.min(), table.max())}
    if extremes in ({0.0}, {1.0}):
        outer = wilson(round(mean * episodes), episodes, level)
        low, high = min(low, outer.low), max(high, outer.high)
    return Interval(mean, low, high)


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share of n independent trials (Wilson 1927, JASA 22).

    Raises ValueError unless 0 <= successes <= n and n >= 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"wilson: {successes} successes of {n}, expected 0 <= successes <= n and n >= 1")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    # At the ends of the range the formula is exact there but for rounding.
    low = 0.0 if successes == 0 else center - half
    high = 1.0 if successes == n else center + half
    return Interval(share, low, high)


def _checked(groups: Sequence[Sequence[np.ndarray]], clusters: Sequence[Sequence[Hashable]]) -> list[np.ndarray]:
    """The groups as float64 tables (P, E)."""
    if not groups or not all(groups):
        raise ValueError("hierarchical_interval: expected at least one architecture with at least one policy each")
    lengths = {len(policy) for policies in groups for policy in policies}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            f"hierarchical_interval: policies have {sorted(lengths)} episodes, expected one number for all, 1 or more: "
            "all policies meet the same episodes"
        )
    if [len(policies) for policies in groups] != [len(labels) for labels in clusters]:
        raise ValueError("hierarchical_interval: expected one cluster label a policy")
    values = [np.array(policies, np.float64) for policies in groups]
    if not all(np.isfinite(table).all() for table in values):
        raise ValueError("hierarchical_interval: values hold NaN or infinity, expected finite episode values")
    return values


def _draw_counts(rng: np.random.Generator, replicates: int, n: int) -> np.ndarray:
    """How often each of n items comes up in n draws with replacement, a row a replicate."""  # (R, n)
    drawn = rng.integers(n, size=(replicates, n)) + n * np.arange(replicates)[:, None]
    return np.bincount(drawn.ravel(), minlength=replicates * n).reshape(replicates, n)
