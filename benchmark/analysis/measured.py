"""The mean of one method's numbers over architectures and generator seeds, each computed when first asked for."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from nnbench.analysis.scores import Scores
from nnbench.analysis.statistics import Interval, Resampled, mean_of, resample, reselected_interval
from nnbench.store.schemas import NO_SEED

PARTITIONS = ("train", "unseen", "outside", "other")
"""What an architecture may be to the split."""


class Estimate:
    """A number, and its interval, which is computed when first asked for."""

    def __init__(self, mean: float, bootstrap: Callable[[], Interval] | None = None, *, at_most: bool = False) -> None:
        """`at_most`: the number is a bound from above, and the interval begins at 0."""
        self.mean = mean
        self.at_most = at_most
        self._bootstrap = bootstrap

    @cached_property
    def interval(self) -> Interval:
        """The mean with its bounds, which are NaN where there are none."""
        if self._bootstrap is None:
            return Interval(self.mean, math.nan, math.nan)
        found = self._bootstrap()
        return found._replace(low=0.0) if self.at_most else found


class Measured:
    """The mean over groups, one per generator seed, of the mean over a group's architectures."""

    def __init__(self, groups: Sequence[Mapping[str, Scores]], top: int) -> None:
        """`groups` map architectures to scores; `top` is how many policies the protocol selects."""
        self.groups = groups
        self._top = top

    @cached_property
    def mean_return(self) -> Estimate:
        """Of the selected on the test episodes."""
        return self._tested(lambda scores: scores.returns)

    @cached_property
    def success(self) -> Estimate:
        """Share of successful test episodes of the selected, by the protocol's headline."""
        return self._tested(lambda scores: scores.success)

    @cached_property
    def selection_success(self) -> Estimate:
        """The selected on the episodes that chose them; without bounds where samples left the race."""
        mean = self._mean(lambda scores: scores.selected_success)
        if any(np.isnan(scores.selection_returns).any() for scores in self._every):
            return Estimate(mean)
        tables = [
            [(scores.selection_returns, scores.selection_success) for scores in group.values()] for group in self.groups
        ]
        return Estimate(mean, lambda: reselected_interval(tables, self._top)._replace(mean=mean))

    @cached_property
    def sample_success(self) -> Estimate:
        """Of all samples on the screening episodes, nothing selected."""
        tables = [[scores.screening_success for scores in group.values()] for group in self.groups]
        return Estimate(mean_of(tables), lambda: self._interval_of_samples(tables))

    @cached_property
    def diverged(self) -> int:
        """Samples, of all architectures and trainings, that diverged in some episode."""
        return sum(scores.diverged for scores in self._every)

    @cached_property
    def passing(self) -> float:
        """Share of the samples that meet the filter of the training set."""
        return self._mean(lambda scores: scores.passing)

    @cached_property
    def new_and_working(self) -> Estimate:
        """Share of the samples that meet the filter of the training set and are copies of nothing in the zoo; NaN where
        rows do not say it, a bound from above where older ones do not know padded copies."""
        found = [[scores.new_and_working for scores in group.values()] for group in self.groups]
        tables = [[one.astype(float)[:, None] for one in group if one is not None] for group in found]
        if list(map(len, tables)) != list(map(len, found)):
            return Estimate(math.nan)
        at_most = any(scores.new_at_most for scores in self._every)
        return Estimate(mean_of(tables), lambda: self._interval_of_samples(tables), at_most=at_most)

    @cached_property
    def apart(self) -> float:
        """Median distance of a sample to the nearest other, balanced and matched, over that of the zoo's policies."""
        return self._mean(lambda scores: _median_ratio(scores, "mutual_distance", "ghn_spread"))

    @cached_property
    def actions_apart(self) -> float:
        """The same of the actions."""
        return self._mean(lambda scores: _median_ratio(scores, "mutual_actions", "action_spread"))

    @cached_property
    def distinct(self) -> float:
        """Share of distinct networks among the samples."""
        return self._mean(lambda scores: scores.distinct)

    @cached_property
    def networks(self) -> float:
        """Distinct networks among the selected."""
        return self._mean(lambda scores: len(set(scores.networks)))

    @cached_property
    def ghn_seeds(self) -> float:
        """Distinct hypernetworks that the selected are nearest to; NaN where there is nothing to be near to."""
        return self._mean(lambda scores: len(set(scores.of_top("ghn_seed").tolist()) - {NO_SEED}) or math.nan)

    @cached_property
    def ghn_distance(self) -> float:
        """Median over the selected of the L2 distance to the nearest hypernetwork policy, balanced and matched."""
        return self._median_of_top("ghn_distance")

    @cached_property
    def ghn_spread(self) -> float:
        """The same distance between policies of different hypernetworks."""
        return self._median_of_top("ghn_spread")

    @cached_property
    def action_distance(self) -> float:
        """Median over the selected of the distance of their actions to those of the most similar training policy."""
        return self._median_of_top("action_distance")

    @cached_property
    def action_spread(self) -> float:
        """The same distance between training policies of different hypernetworks."""
        return self._median_of_top("action_spread")

    @cached_property
    def other_l2(self) -> float:
        """Mean over the selected of the L2 distance to the nearest other of them, neurons as they are."""
        return self._mean(lambda scores: _nearest_other(scores, "top_l2", np.min))

    @cached_property
    def other_cosine(self) -> float:
        """Mean over the selected of the cosine similarity to the most similar other of them."""
        return self._mean(lambda scores: _nearest_other(scores, "top_cosine", np.max))

    @cached_property
    def failed_alike(self) -> float:
        """Mean over pairs of distinct selected networks of the overlap (IoU) of their failed test episodes."""
        return self._mean(failed_overlap)

    @cached_property
    def shares(self) -> Mapping[str, float]:
        """Of all samples, the share of each of the `PARTITIONS`."""
        drawn = np.concatenate([scores.policies["partition"] for scores in self._every])
        return {name: float((drawn == name).sum() / len(drawn)) for name in PARTITIONS}

    def resample(self, stream: int) -> tuple[Resampled, Resampled]:
        """Return and success on the test episodes, to subtract another method's, which has another stream."""
        ordered = [dict(sorted(group.items())) for group in self.groups]
        clusters = _clusters(ordered)
        returns, success = (
            resample([[list(read(scores)) for scores in group.values()] for group in ordered], clusters, stream=stream)
            for read in (lambda scores: scores.returns, lambda scores: scores.success)
        )
        return returns, success

    @cached_property
    def _every(self) -> list[Scores]:
        return [scores for group in self.groups for scores in group.values()]

    def _mean(self, read: Callable[[Scores], float]) -> float:
        return float(np.mean([read(scores) for scores in self._every]))

    def _median_of_top(self, column: str) -> float:
        return self._mean(lambda scores: float(np.median(scores.of_top(column).astype(float))))

    def _interval_of_samples(self, tables: Sequence[Sequence[np.ndarray]]) -> Interval:
        """Of values of all samples, (S, E) per architecture; equal networks are drawn together."""
        networks = [[scores.policies["weights_sha256"].tolist() for scores in group.values()] for group in self.groups]
        return resample([[list(table) for table in group] for group in tables], networks).interval()

    def _tested(self, read: Callable[[Scores], np.ndarray]) -> Estimate:
        tables = [[read(scores) for scores in group.values()] for group in self.groups]

        def bootstrap() -> Interval:
            return resample([[list(table) for table in group] for group in tables], _clusters(self.groups)).interval()

        return Estimate(mean_of([[table.astype(float) for table in group] for group in tables]), bootstrap)


def failed_overlap(scores: Scores) -> float:
    """Mean IoU of the failed test episodes over pairs of distinct selected networks of which one fails; NaN if none."""
    distinct = [scores.networks.index(network) for network in dict.fromkeys(scores.networks)]
    failed = ~scores.success[distinct]  # (D, E)
    both, either = _overlaps(failed, failed)
    pairs = np.tril_indices(len(failed), -1)
    both, either = both[pairs], either[pairs]
    return float(np.mean(both[either > 0] / either[either > 0])) if (either > 0).any() else math.nan


def failed_overlap_with(scores: Scores, others: Scores) -> float:
    """Mean over the selected that fail of the largest IoU of their failed test episodes with those of another network
    among the others' selected; NaN if none fails or there is no other."""
    both, either = _overlaps(~scores.success, ~others.success)  # (K, K)
    different = np.array(scores.networks)[:, None] != np.array(others.networks)
    fails = (~scores.success).any(axis=1) & different.any(axis=1)
    if not fails.any():
        return math.nan
    overlap = np.where(different, both / np.maximum(either, 1), -math.inf)
    return float(np.mean(overlap[fails].max(axis=1)))


def _overlaps(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many episodes are in both and in either, for each pair of rows; (N, E) and (M, E) to (N, M)."""
    both = left.astype(int) @ right.astype(int).T
    return both, left.sum(axis=1)[:, None] + right.sum(axis=1) - both


def _clusters(groups: Sequence[Mapping[str, Scores]]) -> list[list[list[str]]]:
    return [[scores.networks for scores in group.values()] for group in groups]


def _nearest_other(scores: Scores, column: str, best: Any) -> float:
    """Mean over the selected of the best of a row of the matrix, its diagonal left out; NaN where there is none."""
    if len(scores.top) < 2:
        return math.nan
    matrix = np.array([list(row) for row in scores.of_top(column)], float)  # (K, K)
    others = matrix[~np.eye(len(matrix), dtype=bool)].reshape(len(matrix), -1)
    others = others[~np.isnan(others).all(axis=1)]  # the only one of its architecture
    if not len(others):
        return math.nan
    filler = math.inf if best is np.min else -math.inf
    return float(np.mean(best(np.where(np.isnan(others), filler, others), axis=1)))


def _median_ratio(scores: Scores, column: str, spread: str) -> float:
    """Over the samples that have the column; NaN where none has."""
    ratios = scores.policies[column].astype(float) / scores.policies[spread].astype(float)
    return float(np.nanmedian(ratios)) if np.isfinite(ratios).any() else math.nan
