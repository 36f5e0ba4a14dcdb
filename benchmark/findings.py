"""What the measured numbers say of the paper's claims, in sentences, whichever way they point.

Each compares intervals of success in table 2. Two that overlap decide nothing, and are said to.
"""

from collections.abc import Iterable
from itertools import combinations

from nnbench.rendering import Line
from nnbench.statistics import Interval

_CLAIMED_UNSEEN = 0.85
"""The paper's abstract: over 85 % success on architectures that were never trained on."""

_ROUNDING = 0.015
"""Two successes printed in whole percent differ if they differ by more."""

_DIRECT = "ghn"
_FLOORS = ("nearest", "noise", "average", "average_aligned", "gaussian", "random")


def findings(lines: Iterable[Line]) -> list[str]:
    """One sentence a claim of which all sides were measured; `lines` are those of the tables."""
    measured: dict[tuple[str, str], dict[str, Interval]] = {}
    claimed: dict[tuple[str, str], dict[str, float]] = {}
    for line in lines:
        if line.table != "2" or line.metric != "success" or line.arch is not None:
            continue
        if line.measured is None or line.lo is None or line.hi is None or line.split not in ("seen", "unseen"):
            continue
        group, interval = (line.task, line.split), Interval(line.measured, line.lo, line.hi)
        measured.setdefault(group, {}).setdefault(line.method, interval)  # the mean over generator seeds comes first
        if line.reported is not None:
            claimed.setdefault(group, {})[line.method] = line.reported
    return [
        f"{task}, {split}: {sentence}."
        for (task, split), successes in measured.items()
        for sentence in _of_split(split, successes, claimed.get((task, split), {}))
    ]


def _of_split(split: str, measured: dict[str, Interval], claimed: dict[str, float]) -> list[str]:
    ranked = sorted(claimed, key=lambda method: -claimed[method])
    sentences = []
    if split == "unseen" and "nnit" in measured:
        claim = Interval(_CLAIMED_UNSEEN, _CLAIMED_UNSEEN, _CLAIMED_UNSEEN)
        sentences.append(
            f"the paper claims more than 85 % success for nnit; measured {_percent(measured['nnit'])}: "
            f"{_verdict(measured['nnit'], claim)}"
        )
    for better, worse in combinations(ranked, 2):
        if claimed[better] - claimed[worse] > _ROUNDING:
            reported = f"{better} ({100 * claimed[better]:.0f} %) over {worse} ({100 * claimed[worse]:.0f} %)"
            sentences.append(
                f"the paper ranks {reported}; "
                f"measured {_percent(measured[better])} and {_percent(measured[worse])}: "
                f"{_verdict(measured[better], measured[worse])}"
            )
    floors = [method for method in _FLOORS if method in measured]
    best = max(floors, key=lambda method: measured[method].mean, default=None)
    for method in ranked:
        if _DIRECT in measured:
            name = f"asking the hypernetworks directly ({_DIRECT})"
            sentences.append(_beside(method, name, measured[method], measured[_DIRECT]))
        if best is not None:
            sentences.append(_beside(method, f"the best floor measured ({best})", measured[method], measured[best]))
    return sentences


def _beside(method: str, other: str, ours: Interval, theirs: Interval) -> str:
    found = {1: "does better than", 0: "cannot be told from", -1: "does worse than"}[_side(ours, theirs)]
    return f"{method} {found} {other}: {_percent(ours)} and {_percent(theirs)}"


def _verdict(ours: Interval, theirs: Interval) -> str:
    return {1: "borne out", 0: "not decided", -1: "contradicted"}[_side(ours, theirs)]


def _side(ours: Interval, theirs: Interval) -> int:
    """1 where our interval lies above the other, -1 below, 0 where they overlap."""
    return int(ours.low > theirs.high) - int(ours.high < theirs.low)


def _percent(interval: Interval) -> str:
    mean, low, high = (100 * value for value in interval)
    return f"{mean:.1f} [{low:.1f}, {high:.1f}] %"
