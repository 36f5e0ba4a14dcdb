"""What the measured numbers say of the paper's claims, in sentences, whichever way they point.

Methods are compared by the differences of their success on the same test episodes. Where the interval of a difference
holds 0 nothing is decided, and that is said.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from nnbench.analysis.lines import Line
from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import CLAIMED_UNSEEN, SUBJECT

MOST = 8
"""Findings that `summarise_findings` keeps."""

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


def summarise_findings(lines: Iterable[Line], methods: Methods) -> list[str]:
    """The most important of the claims, one sentence for all tasks, about architectures held out; at most `MOST`.

    By rule: what the paper claims of its method, the paper's order, its method beside the hypernetworks and the best
    baseline, that baseline beside the paper's own numbers, and then variants, those first that differ most from what
    they are made of.
    """
    splits = {task: split for (task, name), split in _group(lines).items() if name == "unseen"}
    sentences = [
        *_sum_up_headline(splits),
        *_sum_up_order(splits),
        *_sum_up_references(splits, methods),
        *_sum_up_baselines(splits, methods),
        *_sum_up_variants(splits, methods),
    ]
    return sentences[:MOST]


def _sum_up_headline(splits: Mapping[str, _Split]) -> Iterator[str]:
    found = {task: split.measured[SUBJECT] for task, split in splits.items() if SUBJECT in split.measured}
    if found:
        solved = _enumerate([f"{_interval(line)} % of {task}" for task, line in found.items()])
        said = _say_sides({task: _side(line, CLAIMED_UNSEEN) for task, line in found.items()}, _VERDICTS)
        yield f"{SUBJECT} solves {solved}; the paper claims more than {100 * CLAIMED_UNSEEN:.0f} %: {said}."


def _sum_up_order(splits: Mapping[str, _Split]) -> Iterator[str]:
    sides = [side for split in splits.values() for *_, side in split.rankings()]
    if sides:
        counts = ", ".join(f"{sides.count(side)} {_VERDICTS[side]}" for side in (1, 0, -1))
        yield f"The paper's order of its methods by success, two methods and a task at a time: {counts}."


def _sum_up_references(splits: Mapping[str, _Split], methods: Methods) -> Iterator[str]:
    names = {"source": "which wrote the zoo", "baseline": "the best baseline"}
    words = {1: "better", 0: "not told apart", -1: "worse"}
    pairs = dict.fromkeys(pair for split in splits.values() for pair in split.differences if pair[0] == SUBJECT)
    for first, other in pairs:
        if methods[other].role in names:
            found = {
                task: split.differences[first, other]
                for task, split in splits.items()
                if (first, other) in split.differences
            }
            said = _say_sides({task: _side(line, 0) for task, line in found.items()}, words)
            yield f"{first} less {other} ({names[methods[other].role]}) is {_list_points(found)}: {said}."


def _sum_up_baselines(splits: Mapping[str, _Split], methods: Methods) -> Iterator[str]:
    said = []
    for task, split in splits.items():
        if (best := _find_best_baseline(split, methods)) and (beaten := _find_beaten(split, best)):
            names = _enumerate([f"{method} ({100 * split.claimed[method]:.0f} %)" for method in beaten])
            said.append(f"of {names} on {task} ({best.method}: {_interval(best)} %)")
    if said:
        yield f"The best baseline solves more here than the paper says {_enumerate(said)}."


def _sum_up_variants(splits: Mapping[str, _Split], methods: Methods) -> Iterator[str]:
    words = {1: "better", 0: "not told apart", -1: "worse"}
    sentences = []
    for facts in methods.variants():
        base, change = facts.variant_of or ("", "")
        found = {}
        for task, split in splits.items():
            for pair, sign in (((facts.name, base), 1), ((base, facts.name), -1)):
                if pair in split.differences:
                    found[task] = _signed(split.differences[pair], sign)
        if found:
            gap = max(abs(line.measured or 0.0) for line in found.values())
            said = _say_sides({task: _side(line, 0) for task, line in found.items()}, words)
            text = f"{facts.name} ({base}, but {change}) less {base} is {_list_points(found)}: {said}."
            sentences.append((gap, text))
    yield from (text for _, text in sorted(sentences, key=lambda found: -found[0]))


def _signed(line: Line, sign: int) -> Line:
    """The difference the other way round where the sign is -1."""
    if sign == 1:
        return line
    assert line.measured is not None and line.lo is not None and line.hi is not None
    return replace(line, measured=-line.measured, lo=-line.hi, hi=-line.lo)


def _list_points(found: Mapping[str, Line]) -> str:
    return _enumerate([f"{_interval(line)} points on {task}" for task, line in found.items()])


def _say_sides(sides: Mapping[str, int], words: Mapping[int, str]) -> str:
    """`borne out`, where that is so of every task, or `borne out on A, not decided on B`."""
    tasks = {side: [task for task, found in sides.items() if found == side] for side in (1, 0, -1)}
    named = {side: found for side, found in tasks.items() if found}
    if len(named) == 1:
        return words[next(iter(named))]
    return ", ".join(f"{words[side]} on {_enumerate(found)}" for side, found in named.items())


def _enumerate(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


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
    best = _find_best_baseline(split, methods)
    beaten = _find_beaten(split, best) if best else []
    if best and beaten:
        names = ", ".join(f"{method} ({100 * split.claimed[method]:.0f} %)" for method in beaten)
        yield (
            f"the best baseline measured ({best.method}) solves more here than the paper says of {names}: "
            f"{_interval(best)} %"
        )


def _find_best_baseline(split: _Split, methods: Methods) -> Line | None:
    baselines = [split.measured[method] for method in methods.of_role("baseline", sorted(split.measured))]
    return max(baselines, key=lambda line: line.measured or 0.0) if baselines else None


def _find_beaten(split: _Split, line: Line) -> list[str]:
    """The methods of which the paper says less than was measured of another one."""
    return sorted(method for method, claim in split.claimed.items() if _side(line, claim) == 1)


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
