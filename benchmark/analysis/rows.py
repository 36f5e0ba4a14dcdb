"""Rows of tables 2 to 4: which units a mean is over, and what the paper reports for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from nnbench.analysis.costs import Cost
from nnbench.analysis.measured import Measured
from nnbench.analysis.reported import SUBJECT, Reported, reported, reported_cells
from nnbench.analysis.scores import Scores, UnitName
from nnbench.facts import Reading
from nnbench.protocol import JOINT
from nnbench.tasks.policies.architectures import architecture_name, load_further, parse_architecture
from nnbench.tasks.policies.tracks import Track

Groups = Mapping[str, Mapping[int, Mapping[str, Scores]]]
"""Method to generator seed to architecture to scores."""


@dataclass(frozen=True)
class Row:
    """One row: a mean over a split's architectures, or one of its architectures where `arch` is given."""

    task: str
    partition: str
    """`seen`, `unseen`, `outside`, `joint`, or `train` for the paper's Dataset row."""
    method: str
    generator_seeds: tuple[int, ...]
    """Whose mean it is."""
    arch: str | None
    finished: int
    """Units of the row that have results."""
    expected: int
    """Units that the row is about."""
    measured: Measured | None
    """None unless all expected units are finished."""
    reported: Reported | None
    reads: tuple[Reading, ...] | None = None
    """What the method may use of the zoo; None until `Results` has looked it up, and the cost below."""
    cost: Cost | None = None
    """Of one of its networks; None also where nothing is measured."""


@dataclass(frozen=True)
class _Part:
    """Where the rows of one block stand in the paper."""

    table: int
    task: str
    partition: str
    archs: Sequence[str]
    first: Sequence[str]
    """Methods that have a row even where nothing was measured, in this order; the others follow by name."""


def conditioned_rows(scores: Mapping[UnitName, Scores], task: str, top: int, track: Track) -> list[Row]:
    """Table 2, architecture-conditioned generation: one mean row per partition and method.

    Where a method was trained with several seeds, the row is the mean over them, and one per seed follows. A row of a
    seed is followed by the rows of its finished architectures. Every row of the paper is there, measured or not. The
    partitions are `seen` (the split's training architectures to measure on), `unseen`, `outside`, `widths` and
    `depths`; other architectures do not enter.
    """
    return [
        row
        for partition, archs in asked_of(track).items()
        for row in _rows(scores, _paper_part(2, task, partition, archs, track), top)
    ]


def asked_of(track: Track) -> Mapping[str, tuple[str, ...]]:
    """By partition the names of the architectures that table 2 has on a track, in its order."""
    own = {name: getattr(track.splits, name) for name in ("train", "seen", "unseen", "outside")}
    return {name: tuple(map(architecture_name, archs)) for name, archs in {**own, **load_further()}.items()}


def joint_rows(scores: Mapping[UnitName, Scores], task: str, top: int, track: Track) -> list[Row]:
    """Table 3, generation of architecture and weights together: one mean row per method, then one per seed if there are
    several."""
    return _rows(scores, _paper_part(3, task, JOINT, [JOINT], track), top)


def single_rows(scores: Mapping[UnitName, Scores], task: str, top: int, track: Track) -> list[Row]:
    """Table 4, the single architectures that the paper names: one row per method; none on another track."""
    splits = track.splits
    table: list[Row] = []
    for paper in reported_cells(4, task) if track.name == "paper" else ():
        arch = paper.arch
        assert arch is not None
        widths = parse_architecture(arch)
        partition = next(name for name in ("seen", "unseen", "outside") if widths in getattr(splits, name))
        for row in _rows(scores, _Part(2, task, partition, [arch], [SUBJECT]), top):
            if row.arch is None and (row.measured or row.method == SUBJECT):
                table.append(replace(row, arch=arch, reported=paper if row.method == SUBJECT else None))
    return table


def _paper_part(table: int, task: str, partition: str, archs: Sequence[str], track: Track) -> _Part:
    cells = reported_cells(table, task) if track.name == "paper" else ()
    first = [str(cell.method) for cell in cells if cell.partition == partition]
    return _Part(table, task, partition, archs, first)


def _rows(scores: Mapping[UnitName, Scores], part: _Part, top: int) -> list[Row]:
    """The rows of all methods that have results here, and of those that stand first."""
    groups = _group(scores, part)

    def order(method: str) -> tuple[int, str]:
        return part.first.index(method) if method in part.first else len(part.first), method

    methods = sorted({*groups, *part.first}, key=order)
    return [row for method in methods for row in _rows_of_method(method, groups.get(method, {}), part, top)]


def _group(scores: Mapping[UnitName, Scores], part: _Part) -> Groups:
    groups: dict[str, dict[int, dict[str, Scores]]] = {}
    for unit in sorted(scores, key=attrgetter("method", "generator_seed")):
        if unit.task == part.task and unit.arch in part.archs:
            by_seed = groups.setdefault(unit.method, {})
            by_seed.setdefault(unit.generator_seed, {})[unit.arch] = scores[unit]
    groups = {
        method: {seed: {arch: found[arch] for arch in part.archs if arch in found} for seed, found in by_seed.items()}
        for method, by_seed in groups.items()
    }
    if part.partition != "train":
        return groups
    # Those to measure on are `seen`, of which a part of the 64 trained on would be a repetition.
    whole = {
        method: {seed: found for seed, found in by_seed.items() if len(found) == len(part.archs)}
        for method, by_seed in groups.items()
    }
    return {method: by_seed for method, by_seed in whole.items() if by_seed}


def _rows_of_method(method: str, by_seed: Mapping[int, Mapping[str, Scores]], part: _Part, top: int) -> list[Row]:
    paper = reported(part.table, part.task, method=method, partition=part.partition) if method in part.first else None
    seeds, expected = tuple(by_seed), len(part.archs)

    def mean(of: tuple[int, ...], claim: Reported | None) -> Row:
        groups = [by_seed[seed] for seed in of]
        finished, wanted = sum(map(len, groups)), expected * max(1, len(of))
        measured = Measured(groups, top) if groups and finished == wanted else None
        return Row(part.task, part.partition, method, of, None, finished, wanted, measured, claim)

    rows = [mean(seeds, paper)] if len(seeds) != 1 else []
    for seed in seeds:
        rows.append(mean((seed,), paper if len(seeds) == 1 else None))
        if part.partition != JOINT:
            for arch, found in by_seed[seed].items():
                alone = Measured([{arch: found}], top)
                rows.append(Row(part.task, part.partition, method, (seed,), arch, 1, 1, alone, None))
    return rows
