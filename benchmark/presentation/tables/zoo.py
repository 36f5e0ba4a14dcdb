"""Tables 1 and 6, about the policies that methods learn from, and what autoencoders leave of these."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbench.analysis.measured import Estimate
from nnbench.analysis.reported import ARXIV_ID, TRAINING_POLICIES, reported, reported_cells
from nnbench.analysis.round_trips import RoundTrip
from nnbench.analysis.statistics import Interval, hierarchical_interval
from nnbench.presentation.tables.table import MISSING, Entry, Label, Number, Table, interval, point, verdict

_SIDES = {"conv1x1": "ghn", "upsample": "ghn", "sgd": "sgd"}
"""How the weights of table 1 came about, and what the paper calls it."""


@dataclass(frozen=True)
class _Side:
    """Of table 1: the policies of all seeds that came about in one way."""

    name: str
    rows: Sequence[Mapping[str, Any]]
    claim: Mapping[str, float]


def table1(rows: Sequence[Mapping[str, Any]], task: str) -> Table[_Side]:
    """Policies written by hypernetworks beside directly trained ones; rows as of `store.read_alignment`."""
    claims = {cell.method: cell.values for cell in reported_cells(1, task)}
    sides = [
        _Side(name, [row for row in rows if row["side"] == name], claims.get(paper, {}))
        for name, paper in _SIDES.items()
    ]
    return Table(
        "1",
        f"Table 1: weights written by hypernetworks and trained directly, {task}",
        "Mean over independent seeds; [low, high]: 95% bootstrap interval over them. nearest: of the other seeds' "
        "weights. neighbours: correlation of adjacent weights of the hidden matrices. other seeds: correlation of the "
        "hidden units' mean absolute weights with those of other seeds. conv1x1, upsample: the hypernetwork's decoder; "
        f"the paper's is convolutional. reported: Table 1 of arXiv {ARXIV_ID}. {MISSING}: not measured, or not "
        "reported.",
        [
            Label("weights,\nseeds", lambda side: f"{side.name}, {len(side.rows)}" if side.rows else side.name),
            Number("measured\nreturn", "return", _over_seeds("return"), interval(1)),
            Number("measured\nsuccess %", "success", _over_seeds("success_at_end"), interval(1, 100)),
            Number("nearest\nL2", "nearest_l2", _over_seeds("nearest_l2"), interval(1)),
            # 120 characters have no room for six intervals; those of correlations are in the lines.
            Number("nearest\ncosine", "nearest_cosine", _over_seeds("nearest_cosine"), point(2)),
            Number("neigh-\nbours", "neighbour_correlation", _over_seeds("neighbour_correlation"), point(2)),
            Number("other\nseeds", "seed_alignment", _over_seeds("seed_alignment"), point(2)),
            Label("reported\nreturn, %", _claimed(_score), right=True),
            Label("reported\nL2, cosine", _claimed(_neighbour), right=True),
        ],
        [Entry(data=side, task=task, split="train", method=side.name, claims=side.claim) for side in sides],
    )


@dataclass(frozen=True)
class _Diversity:
    """Of table 6: how far apart the training policies of one task are."""

    task: str
    policies: int
    l2: Estimate | None
    cosine: Estimate | None
    claim: Mapping[str, float]


def table6(indexes: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table[_Diversity]:
    """How different the training policies of one architecture are; `indexes` maps tasks to the rows of their zoos."""
    found = [_diversity(task, rows) for task, rows in indexes.items()]
    return Table(
        "6",
        "Table 6: diversity of the training policies",
        "Distance and cosine similarity of each training policy to its nearest neighbour of the same architecture, "
        "mean over policies and architectures; [low, high]: the architectures with the smallest and the largest mean, "
        "because the paper's number is of one architecture that it does not name. "
        f"reported: Table 6 of arXiv {ARXIV_ID}. {MISSING}: not measured, or not reported.",
        [
            Label("task", lambda one: one.task),
            Label("policies", lambda one: str(one.policies or MISSING), right=True),
            Number("measured nearest L2", "nearest_l2", lambda one: one.l2, interval(2)),
            Number("measured nearest cosine", "nearest_cosine", lambda one: one.cosine, interval(2)),
            Label("reported L2", _claimed(lambda claim: f"{claim['nearest_l2']:.2f}"), right=True),
            Label("reported cosine", _claimed(lambda claim: f"{claim['nearest_cosine']:.2f}"), right=True),
            Label("verdict", _verdict, right=True),
        ],
        [Entry(data=one, task=one.task, split="train", method=TRAINING_POLICIES, claims=one.claim) for one in found],
    )


def round_trip_table(found: Sequence[RoundTrip], task: str) -> Table[RoundTrip]:
    """Training policies beside what autoencoders leave of them; `found` as of `round_trips.average`."""

    def read(metric: str) -> Callable[[RoundTrip], float]:
        return lambda one: one.numbers[metric]

    return Table(
        "roundtrip",
        f"Round trip: training policies encoded and decoded, nothing sampled, {task}",
        "Mean over the training policies of an architecture, and mean of those over the architectures measured, on "
        "validation episodes. zoo: the policies themselves. decoded: what is left of them. relative L2: norm of the "
        f"difference of the weights over that of the policy's. {MISSING}: not measured.",
        [
            Label("method", lambda one: "" if one.arch else f"{one.method} s{one.generator_seed}"),
            Label("arch", lambda one: one.arch or f"{one.archs} archs"),
            Label("poli-\ncies", lambda one: str(one.policies), right=True),
            Label("episodes", lambda one: str(one.episodes), right=True),
            Number("zoo\nreturn", "return", read("return"), point(1)),
            Number("decoded\nreturn", "reconstructed_return", read("reconstructed_return"), point(1)),
            Number("zoo\nsuccess %", "success", read("success"), point(1, 100)),
            Number("decoded\nsuccess %", "reconstructed_success", read("reconstructed_success"), point(1, 100)),
            Number("relative\nL2", "relative_l2", read("relative_l2"), point(3)),
        ],
        [
            Entry(
                data=one,
                task=task,
                split="train",
                method=one.method,
                generator_seeds=(one.generator_seed,),
                arch=one.arch,
            )
            for one in found
        ],
        section=lambda one: (one.method, one.generator_seed),
    )


def _over_seeds(column: str) -> Callable[[_Side], Estimate | None]:
    def read(side: _Side) -> Estimate | None:
        if not side.rows:
            return None
        values = [[[np.array([row[column]]) for row in side.rows]]]
        found = hierarchical_interval(values)
        return Estimate(found.mean, lambda: found)

    return read


def _claimed(text: Callable[[Mapping[str, float]], str]) -> Callable[[Any], str]:
    """What is printed of a row's claim."""
    return lambda row: text(row.claim) if row.claim else MISSING


def _score(claim: Mapping[str, float]) -> str:
    return f"{claim['return']:.2f}, {100 * claim['success']:.1f}"


def _neighbour(claim: Mapping[str, float]) -> str:
    return f"{claim['nearest_l2']:.2f}, {claim['nearest_cosine']:.2f}"


def _diversity(task: str, rows: Sequence[Mapping[str, Any]]) -> _Diversity:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("nearest_l2") is not None and not np.isnan(row["nearest_l2"]):
            groups.setdefault(row["arch"], []).append(row)
    cell = reported(6, task)
    l2, cosine = (
        _range([float(np.mean([row[name] for row in group])) for group in groups.values()])
        for name in ("nearest_l2", "nearest_cosine")
    )
    return _Diversity(task, sum(map(len, groups.values())), l2, cosine, cell.values if cell else {})


def _range(means: Sequence[float]) -> Estimate | None:
    if not means:
        return None
    found = Interval(float(np.mean(means)), min(means), max(means))
    return Estimate(found.mean, lambda: found)


def _verdict(one: _Diversity) -> str:
    pairs = ((one.l2, "nearest_l2"), (one.cosine, "nearest_cosine"))
    said = [verdict(found, one.claim[name]) for found, name in pairs if found is not None and name in one.claim]
    return "/".join(dict.fromkeys(said)) or MISSING
