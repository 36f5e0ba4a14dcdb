"""Claims of the paper are borne out, contradicted or left open as the intervals say."""

from dataclasses import replace
from typing import Any

from nnbench.findings import findings
from nnbench.rendering import Line


def line(method: str, measured: float, reported: float | None, **changes: Any) -> Line:
    facts = {"table": "2", "task": "PickCube-v1", "split": "unseen", "arch": None, "metric": "success", "verdict": ""}
    interval = {"measured": measured, "lo": measured - 0.02, "hi": measured + 0.02, "reported": reported}
    return Line(**{"generator_seeds": "0", "method": method, **facts, **interval, **changes})  # type: ignore[arg-type]


def verdicts(*lines: Line) -> list[str]:
    return [sentence.rpartition(": ")[2] for sentence in findings(lines) if "ranks" in sentence or "85" in sentence]


def test_a_claim_is_held_against_the_interval() -> None:
    assert verdicts(line("nnit", 0.94, 0.99)) == ["borne out."]
    assert verdicts(line("nnit", 0.86, 0.99)) == ["not decided."]
    assert verdicts(line("nnit", 0.60, 0.99)) == ["contradicted."]
    assert findings([line("nnit", 0.94, 0.98, split="seen")]) == []


def test_a_ranking_needs_both_methods_and_intervals_apart() -> None:
    nnit, sane = line("nnit", 0.5, 0.99), line("sane", 0.01, 0.01)
    assert verdicts(nnit, line("d2nwg", 0.70, 0.59))[1:] == ["contradicted."]
    assert verdicts(nnit, line("d2nwg", 0.51, 0.59))[1:] == ["not decided."]
    assert verdicts(nnit, line("d2nwg", 0.2, 0.59), sane)[1:] == ["borne out.", "borne out.", "borne out."]
    assert verdicts(nnit, replace(line("d2nwg", 0.2, 0.59), measured=None, lo=None, hi=None))[1:] == []
    close = line("nnit", 0.2, 0.99, split="seen"), line("d2nwg", 0.9, 0.98, split="seen")
    assert verdicts(*close) == []  # the paper prints whole percent


def test_a_method_stands_beside_the_hypernetworks_and_the_best_floor() -> None:
    found = findings(
        [line("nnit", 0.94, 0.99), line("ghn", 0.99, None), line("random", 0.0, None), line("nearest", 0.3, None)]
    )
    assert found[1:] == [
        "PickCube-v1, unseen: nnit does worse than asking the hypernetworks directly (ghn): 94.0 [92.0, 96.0] % and "
        "99.0 [97.0, 101.0] %.",
        "PickCube-v1, unseen: nnit does better than the best floor measured (nearest): 94.0 [92.0, 96.0] % and "
        "30.0 [28.0, 32.0] %.",
    ]


def test_the_mean_over_seeds_counts_once() -> None:
    seeds = [
        line("nnit", value, 0.99, generator_seeds=name) for value, name in ((0.94, "0+1"), (0.6, "0"), (0.99, "1"))
    ]
    assert verdicts(*seeds) == ["borne out."]
