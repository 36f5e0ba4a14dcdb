"""From stored rows to the numbers of one method on one architecture, and to their mean with an interval.

S samples, K selected, E test episodes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nnbench.analysis.statistics import Interval, Resampled, hierarchical_interval, resample, reselected_interval
from nnbench.protocol import JOINT, Protocol
from nnbench.tasks.registry import TASKS


class TableError(ValueError):
    """Rows that must not be put into one table. Names what differs and the remedy."""


@dataclass(frozen=True)
class UnitName:
    """What the rows of one unit agree on."""

    task: str
    method: str
    generator_seed: int
    arch: str
    """`joint` where the method chose."""


@dataclass(frozen=True)
class Scores:
    """One unit's numbers. The selected are in the order of their rank."""

    returns: np.ndarray  # (K, E)
    success: np.ndarray  # (K, E) bool, by the protocol's headline
    networks: list[str]  # (K,) equal for equal weights
    selection_returns: np.ndarray  # (S, selection episodes), NaN where a sample had left the race
    selection_success: np.ndarray  # the same
    selected_success: float
    """Of the selected on the episodes that chose them; what it exceeds the test episodes' by is optimism."""
    sample_success: float
    """Of all samples on the screening episodes, nothing selected."""
    passing: float
    """Share of the samples that meet the task's filter, judged on the screening episodes; NaN without a filter."""
    distinct: float
    """Share of distinct networks among the samples."""
    policies: Mapping[str, np.ndarray]
    """The columns of `store.POLICY_SCHEMA` from `partition` on, (S,) each, by sample number."""
    top: np.ndarray  # (K,) sample numbers

    def of_top(self, column: str) -> np.ndarray:
        """A column of the policies, of the selected."""
        return self.policies[column][self.top]


@dataclass(frozen=True)
class Measured:
    """The mean of one method's numbers over architectures, and over generator seeds where there are several."""

    mean_return: Interval
    """Of the selected on the test episodes."""
    success: Interval
    """Share of successful test episodes of the selected, by the protocol's headline."""
    selection_success: Interval
    """The selected on the episodes that chose them; the bounds are NaN where samples left the race."""
    sample_success: float
    passing: float
    distinct: float
    networks: float
    """Distinct networks among the selected."""
    ghn_seeds: float
    """Distinct hypernetworks that the selected are nearest to."""
    ghn_distance: float
    """Median over the selected of the L2 distance to the nearest hypernetwork policy."""
    ghn_spread: float
    action_distance: float
    """Likewise of the distance of their actions to those of the training policy that acts most alike."""
    action_spread: float
    other_l2: float
    """Mean over the selected of the L2 distance to the nearest other of them."""
    other_cosine: float
    failed_alike: float
    """Mean over pairs of distinct selected networks of the overlap (IoU) of their failed test episodes."""


def read_scores(rows: pa.Table, policies: pa.Table, protocol: Protocol, tasks: Sequence[str]) -> dict[UnitName, Scores]:
    """The units of these tasks; `rows` have `store.EPISODE_SCHEMA`, `policies` `store.POLICY_SCHEMA`.

    Raises TableError where rows are of another protocol, of two trained methods of one name, or not whole units.
    """
    _refuse_mixed(rows, protocol)
    wanted = pa.array(sorted(set(tasks)), pa.string())
    episodes = _split(rows.filter(pc.is_in(rows["task"], wanted)))
    described = _split(policies.filter(pc.is_in(policies["task"], wanted)))
    if episodes.keys() != described.keys():
        some = next(iter(episodes.keys() ^ described.keys()))
        raise TableError(
            f"{some.method} on {some.task}, {some.arch}: there are rows of its episodes or of its policies, but not of "
            "both; delete this unit's files and run it again"
        )
    return {name: _read(name, episodes[name], described[name], protocol) for name in episodes}


def measure(groups: Sequence[Sequence[Scores]], top: int) -> Measured:
    """The mean over groups, one a generator seed, of the mean over a group's architectures.

    `top` is how many the protocol selects.
    """
    every = [scores for group in groups for scores in group]

    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    def median_of_top(column: str) -> float:
        return mean([float(np.median(scores.of_top(column).astype(float))) for scores in every])

    clusters = [[scores.networks for scores in group] for group in groups]
    selected = mean([scores.selected_success for scores in every])
    reselected = Interval(selected, math.nan, math.nan)
    if not any(np.isnan(scores.selection_returns).any() for scores in every):
        bounds = reselected_interval(
            [[(scores.selection_returns, scores.selection_success) for scores in group] for group in groups], top
        )
        reselected = bounds._replace(mean=selected)
    return Measured(
        mean_return=hierarchical_interval([[list(s.returns) for s in group] for group in groups], clusters),
        success=hierarchical_interval([[list(s.success) for s in group] for group in groups], clusters),
        selection_success=reselected,
        sample_success=mean([scores.sample_success for scores in every]),
        passing=mean([scores.passing for scores in every]),
        distinct=mean([scores.distinct for scores in every]),
        networks=mean([len(set(scores.networks)) for scores in every]),
        ghn_seeds=mean([len(set(scores.of_top("ghn_seed").tolist())) for scores in every]),
        ghn_distance=median_of_top("ghn_distance"),
        ghn_spread=median_of_top("ghn_spread"),
        action_distance=median_of_top("action_distance"),
        action_spread=median_of_top("action_spread"),
        other_l2=mean([_nearest_other(scores, "top_l2", np.min) for scores in every]),
        other_cosine=mean([_nearest_other(scores, "top_cosine", np.max) for scores in every]),
        failed_alike=mean([failed_overlap(scores) for scores in every]),
    )


def resample_test(groups: Sequence[Sequence[Scores]], stream: int) -> tuple[Resampled, Resampled]:
    """Return and success of the selected on the test episodes, groups as of `measure`, to subtract another method's.

    Methods that are compared have different streams.
    """
    clusters = [[scores.networks for scores in group] for group in groups]
    returns, success = (
        resample([[list(table) for table in group] for group in tables], clusters, stream=stream)
        for tables in (
            [[s.returns for s in group] for group in groups],
            [[s.success for s in group] for group in groups],
        )
    )
    return returns, success


def failed_overlap(scores: Scores) -> float:
    """Mean IoU of the failed test episodes over pairs of distinct selected networks of which one fails; NaN if none."""
    distinct = [scores.networks.index(network) for network in dict.fromkeys(scores.networks)]
    failed = ~scores.success[distinct]  # (D, E)
    found = []
    for first in range(len(failed)):
        for second in range(first):
            union = int((failed[first] | failed[second]).sum())
            if union:
                found.append(int((failed[first] & failed[second]).sum()) / union)
    return float(np.mean(found)) if found else math.nan


def failed_overlap_with(scores: Scores, others: Scores) -> float:
    """Mean over the selected that fail of the largest IoU of their failed test episodes with those of another network
    among the others' selected; NaN if none fails or there is no other."""
    found = []
    for network, succeeds in zip(scores.networks, scores.success, strict=True):
        failed = ~succeeds
        different = [row for name, row in zip(others.networks, others.success, strict=True) if name != network]
        if failed.any() and different:
            found.append(max((failed & ~row).sum() / (failed | ~row).sum() for row in different))
    return float(np.mean(found)) if found else math.nan


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


def _refuse_mixed(rows: pa.Table, protocol: Protocol) -> None:
    foreign = sorted(set(pc.unique(rows["protocol"]).to_pylist()) - {protocol.short})
    if foreign:
        raise TableError(
            f"rows of protocol {', '.join(foreign)} and a table of protocol {protocol.short}: they do not compare; "
            "choose a folder of one protocol with --results, or delete the files of the other"
        )
    identities: dict[tuple[str, str, int], list[str]] = {}
    keys = ["task", "method", "generator_seed"]
    for found in rows.group_by([*keys, "method_sha256"]).aggregate([]).to_pylist():
        task, method, seed = (found[key] for key in keys)
        identities.setdefault((task, method, seed), []).append(found["method_sha256"])
    for (task, method, seed), hashes in identities.items():
        if len(hashes) > 1:
            raise TableError(
                f"rows of {method} on {task}, generator seed {seed}, are of differently trained methods "
                f"{' and '.join(sorted(hashes))}: they do not average; choose a folder of one with --results, or "
                "delete the files of the others"
            )


def _split(rows: pa.Table) -> dict[UnitName, dict[str, np.ndarray]]:
    """The columns of each unit as arrays, lists as objects."""
    if rows.num_rows == 0:
        return {}
    asked_for = pc.if_else(rows["joint"], JOINT, rows["arch"]).combine_chunks()
    keys = {name: rows[name].combine_chunks() for name in ("task", "method", "generator_seed")} | {"arch": asked_for}
    codes = np.zeros(rows.num_rows, np.int64)
    for column in keys.values():
        encoded = column.dictionary_encode()
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))

    columns: dict[str, np.ndarray] = {}
    for field in rows.schema:
        if pa.types.is_dictionary(field.type):
            columns[field.name] = rows[field.name].cast(pa.string()).to_numpy(zero_copy_only=False)
        else:
            columns[field.name] = rows[field.name].to_numpy(zero_copy_only=False)
    parts = {name: np.split(values[order], starts[1:]) for name, values in columns.items()}
    names = pa.table(keys).take(order[starts]).to_pylist()
    return {UnitName(**name): {column: parts[column][u] for column in parts} for u, name in enumerate(names)}


def _read(
    unit: UnitName, columns: Mapping[str, np.ndarray], policies: Mapping[str, np.ndarray], protocol: Protocol
) -> Scores:
    """Raises TableError unless the columns hold every episode of the unit once."""
    by_sample = np.argsort(policies["sample"])
    policies = {name: values[by_sample] for name, values in policies.items()}
    order = np.lexsort((columns["episode_seed"], columns["rank"] + protocol.samples * (columns["rank"] < 0)))
    columns = {name: values[order] for name, values in columns.items()}
    testing = columns["stage"] == "test"
    chosen = ~testing & columns["selected"]
    screening = ~testing & np.isin(columns["episode_seed"], protocol.screening_seeds)
    if not np.isin(columns["episode_seed"][~testing], protocol.selection_seeds).all():
        raise TableError(f"{unit.method} on {unit.task}, {unit.arch}: rows of episodes that are not the protocol's")
    top = columns["sample"][chosen & (columns["episode_seed"] == protocol.selection_seeds[0])]
    everyone = np.arange(protocol.samples)
    for stage, rows, samples, seeds in (
        ("screening", screening, everyone, protocol.screening_seeds),
        ("selection", chosen, top, protocol.selection_seeds),
        ("test", testing, top, protocol.test_seeds),
    ):
        count = protocol.samples if stage == "screening" else protocol.top
        expected = np.repeat(samples, len(seeds)), np.tile(seeds, len(samples))
        found = columns["sample"][rows], columns["episode_seed"][rows]
        if stage == "screening":  # those outside the top come in no order
            ordered = np.lexsort(found[::-1])
            found = found[0][ordered], found[1][ordered]
        if len(samples) != count or not all(map(np.array_equal, found, expected)):
            raise TableError(
                f"{unit.method} on {unit.task}, {unit.arch}, generator seed {unit.generator_seed}: "
                f"{int(rows.sum())} {stage} episodes, expected {count} policies on the same {len(seeds)} seeds; "
                "delete this unit's files and run it again"
            )
    success = columns[protocol.headline].astype(bool)
    shape = protocol.samples, protocol.selection_episodes
    selection = {name: np.full(shape, math.nan) for name in ("return", "success")}
    place = columns["sample"][~testing], columns["episode_seed"][~testing] - protocol.selection_seeds[0]
    selection["return"][place] = columns["return"][~testing]
    selection["success"][place] = success[~testing]
    screened = slice(protocol.screening_episodes)
    passing, wanted = math.nan, TASKS[unit.task].filter if unit.task in TASKS else None
    if wanted is not None:
        returns = selection["return"][:, screened].mean(axis=1)
        passing = float(
            (
                (returns >= wanted.min_return) & (selection["success"][:, screened].mean(axis=1) >= wanted.min_success)
            ).mean()
        )
    tested = protocol.top, protocol.test_episodes
    return Scores(
        returns=columns["return"][testing].reshape(tested),
        success=success[testing].reshape(tested),
        networks=policies["weights_sha256"][top].tolist(),
        selection_returns=selection["return"],
        selection_success=selection["success"],
        selected_success=float(success[chosen].mean()),
        sample_success=float(success[screening].mean()),
        passing=passing,
        distinct=len(set(policies["weights_sha256"].tolist())) / protocol.samples,
        policies=policies,
        top=top,
    )
