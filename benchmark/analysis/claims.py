"""What the measured numbers say of the paper's claims, in sentences, whichever way they point.

Methods are compared by the differences of their success on the same test episodes. Where the interval of a difference
holds 0 nothing is decided, and that is said.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from nnbench.analysis.lines import Line
from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import CLAIMED_UNSEEN, SUBJECT

_ROUNDING = 0.015
"""Two successes printed in whole percent differ if they differ by more."""

_VERDICTS = {1: "borne out", 0: "not decided", -1: "contradicted"}


@dataclass(frozen=True)
class _Split:
    """The successes of table 2 on one task and split."""

    name: str
    measured: dict[str, Line] = field(default_factory=dict)
    claimed: dict[str, float] = field(default_factory=dict)
    """Of the methods that were measured, what the paper has."""
    differences: dict[tuple[str, str], Line] = field(default_factory=dict)

    @property
    def claimants(self) -> list[str]:
        """The methods that the paper has, best there first."""
        return sorted(self.claimed, key=lambda method: -self.claimed[method])

    def rankings(self) -> Iterator[tuple[str, str, Line, int]]:
        """Each two methods that the paper ranks: the better, the worse, their difference, and whether it has the same
        sign (1), the other one (-1) or none (0)."""
        for better, worse in combinations(self.claimants, 2):
            if self.claimed[better] - self.claimed[worse] > _ROUNDING:
                for pair, sign in (((better, worse), 1), ((worse, better), -1)):
                    if pair in self.differences:
                        difference = self.differences[pair]
                        yield better, worse, difference, sign * _side(difference, 0)

    def beside(self, difference: Line) -> str:
        """Both successes and their difference."""
        means = (self.measured[method].measured for method in (difference.method, difference.against or ""))
        ours, theirs = (f"{100 * mean:.1f} %" for mean in means if mean is not None)
        found = _interval(difference)
        return f"{difference.method} {ours}, {difference.against} {theirs}, difference {found} points"


def judge_claims(lines: Iterable[Line], methods: Methods) -> list[str]:
    """One sentence per claim of which all sides were measured; `lines` are those of table 2 and of the differences."""
    return [
        f"{task}, {split.name}: {sentence}."
        for (task, _), split in _group(lines).items()
        for sentence in (
            *_headline(split),
            *_rankings(split),
            *_beside_references(split, methods),
            *_best_baseline(split, methods),
            *_variants(split, methods),
        )
    ]


def summarise_ranking(lines: Iterable[Line]) -> str:
    """What became of the paper's order of the methods, in a paragraph; empty where no two were measured."""
    found: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for (task, name), split in _group(lines).items():
        for better, worse, difference, side in split.rankings():
            assert difference.measured is not None
            gap = difference.measured if difference.method == better else -difference.measured
            claimed = split.claimed[better] - split.claimed[worse]
            said = f"{100 * gap:.1f} points on {task} ({100 * claimed:.0f} in the paper), {_VERDICTS[side]}"
            found.setdefault((name, better, worse), []).append((said, side))
    if not found:
        return ""
    sides = [side for pairs in found.values() for _, side in pairs]
    counts = ", ".join(f"{sides.count(side)} {_VERDICTS[side]}" for side in (1, 0, -1))
    pairs = [
        f"{better} over {worse} on {split} architectures: {'; '.join(said for said, _ in cases)}."
        for (split, better, worse), cases in found.items()
    ]
    return " ".join([f"The paper's ranking by success, two methods, a task and a split at a time: {counts}.", *pairs])


def _group(lines: Iterable[Line]) -> dict[tuple[str, str], _Split]:
    """By task and split."""
    splits: dict[tuple[str, str], _Split] = {}
    for line in lines:
        if line.metric != "success" or line.arch is not None or line.split not in ("seen", "unseen"):
            continue
        split = splits.setdefault((line.task, line.split), _Split(line.split))
        if line.table == "differences" and line.against is not None:
            split.differences.setdefault((line.method, line.against), line)
        elif line.table == "2" and line.measured is not None:
            split.measured.setdefault(line.method, line)  # the mean over generator seeds comes first
            if line.reported is not None:
                split.claimed[line.method] = line.reported
    return splits


def _headline(split: _Split) -> Iterator[str]:
    if split.name == "unseen" and SUBJECT in split.measured:
        found = split.measured[SUBJECT]
        verdict = _VERDICTS[_side(found, CLAIMED_UNSEEN)]
        yield (
            f"the paper claims more than {100 * CLAIMED_UNSEEN:.0f} % success for {SUBJECT}; measured "
            f"{_interval(found)} %: {verdict}"
        )


def _rankings(split: _Split) -> Iterator[str]:
    measured, claimed = split.measured, split.claimed
    for better, worse, difference, side in split.rankings():
        reported = f"{better} ({100 * claimed[better]:.0f} %) over {worse} ({100 * claimed[worse]:.0f} %)"
        sentence = f"the paper ranks {reported}; measured {split.beside(difference)}: {_VERDICTS[side]}"
        # A method that is not what the paper measured may have been trained too little, or adapted better.
        for way, place in ((-1, "below"), (1, "above")):
            other_than = [method for method in (better, worse) if _side(measured[method], claimed[method]) == way]
            if other_than:
                names = " and ".join(other_than)
                sentence += f"; {names} here {place} the paper's own number, for whatever reason"
        yield sentence


def _beside_references(split: _Split, methods: Methods) -> Iterator[str]:
    """The paper's methods beside what wrote the zoo, and beside the best baseline."""
    does = {1: "does better than", 0: "cannot be told from", -1: "does worse than"}
    names = {"source": "asking the hypernetworks directly", "baseline": "the best baseline measured"}
    for method in split.claimants:
        for (first, other), difference in split.differences.items():
            name = names.get(methods[other].role)
            if first == method and name:
                yield f"{method} {does[_side(difference, 0)]} {name} ({other}): {split.beside(difference)}"


def _best_baseline(split: _Split, methods: Methods) -> Iterator[str]:
    baselines = [split.measured[method] for method in methods.of_role("baseline", sorted(split.measured))]
    if not baselines:
        return
    best = max(baselines, key=lambda line: line.measured or 0.0)
    beaten = sorted(method for method, claim in split.claimed.items() if _side(best, claim) == 1)
    if beaten:
        names = ", ".join(f"{method} ({100 * split.claimed[method]:.0f} %)" for method in beaten)
        yield (
            f"the best baseline measured ({best.method}) solves more here than the paper says of {names}: "
            f"{_interval(best)} %"
        )


def _variants(split: _Split, methods: Methods) -> Iterator[str]:
    """Each variant beside the method that it is made of."""
    does = {1: "scores above", 0: "cannot be told from", -1: "scores below"}
    for facts in methods.variants():
        variant, (base, change) = facts.name, facts.variant_of or ("", "")
        difference = split.differences.get((variant, base)) or split.differences.get((base, variant))
        if difference is None:
            continue
        side = _side(difference, 0) * (1 if difference.method == variant else -1)
        sentence = f"{variant} ({base}, but {change}) {does[side]} {base}: {split.beside(difference)}"
        own, measured = split.claimed.get(base), split.measured
        if own is not None and _side(measured[base], own) and not _side(measured[variant], own):
            where = f"lies within the interval of {variant}, {_interval(measured[variant])}, and not of {base}"
            sentence += f"; the paper's own number for {base}, {100 * own:.0f} %, {where}"
        yield sentence


def _side(line: Line, value: float) -> int:
    """1 where the interval lies above the value, -1 below, 0 where it holds it."""
    assert line.lo is not None and line.hi is not None
    return int(line.lo > value) - int(line.hi < value)


def _interval(line: Line) -> str:
    assert line.measured is not None and line.lo is not None and line.hi is not None
    return f"{100 * line.measured:.1f} [{100 * line.lo:.1f}, {100 * line.hi:.1f}]"
