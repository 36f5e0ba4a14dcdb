"""What the measured numbers look like beside the paper's claims, in sentences, whichever way they point.

The methods are adaptations, trained on another zoo than the paper's. So a sentence says what was found here, and
settles no claim. Methods are compared by the differences of their success on the same test episodes. Where the
interval of a difference holds 0 nothing is decided, and that is said.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import median

from nnbench.analysis.lines import Line
from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import CLAIMED_UNSEEN, SUBJECT
from nnbench.facts import Facts

MOST = 8
"""Findings that `summarise_findings` keeps."""

_ROUNDING = 0.015
"""Two successes printed in whole percent differ if they differ by more."""

_ORDERS = {1: "the paper's order", 0: "not told apart", -1: "the reverse order"}
_BESIDE = {1: "above", 0: "not told from", -1: "below"}
_BETTER = {1: "better", 0: "not told apart", -1: "worse"}


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

    def difference(self, first: str, other: str) -> Line | None:
        """The first less the other, whichever way it was taken; None where it was not."""
        if (first, other) in self.differences or (other, first) not in self.differences:
            return self.differences.get((first, other))
        line = self.differences[other, first]
        assert line.measured is not None and line.lo is not None and line.hi is not None
        return replace(line, method=first, against=other, measured=-line.measured, lo=-line.hi, hi=-line.lo)

    def rankings(self) -> Iterator[tuple[float, Line]]:
        """Each two methods that the paper ranks: how far it has the better above the worse, and their difference."""
        for better, worse in combinations(self.claimants, 2):
            claimed, found = self.claimed[better] - self.claimed[worse], self.difference(better, worse)
            if claimed > _ROUNDING and found is not None:
                yield claimed, found

    def successes(self, *methods: str) -> tuple[float, ...]:
        """What was measured of these methods."""
        found = (self.measured[method].measured for method in methods)
        return tuple(mean for mean in found if mean is not None)  # a line that holds none is not kept

    def beside(self, difference: Line) -> str:
        """Both successes and their difference."""
        ours, theirs = (f"{100 * mean:z.1f} %" for mean in self.successes(difference.method, difference.against or ""))
        found = _interval(difference)
        return f"{difference.method} {ours}, {difference.against} {theirs}, difference {found} points"


@dataclass(frozen=True)
class Claim:
    """That the paper's number of a method is larger than another of its numbers, and the same difference here."""

    claimed: float
    """The paper's difference, as a fraction."""
    found: Line
    """Ours, of the same sign; `against` is None where it is less `CLAIMED_UNSEEN`."""
    successes: tuple[float, ...]
    """Here: the method's, and that of the other method where there is one. A difference does not tell whether either
    works."""

    @property
    def verdict(self) -> str:
        """What the interval says: `undecided` where it holds 0."""
        return {1: "borne out", 0: "undecided", -1: "contradicted"}[_side(self.found, 0)]


def list_claims(lines: Iterable[Line]) -> list[Claim]:
    """What the paper says of success by its abstract, and by table 2 of each two methods, as far as both were measured.

    `lines` are those of table 2 and of the differences.
    """
    found = []
    for split in _group(lines).values():
        if split.name == "unseen" and SUBJECT in split.claimed:
            line = split.measured[SUBJECT]
            claimed = split.claimed[SUBJECT] - CLAIMED_UNSEEN
            found.append(Claim(claimed, _less(line, CLAIMED_UNSEEN), split.successes(line.method)))
        for claimed, line in split.rankings():  # a difference that was taken the other way has the other's seeds
            seeds = split.measured[line.method].generator_seeds
            both = split.successes(line.method, line.against or "")
            found.append(Claim(claimed, replace(line, generator_seeds=seeds), both))
    return found


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
    """The paper's order of the methods and the order here, in a paragraph; empty where no two were measured."""
    found: dict[tuple[str, str, str | None], list[str]] = {}
    splits = _group(lines)
    for (task, name), split in splits.items():
        for claimed, line in split.rankings():
            said = f"{_interval(line)} points on {task} ({100 * claimed:.0f} in the paper)"
            found.setdefault((name, line.method, line.against), []).append(said)
    pairs = [
        f"{better} less {worse} on {split} architectures: {'; '.join(cases)}."
        for (split, better, worse), cases in found.items()
    ]
    return " ".join([*_sum_up_order(splits), *pairs])


def summarise_findings(lines: Iterable[Line], methods: Methods) -> list[str]:
    """The most important of the claims, one sentence for all tasks, about architectures held out; at most `MOST`.

    By rule: what the paper claims of its method, the paper's order (on seen architectures too), its method beside the
    hypernetworks and the best baselines, the untrained one beside the paper's own numbers, and then variants, those
    first that differ most from what they are made of.
    """
    groups = _group(lines)
    splits = {task: split for (task, name), split in groups.items() if name == "unseen"}
    sentences = [
        *_sum_up_headline(splits),
        *_sum_up_order(groups),
        *_sum_up_references(splits, methods),
        *_sum_up_baselines(splits, methods),
        *_sum_up_variants(splits, methods),
    ]
    return sentences[:MOST]


def _sum_up_headline(splits: Mapping[str, _Split]) -> Iterator[str]:
    found = {task: split.measured[SUBJECT] for task, split in splits.items() if SUBJECT in split.measured}
    if found:
        solved = _enumerate([f"{_interval(line)} % of {task}" for task, line in found.items()])
        sides = {task: _side(line, CLAIMED_UNSEEN) for task, line in found.items()}
        said = _say_sides(sides, {side: f"{word} that" for side, word in _BESIDE.items()})
        yield (f"{SUBJECT} solves here {solved}; the paper claims more than {100 * CLAIMED_UNSEEN:.0f} %: {said}.")


def _sum_up_order(splits: Mapping[tuple[str, str], _Split]) -> Iterator[str]:
    """How often two methods stand in the paper's order, and how much nearer to one another than there."""
    found = [ranking for split in splits.values() for ranking in split.rankings()]
    if found:
        names = sorted({name for _, line in found for name in (line.method, line.against or "")})
        sides = [_side(line, 0) for _, line in found]
        nearer = median((line.measured or 0.0) / claimed for claimed, line in found)
        others = "".join(f", {sides.count(side)} {_ORDERS[side]}" for side in (0, -1) if side in sides)
        yield (
            f"The order of {_enumerate(names)} here is the paper's in {sides.count(1)} of {len(sides)} cases (two "
            f"methods on one task, seen or unseen){others}; the median distance here is {nearer:z.2f} of the paper's."
        )


def _sum_up_references(splits: Mapping[str, _Split], methods: Methods) -> Iterator[str]:
    pairs = dict.fromkeys(pair for split in splits.values() for pair in split.differences if pair[0] == SUBJECT)
    for first, other in pairs:
        name = _name_reference(methods[other], source="which wrote the zoo", trainer="which trains every network")
        if name:
            found = {
                task: split.differences[first, other]
                for task, split in splits.items()
                if (first, other) in split.differences
            }
            said = _say_sides({task: _side(line, 0) for task, line in found.items()}, _BETTER)
            yield f"{first} less {other} ({name}) is here {_list_points(found)}: {said}."


def _sum_up_baselines(splits: Mapping[str, _Split], methods: Methods) -> Iterator[str]:
    said = []
    for task, split in splits.items():
        if (best := _find_best_baseline(split, methods)) and (beaten := _find_beaten(split, best)):
            names = _enumerate([f"{method} ({100 * split.claimed[method]:.0f} %)" for method in beaten])
            said.append(f"of {names} on {task} ({best.method}: {_interval(best)} %)")
    if said:
        yield f"The best untrained baseline solves more here than the paper says {_enumerate(said)}."


def _sum_up_variants(splits: Mapping[str, _Split], methods: Methods) -> Iterator[str]:
    sentences = []
    for facts in methods.variants():
        base, change = facts.variant_of or ("", "")
        measured = {task: split.difference(facts.name, base) for task, split in splits.items()}
        found = {task: line for task, line in measured.items() if line is not None}
        if found:
            gap = max(abs(line.measured or 0.0) for line in found.values())
            said = _say_sides({task: _side(line, 0) for task, line in found.items()}, _BETTER)
            text = f"{facts.name} ({base}, but {change}) less {base} is here {_list_points(found)}: {said}."
            sentences.append((gap, text))
    yield from (text for _, text in sorted(sentences, key=lambda found: -found[0]))


def _list_points(found: Mapping[str, Line]) -> str:
    return _enumerate([f"{_interval(line)} points on {task}" for task, line in found.items()])


def _say_sides(sides: Mapping[str, int], words: Mapping[int, str]) -> str:
    """`better`, where that is so of every task, or `better on A, not told apart on B`."""
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
        beside = _BESIDE[_side(found, CLAIMED_UNSEEN)]
        claimed = f"the {100 * CLAIMED_UNSEEN:.0f} % that the paper claims"
        yield f"{SUBJECT} solves {_interval(found)} % here, {beside} {claimed}"


def _rankings(split: _Split) -> Iterator[str]:
    for _, line in split.rankings():
        both = (line.method, line.against or "")
        reported = " over ".join(f"{method} ({100 * split.claimed[method]:.0f} %)" for method in both)
        sentence = f"the paper has {reported}; here {split.beside(line)}: {_ORDERS[_side(line, 0)]}"
        for way in (-1, 1):
            names = [method for method in both if _side(split.measured[method], split.claimed[method]) == way]
            if names:
                sentence += f"; {_enumerate(names)} here {_BESIDE[way]} the paper's number"
        yield sentence


def _beside_references(split: _Split, methods: Methods) -> Iterator[str]:
    """The paper's methods beside what wrote the zoo, and beside the best baselines."""
    does = {1: "does better than", 0: "is not told from", -1: "does worse than"}
    source, trainer = "asking the hypernetworks directly", "training every network"
    for method in split.claimants:
        for (first, other), difference in split.differences.items():
            name = _name_reference(methods[other], source=source, trainer=trainer)
            if first == method and name:
                yield f"here {method} {does[_side(difference, 0)]} {name} ({other}): {split.beside(difference)}"


def _best_baseline(split: _Split, methods: Methods) -> Iterator[str]:
    best = _find_best_baseline(split, methods)
    beaten = _find_beaten(split, best) if best else []
    if best and beaten:
        names = ", ".join(f"{method} ({100 * split.claimed[method]:.0f} %)" for method in beaten)
        yield (
            f"the best untrained baseline ({best.method}) solves more here, {_interval(best)} %, "
            f"than the paper says of {names}"
        )


def _name_reference(facts: Facts, *, source: str, trainer: str) -> str | None:
    """What a method is to a generator beside it; None for another generator."""
    if facts.role == "baseline":
        return trainer if facts.trains_each else "the best untrained baseline"
    return source if facts.role == "source" else None


def _find_best_baseline(split: _Split, methods: Methods) -> Line | None:
    baselines = [split.measured[method] for method in methods.untrained(sorted(split.measured))]
    return max(baselines, key=lambda line: line.measured or 0.0) if baselines else None


def _find_beaten(split: _Split, line: Line) -> list[str]:
    """The methods of which the paper says less than was measured of another one."""
    return sorted(method for method, claim in split.claimed.items() if _side(line, claim) == 1)


def _variants(split: _Split, methods: Methods) -> Iterator[str]:
    """Each variant beside the method that it is made of."""
    does = {1: "scores above", 0: "is not told from", -1: "scores below"}
    for facts in methods.variants():
        variant, (base, change) = facts.name, facts.variant_of or ("", "")
        difference = split.difference(variant, base)
        if difference is None:
            continue
        sentence = (
            f"{variant} ({base}, but {change}) {does[_side(difference, 0)]} {base} here: {split.beside(difference)}"
        )
        own, measured = split.claimed.get(base), split.measured
        if own is not None and _side(measured[base], own) and not _side(measured[variant], own):
            where = f"lies within the interval of {variant} here, {_interval(measured[variant])}, and not of {base}"
            sentence += f"; the paper's number for {base}, {100 * own:.0f} %, {where}"
        yield sentence


def _less(line: Line, value: float) -> Line:
    assert line.measured is not None and line.lo is not None and line.hi is not None
    return replace(line, measured=line.measured - value, lo=line.lo - value, hi=line.hi - value)


def _side(line: Line, value: float) -> int:
    """1 where the interval lies above the value, -1 below, 0 where it holds it."""
    assert line.lo is not None and line.hi is not None
    return int(line.lo > value) - int(line.hi < value)


def _interval(line: Line) -> str:
    assert line.measured is not None and line.lo is not None and line.hi is not None
    # `z` prints a zero without a sign.
    return f"{100 * line.measured:z.1f} [{100 * line.lo:z.1f}, {100 * line.hi:z.1f}]"
