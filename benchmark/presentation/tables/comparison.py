"""Methods beside one another, and how new the policies are that they write."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nnbench.analysis.claims import Claim
from nnbench.analysis.comparisons import Comparison
from nnbench.analysis.lines import Line
from nnbench.analysis.measured import Estimate, Measured
from nnbench.analysis.reported import CLAIMED_UNSEEN
from nnbench.analysis.rows import Row
from nnbench.analysis.statistics import Interval
from nnbench.presentation.tables.captions import protocol_note, say_training
from nnbench.presentation.tables.generation import name_with_seeds
from nnbench.presentation.tables.table import MISSING, Entry, Label, Number, Table, interval, point
from nnbench.protocol import Protocol


def differences_table(comparisons: Sequence[Comparison], protocol: Protocol) -> Table[Comparison]:
    """Methods beside one another on the same test episodes, of all tasks."""
    trained = say_training([row for found in comparisons for row in (found.first, found.other)])
    said = " ".join(filter(None, [trained, protocol_note(protocol)]))
    return Table(
        "differences",
        "Differences between methods on the same test episodes",
        "The first method's mean over the split's architectures less the second's, of table 2. [low, high]: 95% "
        "bootstrap interval over test episodes, drawn for both alike, and over networks and generator seeds, drawn for "
        "each by itself; where a success is exactly 0 or 100 %, no narrower than with its Wilson interval of as many "
        "trials as there are test episodes. verdict: better or worse by success where the interval does not hold 0, "
        f"undecided where it does. {said}".strip(),
        [
            Label("task", lambda found: found.first.task, once=True),
            Label("split", lambda found: found.first.partition, once=True),
            Label("method", lambda found: name_with_seeds(found.first)),
            Label("minus", lambda found: name_with_seeds(found.other)),
            Number("measured\nreturn", "return", lambda found: _known(found.returns), interval(1)),
            Number("measured\nsuccess, points", "success", lambda found: _known(found.success), interval(1, 100)),
            Label("verdict", lambda found: found.verdict, right=True),
        ],
        [
            Entry(
                data=found,
                task=found.first.task,
                split=found.first.partition,
                method=found.first.method,
                generator_seeds=found.first.generator_seeds,
                reads=found.first.reads,
                against=found.other.method,
                verdict=found.verdict,
            )
            for found in comparisons
        ],
        section=lambda found: (found.first.task, found.first.partition),
    )


def claims_table(claims: Sequence[Claim], protocol: Protocol) -> Table[Claim]:
    """What the paper claims of success, of all tasks, and what became of it here."""
    return Table(
        "claims",
        "The paper's claims, and what was found here",
        "paper: points of success by which the paper has a method above another of its methods (table 2; pairs within "
        f"its rounding are left out), or above the {100 * CLAIMED_UNSEEN:.0f} % of its abstract. here: the successes, "
        "and their difference with the interval of the table of differences; it covers training only where a method "
        "was trained several times. borne out or contradicted: the interval does not hold 0. The methods here are "
        "adaptations, smaller and trained on another zoo, so a verdict is about them. "
        f"{protocol_note(protocol)}".strip(),
        [
            Label("task", lambda claim: claim.found.task, once=True),
            Label("split", lambda claim: claim.found.split, once=True),
            Label("method", lambda claim: claim.found.method),
            Label("minus", lambda claim: claim.found.against or f"{100 * CLAIMED_UNSEEN:.0f} %"),
            Label("paper,\npoints", lambda claim: f"{100 * claim.claimed:.0f}", right=True),
            Label("here,\n%", lambda claim: " − ".join(f"{100 * mean:z.1f}" for mean in claim.successes), right=True),
            Number("here,\npoints", "success", lambda claim: _estimate(claim.found), interval(1, 100)),
            Label("verdict", lambda claim: claim.verdict, right=True),
        ],
        [
            Entry(
                data=claim,
                task=claim.found.task,
                split=claim.found.split,
                method=claim.found.method,
                generator_seeds=tuple(map(int, claim.found.generator_seeds.split("+"))),
                claims={"success": claim.claimed},
                against=claim.found.against,
                verdict=claim.verdict,
            )
            for claim in claims
        ],
        section=lambda claim: (claim.found.task, claim.found.split),
    )


def _estimate(line: Line) -> Estimate:
    assert line.measured is not None and line.lo is not None and line.hi is not None
    return _known(Interval(line.measured, line.lo, line.hi))


@dataclass(frozen=True)
class NoveltyRow:
    """A measured row of table 2 or 3."""

    row: Row
    found: Measured
    failed_as_source: Sequence[float]
    """Of each of its units that the source was measured on too: the overlap of their failures."""


def novelty_table(
    rows: Sequence[NoveltyRow], protocol: Protocol, source: str, *, detail: bool = False
) -> Table[NoveltyRow]:
    """How new the policies are, beside how good, of all tasks; `source` wrote the zoo. People see all columns only
    with `detail`; machines always get them."""
    more = (
        "actions to zoo: median distance of the actions to those of the training policy, of any architecture, whose "
        "actions are the most similar, and zoo apart the same between training policies of different hypernetworks. "
        "GHN seeds: distinct among the nearest. fail as other: overlap (intersection over union) of the failed "
        "episodes of two of them. fail as GHN: the largest overlap with one of the top of "
        f"`{source}`, another network. "
    )

    def in_detail(header: str) -> str | None:
        return header if detail else None

    return Table(
        "novelty",
        "How new the policies are",
        f"Mean over architectures. Of all {protocol.samples} samples: passing %: those that meet the filter of the "
        f"training set, judged on {protocol.screening_episodes} episodes. new and working: % that pass and are "
        "at least half as far from every policy of the zoo as these are from one another, by weights, with and "
        "without silent neurons, and by actions; ≤: older rows, which count padded copies that were disturbed. "
        "apart: median distance to the nearest other sample, 1 for as far as "
        "the zoo's policies are; actions apart: the same of the actions. distinct %: networks that differ in any "
        f"number. Of the top {protocol.top}: L2 to GHN: median distance to the nearest hypernetwork policy of the "
        "architecture, held out or not. GHNs apart: the same between hypernetworks; far below it is a copy. "
        f"{more if detail else ''}Weights are compared after the neurons were brought to one scale and matched. "
        f"{MISSING}: not measured, or nothing to measure.",
        [
            Label("task", lambda here: here.row.task, once=True),
            Label("split", lambda here: here.row.partition, once=True),
            Label("method", lambda here: name_with_seeds(here.row)),
            _number("success\n%", "success", lambda found: found.success.mean, 1, 100),
            _number("passing\n%", "passing", lambda found: found.passing, 0, 100),
            _number("new and\nworking", "new_and_working", lambda found: found.new_and_working, 0, 100),
            _number("apart", "apart", lambda found: found.apart, 2),
            _number("actions\napart", "actions_apart", lambda found: found.actions_apart, 2),
            _number("distinct\n%", "distinct", lambda found: found.distinct, 0, 100),
            _number("L2 to\nGHN", "ghn_distance", lambda found: found.ghn_distance, 2),
            _number("GHNs\napart", "ghn_spread", lambda found: found.ghn_spread, 2),
            _number(in_detail("actions\nto zoo"), "action_distance", lambda found: found.action_distance, 3),
            _number(in_detail("zoo\napart"), "action_spread", lambda found: found.action_spread, 3),
            _number(in_detail("GHN\nseeds"), "ghn_seeds", lambda found: found.ghn_seeds, 2),
            _number(None, "other_l2", lambda found: found.other_l2, 2),
            _number(None, "other_cosine", lambda found: found.other_cosine, 2),
            _number(in_detail("fail as\nother"), "failed_alike", lambda found: found.failed_alike, 2),
            Number(in_detail("fail as\nGHN"), "failed_as_ghn", lambda here: _mean(here.failed_as_source), point(2)),
        ],
        [
            Entry(
                data=here,
                task=here.row.task,
                split=here.row.partition,
                method=here.row.method,
                generator_seeds=here.row.generator_seeds,
                reads=here.row.reads,
            )
            for here in rows
        ],
        section=lambda here: (here.row.task, here.row.partition),
    )


def _number(
    header: str | None, metric: str, read: Callable[[Measured], Estimate | float], digits: int, scale: float = 1
) -> Number[NoveltyRow]:
    return Number(header, metric, lambda here: read(here.found), point(digits, scale))


def _known(found: Interval) -> Estimate:
    return Estimate(found.mean, lambda: found)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
