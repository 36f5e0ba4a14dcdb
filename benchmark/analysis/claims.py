"""What the measured numbers say of the paper's claims, in sentences, whichever way they point.

Methods are compared by the differences of their success on the same test episodes. Where the interval of a difference
holds 0 nothing is decided, and that is said.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from nnbench.analysis.lines import Line
from nnbench.presentation.tables import DIRECT, FLOORS, VARIANTS

_CLAIMED_UNSEEN = 0.85
"""The paper's abstract: over 85 % success on architectures that were never trained on."""

_ROUNDING = 0.015
"""Two successes printed in whole percent differ if they differ by more."""


@dataclass(frozen=True)
class _Group:
    """The successes of table 2 on one task and split."""

    measured: dict[str, Line]
    claimed: dict[str, float]
    """Of the methods that were measured, what the paper has."""
    differences: dict[tuple[str, str], Line]

    def rankings(self) -> Iterator[tuple[str, str, Line, int]]:
        """Each two methods that the paper ranks: the better, the worse, their difference, and whether it has the same
        sign (1), the other one (-1) or none (0)."""
        for better, worse in combinations(sorted(self.claimed, key=lambda method: -self.claimed[method]), 2):
            if self.claimed[better] - self.claimed[worse] > _ROUNDING:
                for pair, sign in (((better, worse), 1), ((worse, better), -1)):
                    if pair in self.differences:
                        difference = self.differences[pair]
                        yield better, worse, difference, sign * _side(difference, 0)


def findings(lines: Iterable[Line]) -> list[str]:
    """One sentence a claim of which all sides were measured; `lines` are those of the tables, that of differences among
    them."""
    return [
        f"{task}, {split}: {sentence}."
        for (task, split), group in _groups(lines).items()
        for sentence in _of_split(split, group)
    ]


def ranking(lines: Iterable[Line]) -> str:
    """What became of the paper's order of the methods, in a paragraph; empty where no two were measured."""
    found: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for (task, split), group in _groups(lines).items():
        for better, worse, difference, side in group.rankings():
            assert difference.measured is not None
            gap = difference.measured if difference.method == better else -difference.measured
            claimed = group.claimed[better] - group.claimed[worse]
            said = f"{100 * gap:.1f} points on {task} ({100 * claimed:.0f} in the paper), {_VERDICTS[side]}"
            found.setdefault((split, better, worse), []).append((said, side))
    if not found:
        return ""
    sides = [side for pairs in found.values() for _, side in pairs]
    counts = ", ".join(f"{sides.count(side)} {_VERDICTS[side]}" for side in (1, 0, -1))
    pairs = [
        f"{better} over {worse} on {split} architectures: {'; '.join(said for said, _ in cases)}."
        for (split, better, worse), cases in found.items()
    ]
    return " ".join([f"The paper's ranking by success, two methods, a task and a split at a time: {counts}.", *pairs])


def _groups(lines: Iterable[Line]) -> dict[tuple[str, str], _Group]:
    """By task and split."""
    groups: dict[tuple[str, str], _Group] = {}
    for line in lines:
        if line.metric != "success" or line.arch is not None or line.split not in ("seen", "unseen"):
            continue
        group = groups.setdefault((line.task, line.split), _Group({}, {}, {}))
        if line.table == "differences" and line.against is not None:
            group.differences.setdefault((line.method, line.against), line)
        elif line.table == "2" and line.measured is not None:
            group.measured.setdefault(line.method, line)  # the mean over generator seeds comes first
            if line.reported is not None:
                group.claimed[line.method] = line.reported
    return groups


def _of_split(split: str, group: _Group) -> list[str]:
    measured, claimed, differences = group.measured, group.claimed, group.differences
    sentences = []
    if split == "unseen" and "nnit" in measured:
        nnit = measured["nnit"]
        side = _side(nnit, _CLAIMED_UNSEEN)
        sentences.append(
            f"the paper claims more than 85 % success for nnit; measured {_interval(nnit)} %: {_VERDICTS[side]}"
        )
    for better, worse, difference, side in group.rankings():
        reported = f"{better} ({100 * claimed[better]:.0f} %) over {worse} ({100 * claimed[worse]:.0f} %)"
        sentence = f"the paper ranks {reported}; measured {_beside(difference, measured)}: {_VERDICTS[side]}"
        # A method that is not what the paper measured may have been trained too little, or adapted better.
        for way, place in ((-1, "below"), (1, "above")):
            other_than = [method for method in (better, worse) if _side(measured[method], claimed[method]) == way]
            if other_than:
                names = " and ".join(other_than)
                sentence += f"; {names} here {place} the paper's own number, for whatever reason"
        sentences.append(sentence)
    for method in sorted(claimed, key=lambda method: -claimed[method]):
        for (first, other), difference in differences.items():
            if first == method and other in (DIRECT, *FLOORS):
                name = "asking the hypernetworks directly" if other == DIRECT else "the best floor measured"
                does = {1: "does better than", 0: "cannot be told from", -1: "does worse than"}[_side(difference, 0)]
                sentences.append(f"{method} {does} {name} ({other}): {_beside(difference, measured)}")
    floors = [method for method in FLOORS if method in measured]
    if floors:
        best = max((measured[method] for method in floors), key=lambda line: line.measured or 0.0)
        beaten = sorted(method for method in claimed if _side(best, claimed[method]) == 1)
        if beaten:
            names = ", ".join(f"{method} ({100 * claimed[method]:.0f} %)" for method in beaten)
            sentences.append(
                f"the best floor measured ({best.method}) solves more here than the paper says of {names}: "
                f"{_interval(best)} %"
            )
    for variant, (base, change) in VARIANTS.items():
        asked = differences.get((variant, base)) or differences.get((base, variant))
        if asked is not None:
            side = _side(asked, 0) * (1 if asked.method == variant else -1)
            does = {1: "scores above", 0: "cannot be told from", -1: "scores below"}[side]
            sentence = f"{variant} ({base}, but {change}) {does} {base}: {_beside(asked, measured)}"
            own = claimed.get(base)
            if own is not None and _side(measured[base], own) and not _side(measured[variant], own):
                where = f"lies within the interval of {variant}, {_interval(measured[variant])}, and not of {base}"
                sentence += f"; the paper's own number for {base}, {100 * own:.0f} %, {where}"
            sentences.append(sentence)
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
