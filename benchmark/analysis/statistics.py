"""Intervals of the tables: a hierarchical bootstrap for means and their differences, Wilson's for a share.

G generators, A architectures, C clusters of equal networks of one architecture, S samples, E episodes, R replicates.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from nnbench.errors import InputError


class Interval(NamedTuple):
    """A mean and the ends of its interval, in the unit of the values."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """A mean and what it is in each replicate of a bootstrap."""

    mean: float
    replicates: np.ndarray  # (R,)
    outer: Interval | None
    """Wilson's interval, where all values are 0 or all are 1: all replicates are equal then, which claims certainty."""

    def interval(self, level: float = 0.95) -> Interval:
        """Percentile interval, no narrower than `outer`."""
        low, high = _quantiles(self.replicates, level)
        if self.outer:
            low, high = min(low, self.outer.low), max(high, self.outer.high)
        return Interval(self.mean, low, high)

    def minus(self, other: "Resampled", level: float = 0.95) -> Interval:
        """The difference, both resampled with the same `seed` and so on the same draws of episodes.

        What one initial state adds to both methods cancels, so the interval is narrower than those of the two means
        would let one think.
        """
        low, high = _quantiles(self.replicates - other.replicates, level)
        mine, theirs = (one.outer or Interval(one.mean, one.mean, one.mean) for one in (self, other))
        if self.outer or other.outer:
            low, high = min(low, mine.low - theirs.high), max(high, mine.high - theirs.low)
        return Interval(self.mean - other.mean, low, high)


def resample(
    groups: Sequence[Sequence[Sequence[np.ndarray]]],
    clusters: Sequence[Sequence[Sequence[Hashable]]] | None = None,
    *,
    level: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
    stream: int = 0,
) -> Resampled:
    """Bootstrap of the mean over generators, architectures, policies and episodes.

    `groups[g][a][p]` holds the E episode values of policy p of architecture a of the generator trained with the g-th
    seed, in one order of episode seeds common to all. `clusters[g][a][p]` says which policies are one network: equal
    labels within an architecture are drawn together, for a network generated twice is no second observation; without
    labels every policy is its own.

    A replicate draws, with replacement,
    - generators;
    - episodes, once for all policies of all architectures: they share initial states, so episodes are crossed with
      policies and not nested in them, and a hard initial state is hard for many of them at once;
    - clusters of policies, within each architecture. Policies keep their weight: a cluster of three counts thrice.
    Architectures are not drawn: they are those of the split, not a sample of others.

    The interval therefore speaks of other episodes, of other networks like these ones, and, where there are several
    generators, of training it again; not of the choice of the top policies. Drawing crossed factors
    counts their interaction more than once, which errs to the wide side (Owen 2007, "The pigeonhole bootstrap"); few
    generators err to the narrow one. An architecture with a single cluster has no visible spread between networks, and
    none enters the interval, as with a single generator.

    Equal seeds draw equal episodes. To compare two methods each needs a `stream` of its own, by which generators and
    policies are drawn. Wilson's interval, where it is needed, is that of E trials, the number of distinct episodes, at
    this `level`.

    Raises InputError where a group is empty, episode counts differ, labels do not match, or a value is not finite.
    """
    if clusters is None:
        clusters = [[range(len(policies)) for policies in group] for group in groups]
    values = _checked(groups, clusters)
    members = [[_membership(labels) for labels in group] for group in clusters]
    episodes = values[0][0].shape[1]
    sizes = tuple(tuple(map(len, group)) for group in members)
    draws = _draw(seed, stream, replicates, episodes, sizes)
    means = np.zeros((replicates, len(values)))  # (R, G)
    for g, group in enumerate(values):
        total = np.zeros(replicates)
        for table, belongs, drawn in zip(group, members[g], draws.clusters[g], strict=True):
            sums = draws.episodes @ (belongs @ table).T  # (R, C)
            # Divided once, so that sums of zeros and ones stay exact.
            total += (drawn * sums).sum(axis=1) / (episodes * (drawn @ belongs.sum(axis=1)))
        means[:, g] = total / len(group)
    mean = mean_of(values)
    extremes = {float(end) for group in values for table in group for end in (table.min(), table.max())}
    outer = wilson(round(mean * episodes), episodes, level) if extremes in ({0.0}, {1.0}) else None
    return Resampled(mean, _over_generators(means, draws.generators), outer)


def mean_of(tables: Sequence[Sequence[np.ndarray]]) -> float:
    """Mean over generators of the mean over architectures; `tables[g][a]` holds the values of policies and episodes."""
    return float(np.mean([np.mean([table.mean() for table in group]) for group in tables]))


def hierarchical_interval(
    groups: Sequence[Sequence[Sequence[np.ndarray]]],
    clusters: Sequence[Sequence[Sequence[Hashable]]] | None = None,
    *,
    level: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of what `resample` resamples."""
    return resample(groups, clusters, level=level, replicates=replicates, seed=seed).interval(level)


def reselected_interval(
    groups: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]],
    top: int,
    *,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Interval:
    """Interval of what the best `top` samples by mean return score on the episodes that choose them.

    `groups[g][a]` holds returns and scores, (S, E) each, of all samples of an architecture on all selection episodes. A
    replicate draws generators, episodes and samples, as `hierarchical_interval` does, and chooses the top anew among
    those drawn, so that the luck of being chosen is in the interval. It speaks of the same procedure on other samples
    and episodes; the mean of so lucky a score on fresh episodes is lower, and is what test episodes are for.
    """
    rng = np.random.default_rng(seed)
    episodes = groups[0][0][0].shape[1]
    episode_draws = _draw_counts(rng, replicates, episodes) / episodes  # (R, E)
    means, point = np.zeros((replicates, len(groups))), []
    for g, group in enumerate(groups):
        for returns, scores in group:
            samples = len(returns)
            best = np.argsort(-returns.mean(axis=1), kind="stable")[:top]
            point.append(float(scores[best].mean()))
            drawn = rng.integers(samples, size=(replicates, samples))
            mean_return, mean_score = (
                np.take_along_axis(episode_draws @ table.T, drawn, axis=1) for table in (returns, scores)
            )  # (R, S)
            chosen = np.argpartition(-mean_return, top - 1, axis=1)[:, :top]
            means[:, g] += np.take_along_axis(mean_score, chosen, axis=1).mean(axis=1) / len(group)
    drawn_generators = _draw_generators(rng, *means.shape)
    return Interval(float(np.mean(point)), *_quantiles(_over_generators(means, drawn_generators), level))


def _over_generators(means: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The mean over generators, (R, G) to (R,); `drawn` says how often each was drawn."""
    mean: np.ndarray = (means * drawn).sum(axis=1) / means.shape[1]
    return mean


def _quantiles(replicates: np.ndarray, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return float(low), float(high)


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share of n independent trials (Wilson 1927, JASA 22).

    Raises InputError unless 0 <= successes <= n and n >= 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise InputError(f"wilson: {successes} successes of {n}, expected 0 <= successes <= n and n >= 1")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    # At the ends of the range the formula is exact there but for rounding.
    low = 0.0 if successes == 0 else center - half
    high = 1.0 if successes == n else center + half
    return Interval(share, low, high)


def _checked(
    groups: Sequence[Sequence[Sequence[np.ndarray]]], clusters: Sequence[Sequence[Sequence[Hashable]]]
) -> list[list[np.ndarray]]:
    """The groups as float64 tables (P, E)."""
    if not groups or not all(groups) or not all(policies for group in groups for policies in group):
        raise InputError("bootstrap: expected at least one generator, one architecture of each, one policy of each")
    lengths = {len(policy) for group in groups for policies in group for policy in policies}
    if len(lengths) != 1 or lengths == {0}:
        raise InputError(
            f"bootstrap: policies have {sorted(lengths)} episodes, expected one number for all, 1 or more: "
            "all policies meet the same episodes"
        )
    if [[len(p) for p in group] for group in groups] != [[len(labels) for labels in group] for group in clusters]:
        raise InputError("bootstrap: expected one cluster label per policy")
    values = [[np.array(policies, np.float64) for policies in group] for group in groups]
    if not all(np.isfinite(table).all() for group in values for table in group):
        raise InputError("bootstrap: values hold NaN or infinity, expected finite episode values")
    return values


def _membership(labels: Sequence[Hashable]) -> np.ndarray:
    """(C, P): 1 where the policy is of the cluster, clusters in the order of their first policies."""
    return np.array([[label == other for other in labels] for label in dict.fromkeys(labels)], float)


@dataclass(frozen=True)
class _Draws:
    """How often each of the items was drawn in each replicate."""

    episodes: np.ndarray  # (R, E)
    clusters: Sequence[Sequence[np.ndarray]]  # by generator and architecture, (R, C)
    generators: np.ndarray  # (R, G), or (1, 1) where there is one


@lru_cache(maxsize=8)
def _draw(seed: int, stream: int, replicates: int, episodes: int, clusters: tuple[tuple[int, ...], ...]) -> _Draws:
    """The draws of `resample`, which are the same for all numbers of one shape; `clusters[g][a]` is how many there are.

    They are kept, because a method's return and success are drawn alike, and most methods have as many networks.
    """
    episode_draws, state = _draw_episodes(seed, replicates, episodes)
    rng = np.random.default_rng([seed, stream] if stream else seed)
    if not stream:
        rng.bit_generator.state = state
    drawn = [[_draw_counts(rng, replicates, count) for count in group] for group in clusters]
    return _Draws(episode_draws, drawn, _draw_generators(rng, replicates, len(clusters)))


@lru_cache(maxsize=2)
def _draw_episodes(seed: int, replicates: int, episodes: int) -> tuple[np.ndarray, Any]:
    """(R, E), and the state that drawing them leaves the random numbers in."""
    rng = np.random.default_rng(seed)
    return _draw_counts(rng, replicates, episodes).astype(float), rng.bit_generator.state


def _draw_generators(rng: np.random.Generator, replicates: int, generators: int) -> np.ndarray:
    return _draw_counts(rng, replicates, generators) if generators > 1 else np.ones((1, 1), int)


def _draw_counts(rng: np.random.Generator, replicates: int, n: int) -> np.ndarray:
    """How often each of n items comes up in n draws with replacement, one row per replicate."""  # (R, n)
    drawn = rng.integers(n, size=(replicates, n)) + n * np.arange(replicates)[:, None]
    return np.bincount(drawn.ravel(), minlength=replicates * n).reshape(replicates, n)
