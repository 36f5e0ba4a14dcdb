"""What the measured numbers say of the paper's claims, in sentences, whichever way they point.

Methods are compared by the differences of their success on the same test episodes. Where the interval of a difference
holds 0 nothing is decided, and that is said.
"""

from collections.abc import Iterable
from itertools import combinations

from nnbench.rendering import Line
from nnbench.tables import DIRECT, FLOORS, VARIANTS

_CLAIMED_UNSEEN = 0.85
"""The paper's abstract: over 85 % success on architectures that were never trained on."""

_ROUNDING = 0.015
"""Two successes printed in whole percent differ if they differ by more."""


def findings(lines: Iterable[Line]) -> list[str]:
    """One sentence a claim of which all sides were measured; `lines` are those of the tables, that of differences among
    them."""
    measured: dict[tuple[str, str], dict[str, Line]] = {}
    claimed: dict[tuple[str, str], dict[str, float]] = {}
    differences: dict[tuple[str, str], dict[tuple[str, str], Line]] = {}
    for line in lines:
        if line.metric != "success" or line.arch is not None or line.split not in ("seen", "unseen"):
            continue
        group = line.task, line.split
        if line.table == "differences" and line.against is not None:
            differences.setdefault(group, {}).setdefault((line.method, line.against), line)
        elif line.table == "2" and line.measured is not None:
            measured.setdefault(group, {}).setdefault(line.method, line)  # the mean over generator seeds comes first
            if line.reported is not None:
                claimed.setdefault(group, {})[line.method] = line.reported
    return [
        f"{task}, {split}: {sentence}."
        for (task, split), successes in measured.items()
        for sentence in _of_split(split, successes, claimed.get((task, split), {}), differences.get((task, split), {}))
    ]


def _of_split(
    split: str,
    measured: dict[str, Line],
    claimed: dict[str, float],
    differences: dict[tuple[str, str], Line],
) -> list[str]:
    ranked = sorted(claimed, key=lambda method: -claimed[method])
    sentences = []
    if split == "unseen" and "nnit" in measured:
        nnit = measured["nnit"]
        side = _side(nnit, _CLAIMED_UNSEEN)
        sentences.append(
            f"the paper claims more than 85 % success for nnit; measured {_interval(nnit)} %: {_VERDICTS[side]}"
        )
    for better, worse in combinations(ranked, 2):
        pair, reverse = (better, worse), (worse, better)
        if claimed[better] - claimed[worse] > _ROUNDING and (pair in differences or reverse in differences):
            difference = differences.get(pair) or differences[reverse]
            side = _side(difference, 0) * (1 if pair in differences else -1)
            reported = f"{better} ({100 * claimed[better]:.0f} %) over {worse} ({100 * claimed[worse]:.0f} %)"
            found = f"measured {_beside(difference, measured)}: {_VERDICTS[side]}"
            sentence = f"the paper ranks {reported}; {found}"
            # A method that is not what the paper measured may have been trained too little, or adapted better.
            for way, place in ((-1, "below"), (1, "above")):
                other_than = [method for method in (better, worse) if _side(measured[method], claimed[method]) == way]
                if other_than:
                    names = " and ".join(other_than)
                    sentence += f"; {names} here {place} the paper's own number, for whatever reason"
            sentences.append(sentence)
    for method in ranked:
        for (first, other), difference in differences.items():
            if first == method and other in (DIRECT, *FLOORS):
                name = "asking the hypernetworks directly" if other == DIRECT else "the best floor measured"
                does = {1: "does better than", 0: "cannot be told from", -1: "does worse than"}[_side(difference, 0)]
                sentences.append(f"{method} {does} {name} ({other}): {_beside(difference, measured)}")
    for variant, (base, change) in VARIANTS.items():
        asked = differences.get((variant, base)) or differences.get((base, variant))
        if asked is not None:
            side = _side(asked, 0) * (1 if asked.method == variant else -1)
            does = {1: "scores above", 0: "cannot be told from", -1: "scores below"}[side]
            sentences.append(f"{variant} ({base}, but {change}) {does} {base}: {_beside(asked, measured)}")
    return sentences


_VERDICTS = {1: "borne out", 0: "not decided", -1: "contradicted"}


def _side(line: Line, value: float) -> int:
    """1 where the interval lies above the value, -1 below, 0 where it holds it."""
    assert line.lo is not None and line.hi is not None
    return int(line.lo > value) - int(line.hi < value)


def _interval(line: Line) -> str:
    assert line.measured is not None and line.lo is not None and line.hi is not None
    return f"{100 * line.measured:.1f} [{100 * line.lo:.1f}, {100 * line.hi:.1f}]"


def _beside(difference: Line, measured: dict[str, Line]) -> str:
    """Both successes and their difference."""
    means = (measured[method].measured for method in (difference.method, difference.against or ""))
    ours, theirs = (f"{100 * mean:.1f} %" for mean in means if mean is not None)
    return f"{difference.method} {ours}, {difference.against} {theirs}, difference {_interval(difference)} points"
