"""Which methods are compared with which, and by how much they differ on the same test episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from nnbench.analysis.measured import Measured, failed_overlap_with
from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import SUBJECT
from nnbench.analysis.rows import Row
from nnbench.analysis.scores import Scores, UnitName
from nnbench.analysis.statistics import Interval

_FIRST_SEED = 0
"""A source learns nothing, so its generator seed decides no more than the order of its networks."""


@dataclass(frozen=True)
class Comparison:
    """The first method's mean over a split's architectures less the other's."""

    first: Row
    other: Row
    returns: Interval
    success: Interval

    @property
    def verdict(self) -> str:
        """Whether the first is better or worse by success; undecided where the interval holds 0."""
        return "better" if self.success.low > 0 else "worse" if self.success.high < 0 else "undecided"


def compare(rows: Sequence[Row], methods: Methods) -> list[Comparison]:
    """The comparisons within each partition of table 2's rows of one task, among the methods that were measured."""
    partitions: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.arch is None and row.measured is not None:
            # The mean over generator seeds is first.
            partitions.setdefault(row.partition, {}).setdefault(row.method, row)
    return [found for by_method in partitions.values() for found in _compare(by_method, methods)]


def _compare(rows: Mapping[str, Row], methods: Methods) -> list[Comparison]:
    pairs = choose_pairs(rows, methods)
    # Streams by name, so that the rows of no other method move the interval of two.
    resampled = {
        method: _measured(rows[method]).resample(int.from_bytes(method.encode()))
        for method in dict.fromkeys(name for pair in pairs for name in pair)
    }
    found = []
    for first, other in pairs:
        returns, success = (a.minus(b) for a, b in zip(resampled[first], resampled[other], strict=True))
        found.append(Comparison(rows[first], rows[other], returns, success))
    return found


def choose_pairs(rows: Mapping[str, Row], methods: Methods) -> list[tuple[str, str]]:
    """Each generator beside the source, the best untrained baseline, the best that trains every network, and the
    paper's own method; the paper's methods beside one another; variants beside what they are made of; last these
    baselines beside the source."""
    generators = methods.of_role("generator", rows)
    sources = methods.references(rows)
    kinds = methods.untrained(rows), methods.trainers(methods.of_role("baseline", rows))
    best = [max(kind, key=lambda method: _success(rows[method])) for kind in kinds if kind]
    beside = sources + best
    pairs = [(method, other) for method in generators for other in beside]
    if SUBJECT in generators:
        pairs += [(SUBJECT, method) for method in generators if method != SUBJECT]
    claimed = [method for method in generators if rows[method].reported is not None and method != SUBJECT]
    pairs += combinations(sorted(claimed, key=lambda method: -_success(rows[method])), 2)
    for method in generators:
        base = (methods[method].variant_of or ("",))[0]
        if base in generators and SUBJECT not in (method, base):
            pairs.append((method, base))
    return pairs + [(baseline, source) for baseline in best for source in sources]


def overlap_with_source(row: Row, scores: Mapping[UnitName, Scores], source: str) -> list[float]:
    """Of each unit of the row, by architecture, how much its failed test episodes are those of the source's networks
    of that architecture; units that the source was not measured on are left out."""
    return [
        failed_overlap_with(mine, scores[theirs])
        for group in _measured(row).groups
        for arch, mine in sorted(group.items())
        if (theirs := UnitName(row.task, source, _FIRST_SEED, arch)) in scores
    ]


def _measured(row: Row) -> Measured:
    assert row.measured is not None, "only measured rows are compared"
    return row.measured


def _success(row: Row) -> float:
    return _measured(row).success.mean
