"""What is said beside the paper's claims follows the intervals, and speaks of what was found here."""

from collections.abc import Iterable
from typing import Any

import pytest

from nnbench.analysis import claims
from nnbench.analysis.lines import Line
from nnbench.analysis.methods import Methods
from nnbench.facts import Facts, find_facts

SHIPPED = find_facts()


def judge(lines: Iterable[Line], **facts: Facts) -> list[str]:
    return claims.judge_claims(lines, Methods(SHIPPED | facts))


def line(method: str, measured: float, reported: float | None, **changes: Any) -> Line:
    facts = {"table": "2", "task": "PickCube-v1", "split": "unseen", "arch": None, "metric": "success", "verdict": ""}
    interval = {"measured": measured, "lo": measured - 0.02, "hi": measured + 0.02, "reported": reported}
    return Line(**{"generator_seeds": "0", "method": method, **facts, **interval, **changes})


def difference(method: str, other: str, measured: float, **changes: Any) -> Line:
    return line(method, measured, None, table="differences", against=other, **changes)


def headlines(*lines: Line) -> list[str]:
    return [sentence.partition(" here, ")[2] for sentence in judge(lines) if "85 %" in sentence]


def orders(*lines: Line) -> list[str]:
    return [sentence.rpartition(": ")[2] for sentence in judge(lines) if "the paper has" in sentence]


def test_a_claim_is_held_against_the_interval() -> None:
    for found, word in ((0.94, "above"), (0.86, "not told from"), (0.60, "below")):
        assert headlines(line("nnit", found, 0.99)) == [f"{word} the 85 % that the paper claims."]
    assert judge([line("nnit", 0.94, 0.98, split="seen")]) == []


def test_a_ranking_is_decided_by_the_difference_whichever_way_it_was_taken() -> None:
    nnit, d2nwg = line("nnit", 0.99, 0.99), line("d2nwg", 0.58, 0.59)
    for found, expected in ((0.1, "the paper's order."), (0.01, "not told apart."), (-0.1, "the reverse order.")):
        assert orders(nnit, d2nwg, difference("nnit", "d2nwg", found)) == [expected]
        assert orders(nnit, d2nwg, difference("d2nwg", "nnit", -found)) == [expected]
    assert orders(nnit, d2nwg) == []
    close = line("nnit", 0.2, 0.99, split="seen"), line("d2nwg", 0.9, 0.98, split="seen")
    assert orders(*close, difference("nnit", "d2nwg", -0.7, split="seen")) == []  # the paper prints whole percent


def test_a_ranking_of_a_method_that_is_not_where_the_paper_has_it_says_so() -> None:
    nnit, below, above = line("nnit", 0.99, 0.99), line("d2nwg", 0.1, 0.59), line("d2nwg", 0.95, 0.59)
    assert orders(nnit, below, difference("nnit", "d2nwg", 0.4)) == [
        "the paper's order; d2nwg here below the paper's number."
    ]
    assert orders(nnit, above, difference("nnit", "d2nwg", 0.04)) == [
        "the paper's order; d2nwg here above the paper's number."
    ]


def test_a_difference_decides_only_its_own_task_and_split() -> None:
    nnit, d2nwg = line("nnit", 0.99, 0.99), line("d2nwg", 0.58, 0.59)
    for changes in ({"task": "PushCube-v1"}, {"split": "seen"}, {"metric": "return"}, {"arch": "16-16-16-32"}):
        assert orders(nnit, d2nwg, difference("nnit", "d2nwg", 0.1, **changes)) == []


def test_the_ranking_is_summed_up() -> None:
    lines = [line("nnit", 0.99, 0.99), line("d2nwg", 0.95, 0.59), line("sane", 0.4, 0.01)]
    lines += [difference("nnit", "d2nwg", 0.04), difference("sane", "nnit", -0.59), difference("d2nwg", "sane", 0.55)]
    other = {"task": "PushCube-v1"}
    lines += [line("nnit", 0.98, 1.0, **other), line("d2nwg", 0.99, 0.89, **other)]
    lines += [difference("nnit", "d2nwg", -0.01, **other)]
    assert claims.summarise_ranking(lines) == (
        "The order of d2nwg, nnit and sane here is the paper's in 3 of 4 cases (two methods on one task, seen or "
        "unseen), 1 not told apart; the median distance here is 0.35 of the paper's. nnit less d2nwg on unseen "
        "architectures: 4.0 [2.0, 6.0] points on PickCube-v1 (40 in the paper); -1.0 [-3.0, 1.0] points on PushCube-v1 "
        "(11 in the paper). nnit less sane on unseen architectures: 59.0 [57.0, 61.0] points on PickCube-v1 (98 in the "
        "paper). d2nwg less sane on unseen architectures: 55.0 [53.0, 57.0] points on PickCube-v1 (58 in the paper)."
    )
    assert claims.summarise_ranking(lines[:3]) == ""


def test_a_method_stands_beside_the_hypernetworks_and_the_best_baseline() -> None:
    found = judge(
        [
            line("nnit", 0.94, 0.99),
            line("ghn", 0.99, None),
            line("nearest", 0.3, None),
            difference("nnit", "ghn", -0.05),
            difference("nnit", "nearest", 0.64),
        ]
    )
    assert found[1:] == [
        "PickCube-v1, unseen: here nnit does worse than asking the hypernetworks directly (ghn): nnit 94.0 %, ghn "
        "99.0 %, difference -5.0 [-7.0, -3.0] points.",
        "PickCube-v1, unseen: here nnit does better than the best untrained baseline (nearest): nnit 94.0 %, nearest "
        "30.0 %, difference 64.0 [62.0, 66.0] points.",
    ]


def test_a_baseline_above_the_papers_own_number_is_named() -> None:
    methods = line("nnit", 0.98, 0.99), line("sane", 0.67, 0.01), line("d2nwg", 0.9, 0.55)
    baselines = line("random", 0.0, None), line("nearest", 0.6, None)
    assert judge([*methods, *baselines])[1:] == [
        "PickCube-v1, unseen: the best untrained baseline (nearest) solves more here, 60.0 [58.0, 62.0] %, than the "
        "paper says of d2nwg (55 %), sane (1 %)."
    ]
    assert judge([*methods, line("random", 0.0, None)])[1:] == []


def test_a_plugins_role_decides_what_is_said_of_it() -> None:
    lines = [line("sane", 0.5, 0.3), line("mine", 0.6, None), difference("sane", "mine", -0.1)]
    assert judge(lines) == []
    found = judge(lines, mine=Facts(name="mine", role="baseline"))
    assert [sentence.split(": ")[1] for sentence in found] == [
        "here sane does worse than the best untrained baseline (mine)",
        "the best untrained baseline (mine) solves more here, 60.0 [58.0, 62.0] %, than the paper says of sane (30 %).",
    ]
    (trainer,) = judge(lines, mine=Facts(name="mine", role="baseline", trains_each=True))
    assert "here sane does worse than training every network (mine)" in trainer
    (found_of_source,) = judge(lines, mine=Facts(name="mine", role="source"))
    assert "here sane does worse than asking the hypernetworks directly (mine)" in found_of_source


def test_a_variant_answers_what_it_asks() -> None:
    successes = {"nnit": 0.98, "nnit_pca": 0.98, "row_dit": 0.9, "d2nwg": 0.1, "d2nwg_grid": 0.9}
    lines = [line(method, success, None) for method, success in successes.items()]
    lines += [difference("nnit_pca", "row_dit", 0.08), difference("d2nwg_grid", "d2nwg", 0.8)]
    assert [sentence.removeprefix("PickCube-v1, unseen: ") for sentence in reversed(judge(lines)[1:])] == [
        "row_dit (nnit_pca, but a token is a neuron instead of a patch, and half of the steps) scores below nnit_pca "
        "here: row_dit 90.0 %, nnit_pca 98.0 %, difference -8.0 [-10.0, -6.0] points.",
        "d2nwg_grid (d2nwg, but every connection has a place of its own, and the linear layers are the zoo's principal "
        "components) scores above d2nwg here: d2nwg_grid 90.0 %, d2nwg 10.0 %, difference 80.0 [78.0, 82.0] points.",
    ]


def test_a_variant_that_is_where_the_paper_has_its_base_says_so() -> None:
    sane, gap = line("sane", 0.67, 0.01), difference("sane_independent", "sane", -0.67)
    (found,) = judge([sane, line("sane_independent", 0.0, None), gap])
    assert found.endswith(
        "points; the paper's number for sane, 1 %, lies within the interval of sane_independent here, 0.0 [-2.0, 2.0], "
        "and not of sane."
    )
    for base, variant in ((sane, 0.2), (line("sane", 0.02, 0.01), 0.0)):
        (found,) = judge([base, line("sane_independent", variant, None), gap])
        assert found.endswith("points.")


def test_the_mean_over_seeds_counts_once() -> None:
    seeds = [
        line("nnit", value, 0.99, generator_seeds=name) for value, name in ((0.94, "0+1"), (0.6, "0"), (0.99, "1"))
    ]
    assert [word.split()[0] for word in headlines(*seeds)] == ["above"]


def test_findings_are_one_sentence_for_all_tasks() -> None:
    other = {"task": "PushCube-v1"}
    lines = [line("nnit", 0.94, 0.99), line("ghn", 0.99, None), line("d2nwg", 0.5, 0.59), line("nearest", 0.7, None)]
    lines += [difference("nnit", "ghn", -0.05), difference("nnit", "nearest", 0.24), difference("nnit", "d2nwg", 0.44)]
    lines += [line("nnit", 0.86, 1.0, **other), line("ghn", 0.86, None, **other)]
    lines += [difference("nnit", "ghn", 0.0, **other), line("nnit", 0.1, 0.9, split="seen")]
    assert claims.summarise_findings(lines, Methods(SHIPPED)) == [
        "nnit solves here 94.0 [92.0, 96.0] % of PickCube-v1 and 86.0 [84.0, 88.0] % of PushCube-v1; the paper claims "
        "more than 85 %: above that on PickCube-v1, not told from that on PushCube-v1.",
        "The order of d2nwg and nnit here is the paper's in 1 of 1 cases (two methods on one task, seen or unseen); "
        "the median distance here is 1.10 of the paper's.",
        "nnit less ghn (which wrote the zoo) is here -5.0 [-7.0, -3.0] points on PickCube-v1 and 0.0 [-2.0, 2.0] "
        "points on PushCube-v1: not told apart on PushCube-v1, worse on PickCube-v1.",
        "nnit less nearest (the best untrained baseline) is here 24.0 [22.0, 26.0] points on PickCube-v1: better.",
        "The best untrained baseline solves more here than the paper says of d2nwg (59 %) on PickCube-v1 (nearest: "
        "70.0 [68.0, 72.0] %).",
    ]
    assert claims.summarise_findings([], Methods(SHIPPED)) == []


def test_findings_name_the_variants_that_differ_most_and_no_more_than_fit() -> None:
    facts = {f"v{k}": Facts(name=f"v{k}", variant_of=("sane", f"change {k}")) for k in range(12)}
    lines = [line("sane", 0.5, 0.01), *(line(name, 0.5, None) for name in facts)]
    lines += [difference("sane", f"v{k}", 0.03 * k) for k in range(12)]
    found = claims.summarise_findings(lines, Methods(SHIPPED | facts))
    assert len(found) == claims.MOST
    assert found[0] == (
        "v11 (sane, but change 11) less sane is here -33.0 [-35.0, -31.0] points on PickCube-v1: worse."
    ), "the difference was taken the other way round"
    assert [sentence.split()[0] for sentence in found[1:3]] == ["v10", "v9"]


def test_a_zero_has_no_sign() -> None:
    lines = [line("nnit", 0.9, 0.99), line("ghn", 0.9, None)]
    lines.append(difference("nnit", "ghn", -0.0001, lo=-0.0002, hi=0.01))
    (_, found) = judge(lines)
    assert found.endswith("difference 0.0 [0.0, 1.0] points.")


def test_claims_are_borne_out_undecided_or_contradicted() -> None:
    lines = [line("nnit", 0.9, 0.99), line("d2nwg", 0.9, 0.59), line("sane", 0.95, 0.01), line("row_dit", 0.5, None)]
    lines += [difference("nnit", "d2nwg", 0.0), difference("nnit", "row_dit", 0.4)]
    lines += [difference("sane", "nnit", 0.05, generator_seeds="0+1")]
    lines += [line("nnit", 0.9, 1.0, split="seen"), difference("d2nwg", "sane", 0.1, task="PushCube-v1")]
    found = claims.list_claims(lines)
    assert [(claim.found.method, claim.found.against, claim.verdict) for claim in found] == [
        ("nnit", None, "borne out"),
        ("nnit", "d2nwg", "undecided"),
        ("nnit", "sane", "contradicted"),
    ]
    for claim, claimed, measured in zip(found, (0.14, 0.40, 0.98), (0.05, 0.0, -0.05), strict=True):
        assert claim.claimed == pytest.approx(claimed) and claim.found.measured == pytest.approx(measured)
    assert [claim.successes for claim in found] == [(0.9,), (0.9, 0.9), (0.9, 0.95)]
    assert {claim.found.generator_seeds for claim in found} == {"0"}, "those of the method that comes first"
    assert (found[0].found.lo, found[0].found.hi) == pytest.approx((0.03, 0.07))
    assert claims.list_claims([]) == []
