"""The paper's tables: what was measured, as a pure function of stored rows, beside what the paper reports.

A cell is `Measured` or `Reported`; the two never share a column.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from nnbench.analysis.lines import Line
from nnbench.analysis.reported import ARXIV_ID, Reported, reported, reported_cells
from nnbench.analysis.results import Results
from nnbench.analysis.scores import Measured, Scores, TableError, UnitName, failed_overlap_with, measure, resample_test
from nnbench.analysis.statistics import Interval, hierarchical_interval
from nnbench.presentation.text import Grid, Table
from nnbench.protocol import JOINT, Protocol
from nnbench.tasks.policies.architectures import architecture_name, load_splits, parse_architecture

MISSING = "—"

DIRECT = "ghn"
"""Asks the hypernetworks that wrote the zoo: no generator, and no floor."""

FLOORS = ("nearest", "noise", "average", "average_aligned", "gaussian", "random")
"""What a generator has to beat."""

VARIANTS = {
    "nnit_noise": ("nnit", "noise is predicted"),
    "nnit_v": ("nnit", "v is predicted"),
    "row_dit": ("nnit", "a token is a neuron instead of a patch, and half of the steps"),
    "sane_mz": ("sane", "its authors' change for mixed architectures"),
    "sane_independent": ("sane", "every token is drawn for itself"),
    "sane_bootstrapped": ("sane", "the best of its samples on validation episodes become the anchors, twice"),
    "sane_narrow": ("sane", "a quarter of the kernel's bandwidth"),
    "sane_unaligned": ("sane", "neurons stay in the order they come in"),
    "d2nwg_flat": ("d2nwg", "parameters follow one another, wherever the widths put them"),
}
"""Method to the one it was made of, and what was changed."""

_ROUNDING = 0.005

_TABLE1 = {
    "return": "return",
    "success": "success_at_end",
    "nearest_l2": "nearest_l2",
    "nearest_cosine": "nearest_cosine",
    "neighbour_correlation": "neighbour_correlation",
    "seed_alignment": "seed_alignment",
}
"""Metric to the column of the alignment rows."""

_TABLE4 = (0, 1, 4, 7, 8)
"""Columns of `_score_headers` that table 4 has room for."""


@dataclass(frozen=True)
class Row:
    """One row of the table: a partition's mean, or one of its architectures where `arch` is given."""

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


NAMES = ("1", "2", "3", "4", "6", "differences", "novelty", "roundtrip")
"""What `build` builds."""

_PAPERS_TASK = "PickCube-v1"
"""The paper prints tables 1 and 4 for one task."""


def build(names: Sequence[str], results: Results, *, per_architecture: bool = False) -> list[Table]:
    """The tables of these `NAMES`, in this order; some have one table per task.

    `per_architecture` lists the architectures of table 2 for people too. Raises TableError where rows do not belong
    together.
    """
    found: list[tuple[Grid, list[Line]]] = []
    tasks, protocol = results.tasks, results.protocol

    def scores(*of: str) -> dict[UnitName, Scores]:
        return {unit: one for task in of for unit, one in results.scores(task).items()}

    for name in names:
        if name == "1":
            found.append(table1(results.alignment(_PAPERS_TASK), _PAPERS_TASK))
        elif name == "2":
            found += [table2(scores(task), protocol, task, per_architecture=per_architecture) for task in tasks]
        elif name == "3":
            found.append(table3(scores(*tasks), protocol, tasks))
        elif name == "4":
            found.append(table4(scores(_PAPERS_TASK), protocol, _PAPERS_TASK))
        elif name == "6":
            found.append(table6({task: results.zoo_index(task) for task in tasks}))
        elif name == "differences":
            found.append(differences_table(scores(*tasks), protocol, tasks))
        elif name == "novelty":
            found.append(novelty_table(scores(*tasks), protocol, tasks))
        elif name == "roundtrip":
            found += [roundtrip_table(results.roundtrips(task), task) for task in tasks]
        else:
            raise TableError(f"table {name!r}: expected one of {', '.join(NAMES)}")
    return [Table(grid, lines) for grid, lines in found]


def table2_cells(scores: Mapping[UnitName, Scores], protocol: Protocol, task: str) -> list[Row]:
    """Architecture-conditioned generation, one mean row a partition and method.

    Where a method was trained with several seeds, the row is the mean over them and one a seed follows. A row of a seed
    is followed by the rows of its finished architectures. Every row of the paper is there, measured or not. The
    partitions are `seen` (the split's training architectures to measure on), `unseen` and `outside`; other
    architectures do not enter.
    """
    splits = load_splits()
    partitions = {"train": splits.train, "seen": splits.seen, "unseen": splits.unseen, "outside": splits.outside}
    return [
        row
        for partition, archs in partitions.items()
        for row in _partition_rows(scores, protocol, task, partition, [architecture_name(arch) for arch in archs])
    ]


def table3_cells(scores: Mapping[UnitName, Scores], protocol: Protocol, task: str) -> list[Row]:
    """Generation of architecture and weights together, one mean row a method, then one a seed if there are several."""
    return _partition_rows(scores, protocol, task, JOINT, [JOINT])


def table4_cells(scores: Mapping[UnitName, Scores], protocol: Protocol, task: str) -> list[Row]:
    """The single architectures that the paper names, one row a method."""
    splits = load_splits()
    table: list[Row] = []
    for paper in reported_cells(4, task):
        arch = paper.arch
        assert arch is not None
        widths = parse_architecture(arch)
        partition = next(name for name in ("seen", "unseen", "outside") if widths in getattr(splits, name))
        rows = [
            row
            for row in _partition_rows(scores, protocol, task, partition, [arch], ("nnit",))
            if row.arch is None and (row.measured or row.method == "nnit")
        ]
        table += [replace(row, arch=arch, reported=paper if row.method == "nnit" else None) for row in rows]
    return table


def table2(
    scores: Mapping[UnitName, Scores], protocol: Protocol, task: str, *, per_architecture: bool = False
) -> tuple[Grid, list[Line]]:
    """Architecture-conditioned generation, 120 columns wide.

    Architectures are listed below a partition that is not finished, and everywhere with `per_architecture`.
    """
    cells = table2_cells(scores, protocol, task)
    grid = Grid(
        f"Table 2: architecture-conditioned generation, {task}",
        ("split", "method", *_score_headers(protocol)),
        2,
        _caption(protocol),
    )
    incomplete, partition = False, ""
    for row in cells:
        if row.arch is None:
            incomplete = row.finished < row.expected
            grid.add(row.partition, _with_seeds(row), *_render(row), section=row.partition != partition)
            partition = row.partition
        elif incomplete or per_architecture:
            grid.add("", f" {row.arch}", *_render(row))
    return grid, [line for row in cells for line in _lines(2, row)]


def table3(scores: Mapping[UnitName, Scores], protocol: Protocol, tasks: Sequence[str]) -> tuple[Grid, list[Line]]:
    """Joint generation of architecture and weights, with what architectures the samples are of."""
    headers = _score_headers(protocol)
    grid = Grid(
        "Table 3: joint generation of architecture and weights",
        ("task", "method", *headers[:4], headers[5], *headers[7:], "train/unseen/\noutside/other %"),
        2,
        _caption(protocol) + " train/unseen/outside/other: of all samples, the share of architectures that were "
        "trained on, held out, outside the space though of its widths, or none of these.",
    )
    lines, previous = [], ""
    for row in (row for task in tasks for row in table3_cells(scores, protocol, task) if row.arch is None):
        cells = _render(row)
        mine = [
            scores[UnitName(row.task, row.method, seed, JOINT)].policies["partition"].tolist()
            for seed in row.generator_seeds
        ]
        names = ("train", "unseen", "outside", "other")
        drawn = [partition for partitions in mine for partition in partitions]
        shares = {name: drawn.count(name) / len(drawn) for name in names} if drawn else {}
        mixture = "/".join(f"{100 * share:.0f}" for share in shares.values()) or MISSING
        same = row.task == previous
        shown = *cells[:4], cells[5], *cells[7:], mixture
        grid.add("" if same else row.task, _with_seeds(row), *shown, section=not same)
        previous = row.task
        lines += _lines(3, row)
        lines += [
            _line(3, row, f"share_{name}", Interval(share, math.nan, math.nan), None) for name, share in shares.items()
        ]
    return grid, lines


def table4(scores: Mapping[UnitName, Scores], protocol: Protocol, task: str) -> tuple[Grid, list[Line]]:
    """Single architectures."""
    cells = table4_cells(scores, protocol, task)
    grid = Grid(
        f"Table 4: single architectures, {task}",
        ("architecture", "split", "method", *(_score_headers(protocol)[i] for i in _TABLE4)),
        3,
        _caption(protocol),
    )
    previous = ""
    for row in cells:
        assert row.arch is not None
        same = row.arch == previous
        values = [_render(row)[i] for i in _TABLE4]
        grid.add("" if same else row.arch, "" if same else row.partition, _with_seeds(row), *values, section=not same)
        previous = row.arch
    return grid, [line for row in cells for line in _lines(4, row)]


def novelty_table(
    scores: Mapping[UnitName, Scores], protocol: Protocol, tasks: Sequence[str]
) -> tuple[Grid, list[Line]]:
    """How new the selected policies are, beside how good."""
    grid = Grid(
        "Novelty of the selected policies",
        (
            "task",
            "split",
            "method",
            "success\n%",
            "passing\n%",
            "distinct\n%",
            "L2 to\nGHN",
            "GHNs\napart",
            "actions\nto zoo",
            "zoo\napart",
            "GHN\nseeds",
            "L2 to\nother",
            "cosine\nto other",
            "fail as\nother",
            "fail as\nGHN",
        ),
        3,
        f"Of the top {protocol.top} on {protocol.test_episodes} test episodes; mean over architectures. passing %: of "
        f"all {protocol.samples} samples, those that meet the filter of the training set, judged on "
        f"{protocol.screening_episodes} episodes. distinct %: of all samples, different networks. L2 to GHN: median "
        "distance to the nearest hypernetwork policy of the architecture, held out or not, neurons matched. GHNs "
        "apart: the same between hypernetworks; far below it is a copy. actions to zoo: median distance of the actions "
        "to those of the training policy, of any architecture, that acts most alike, and zoo apart the same between "
        "training policies of different hypernetworks. GHN seeds: distinct among the nearest. L2, cosine to other: "
        "mean to the nearest other of the top, neurons as they are, as in figure 6 of the paper. fail as other: "
        "overlap (intersection over union) of the failed episodes of two of the top. fail as GHN: the largest overlap "
        f"with one of the top of `ghn`, another network. {MISSING}: not measured, or nothing to measure.",
    )
    lines, previous = [], ("", "")
    for task in tasks:
        rows = [*table2_cells(scores, protocol, task), *table3_cells(scores, protocol, task)]
        for row in rows:
            if row.arch is not None or row.measured is None:
                continue
            found = row.measured
            here = task, row.partition
            like_ghn = [
                failed_overlap_with(mine, scores[floor])
                for unit, mine in scores.items()
                if _belongs(unit, row) and (floor := UnitName(task, DIRECT, 0, unit.arch)) in scores
            ]
            numbers = (
                (100, 1, "success", found.success.mean),
                (100, 0, "passing", found.passing),
                (100, 0, "distinct", found.distinct),
                (1, 2, "ghn_distance", found.ghn_distance),
                (1, 2, "ghn_spread", found.ghn_spread),
                (1, 3, "action_distance", found.action_distance),
                (1, 3, "action_spread", found.action_spread),
                (1, 2, "ghn_seeds", found.ghn_seeds),
                (1, 2, "other_l2", found.other_l2),
                (1, 2, "other_cosine", found.other_cosine),
                (1, 2, "failed_alike", found.failed_alike),
                (1, 2, "failed_as_ghn", float(np.mean(like_ghn)) if like_ghn else math.nan),
            )
            grid.add(
                "" if task == previous[0] else task,
                "" if here == previous else row.partition,
                _with_seeds(row),
                *(MISSING if math.isnan(v) else f"{scale * v:.{digits}f}" for scale, digits, _, v in numbers),
                section=here != previous,
            )
            previous = here
            lines += [
                _line("novelty", row, name, None if math.isnan(v) else Interval(v, math.nan, math.nan), None)
                for _, _, name, v in numbers
            ]
    return grid, lines


def differences_table(
    scores: Mapping[UnitName, Scores], protocol: Protocol, tasks: Sequence[str]
) -> tuple[Grid, list[Line]]:
    """Methods beside one another on the same test episodes: each generator beside the hypernetworks, the best floor and
    the paper's method, the paper's methods beside each other, and variants beside what they were made of."""
    grid = Grid(
        "Differences between methods on the same test episodes",
        ("task", "split", "method", "minus", "measured\nreturn", "measured\nsuccess, points", "verdict"),
        4,
        "The first method's mean over the split's architectures less the second's, of table 2. [low, high]: 95% "
        "bootstrap interval over test episodes, drawn for both alike, and over networks and generator seeds, drawn for "
        "each by itself. verdict: better or worse by success where the interval does not hold 0, undecided where it "
        f"does. {protocol_note(protocol)}".strip(),
    )
    lines, previous = [], ("", "")
    for task in tasks:
        rows: dict[str, dict[str, Row]] = {}
        for row in table2_cells(scores, protocol, task):
            if row.arch is None and row.measured is not None:
                rows.setdefault(row.partition, {}).setdefault(row.method, row)  # the mean over generator seeds is first
        for partition, found in rows.items():
            # By its name, so that no other method's rows move what was published of two.
            resampled = {
                method: resample_test(_groups(scores, row), int.from_bytes(method.encode()))
                for method, row in found.items()
            }
            for method, other in _pairs(found):
                returns, success = (
                    ours.minus(theirs) for ours, theirs in zip(resampled[method], resampled[other], strict=True)
                )
                verdict = "better" if success.low > 0 else "worse" if success.high < 0 else "undecided"
                here = task, partition
                grid.add(
                    "" if task == previous[0] else task,
                    "" if here == previous else partition,
                    _with_seeds(found[method]),
                    _with_seeds(found[other]),
                    _interval(returns, 1),
                    _interval(success, 100),
                    verdict,
                    section=here != previous,
                )
                previous = here
                lines += [
                    replace(_line("differences", found[method], name, difference, None), verdict=verdict, against=other)
                    for name, difference in (("return", returns), ("success", success))
                ]
    if not grid.rows:
        grid.add(*[MISSING] * 7)
    return grid, lines


def _pairs(rows: Mapping[str, Row]) -> list[tuple[str, str]]:
    """The methods of one split to compare, of those that were measured."""
    generators = [method for method in rows if method not in (DIRECT, "dataset", *FLOORS)]
    claimed = [method for method in generators if rows[method].reported is not None]
    floors = [method for method in FLOORS if method in rows]
    beside = [DIRECT] if DIRECT in rows else []
    if floors:
        beside.append(max(floors, key=lambda floor: _success(rows[floor])))
    pairs = [(method, other) for method in generators for other in beside]
    pairs += [("nnit", method) for method in generators if "nnit" in generators and method != "nnit"]
    ranked = sorted(claimed, key=lambda method: -_success(rows[method]))
    pairs += [pair for pair in combinations(ranked, 2) if "nnit" not in pair]
    made_of = [(method, VARIANTS[method][0]) for method in generators if method in VARIANTS]
    return pairs + [pair for pair in made_of if pair[1] in generators and "nnit" not in pair]


def _success(row: Row) -> float:
    assert row.measured is not None
    return row.measured.success.mean


def _groups(scores: Mapping[UnitName, Scores], row: Row) -> list[list[Scores]]:
    """The units of a mean row, by generator seed, in one order of architectures."""
    mine = {unit: found for unit, found in scores.items() if _belongs(unit, row)}
    archs = sorted({unit.arch for unit in mine})
    return [[mine[UnitName(row.task, row.method, seed, arch)] for arch in archs] for seed in row.generator_seeds]


def table1(rows: Sequence[Mapping[str, Any]], task: str) -> tuple[Grid, list[Line]]:
    """Policies written by hypernetworks beside directly trained ones; rows as of `tasks.alignment.compare`, or none."""
    grid = Grid(
        f"Table 1: weights written by hypernetworks and trained directly, {task}",
        (
            "weights,\nseeds",
            "measured\nreturn",
            "measured\nsuccess %",
            "nearest\nL2",
            "nearest\ncosine",
            "neigh-\nbours",
            "other\nseeds",
            "reported\nreturn, %",
            "reported\nL2, cosine",
        ),
        1,
        "Mean over independent seeds; [low, high]: 95% bootstrap interval over them. nearest: of the other seeds' "
        "weights. neighbours: correlation of adjacent weights of the hidden matrices. other seeds: that of the hidden "
        "units' mean absolute weights with those of other seeds. conv1x1, upsample: the hypernetwork's decoder; the "
        f"paper names none. reported: Table 1 of arXiv {ARXIV_ID}. {MISSING}: not measured, or not reported.",
    )
    claims = {cell.method: cell.values for cell in reported_cells(1, task)}
    lines = []
    for side in ("conv1x1", "upsample", "sgd"):
        mine = [row for row in rows if row["side"] == side]
        claim = claims.get("sgd" if side == "sgd" else "ghn", {})
        found = {name: _over_seeds([row[column] for row in mine]) for name, column in _TABLE1.items()}
        for name, interval in found.items():
            lines.append(_line(1, _zoo_row(task, side), name, interval, claim.get(name)))
        cells = [MISSING] * 6
        if mine:
            scales = (1, 100, 1, 1, 1, 1)
            digits = (1, 1, 1, 2, 2, 2)
            cells = [_interval(i, s, d) for i, s, d in zip(found.values(), scales, digits, strict=True) if i]
            # A table of 120 characters has no room for six intervals; those of correlations are in the lines.
            cells[3:] = [cell.split()[0] for cell in cells[3:]]
        reported_ = [MISSING] * 2
        if claim:
            reported_ = [
                f"{claim['return']:.2f}, {100 * claim['success']:.1f}",
                f"{claim['nearest_l2']:.2f}, {claim['nearest_cosine']:.2f}",
            ]
        grid.add(f"{side}, {len(mine)}" if mine else side, *cells, *reported_)
    return grid, lines


def table6(indexes: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Grid, list[Line]]:
    """How different the training policies of one architecture are; the rows of each task's zoo index."""
    grid = Grid(
        "Table 6: diversity of the training policies",
        (
            "task",
            "policies",
            "measured nearest L2",
            "measured nearest cosine",
            "reported L2",
            "reported cosine",
            "verdict",
        ),
        1,
        "Distance and cosine similarity of each training policy to its nearest neighbour of the same architecture, "
        "mean over policies and architectures; [low, high]: the architectures with the smallest and the largest mean, "
        "for the paper's is one that it does not name. "
        f"reported: Table 6 of arXiv {ARXIV_ID}. {MISSING}: not measured.",
    )
    lines = []
    for task, rows in indexes.items():
        cell = reported(6, task)
        assert cell is not None
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            if row.get("nearest_l2") is not None and not math.isnan(row["nearest_l2"]):
                groups.setdefault(row["arch"], []).append(row)
        cells, verdicts = [MISSING] * 2, []
        for position, name in enumerate(("nearest_l2", "nearest_cosine")):
            means = [float(np.mean([row[name] for row in group])) for group in groups.values()]
            interval = Interval(float(np.mean(means)), min(means), max(means)) if means else None
            line = _line(6, _zoo_row(task, "dataset"), name, interval, cell.values[name])
            lines.append(line)
            if interval:
                cells[position] = _interval(interval, 1, 2)
                verdicts.append(line.verdict)
        count = sum(map(len, groups.values()))
        claimed = [f"{cell.values[name]:.2f}" for name in ("nearest_l2", "nearest_cosine")]
        grid.add(task, str(count or MISSING), *cells, *claimed, "/".join(dict.fromkeys(verdicts)) or MISSING)
    return grid, lines


def protocol_note(protocol: Protocol) -> str:
    """What a reader must know first where the numbers are not of the benchmark's protocol; empty where they are."""
    if replace(protocol, version=Protocol.version) != Protocol():
        return "NOT THE BENCHMARK'S PROTOCOL, a first look only."
    if protocol.version != Protocol.version:
        return f"MEASURED BY VERSION {protocol.version} of the protocol, which is now at {Protocol.version}."
    return ""


def verdict(measured: Interval | None, claim: float | None) -> str:
    """Where the measured interval lies to what the paper prints, which it rounds to two digits."""
    if measured is None:
        return "not measured"
    if claim is None:
        return "no claim"
    if measured.low > claim + _ROUNDING:
        return "above"
    return "below" if measured.high < claim - _ROUNDING else "inside"


def _partition_rows(
    scores: Mapping[UnitName, Scores],
    protocol: Protocol,
    task: str,
    partition: str,
    archs: Sequence[str],
    always: Iterable[str] | None = None,
) -> list[Row]:
    """The rows of all methods that have results there, and of those that the paper has or `always` names."""
    groups: dict[str, dict[int, dict[str, Scores]]] = {}  # method to generator seed to arch to scores
    for unit, found in scores.items():
        if unit.task == task and unit.arch in archs:
            groups.setdefault(unit.method, {}).setdefault(unit.generator_seed, {})[unit.arch] = found
    if partition == "train":  # those to measure on are `seen`, of which a part of these 64 would be a repetition
        groups = {
            method: {seed: found for seed, found in by_seed.items() if len(found) == len(archs)}
            for method, by_seed in groups.items()
        }
        groups = {method: by_seed for method, by_seed in groups.items() if by_seed}
    number = 3 if partition == JOINT else 2
    paper_order = [str(cell.method) for cell in reported_cells(number, task) if cell.partition == partition]
    if always is not None:
        paper_order = list(always)

    def order(method: str) -> tuple[int, str]:
        return paper_order.index(method) if method in paper_order else len(paper_order), method

    table: list[Row] = []
    for method in sorted({*groups, *paper_order}, key=order):
        by_seed = groups.get(method, {})
        seeds = tuple(sorted(by_seed))
        paper = reported(number, task, method=method, partition=partition)
        if len(seeds) != 1:
            finished = sum(map(len, by_seed.values()))
            expected = len(archs) * max(1, len(seeds))
            mean = None
            if seeds and finished == expected:
                mean = measure([[by_seed[seed][arch] for arch in archs] for seed in seeds], protocol.top)
            table.append(Row(task, partition, method, seeds, None, finished, expected, mean, paper))
        for seed in seeds:
            finished_here = {arch: by_seed[seed][arch] for arch in archs if arch in by_seed[seed]}
            whole = len(finished_here) == len(archs)
            mean = measure([list(finished_here.values())], protocol.top) if whole else None
            claim = paper if len(seeds) == 1 else None
            table.append(Row(task, partition, method, (seed,), None, len(finished_here), len(archs), mean, claim))
            if partition != JOINT:
                for arch, found in finished_here.items():
                    alone = measure([[found]], protocol.top)
                    table.append(Row(task, partition, method, (seed,), arch, 1, 1, alone, None))
    return table


def _belongs(unit: UnitName, row: Row) -> bool:
    """True for a unit that a mean row is made of."""
    if (unit.task, unit.method) != (row.task, row.method) or unit.generator_seed not in row.generator_seeds:
        return False
    if row.partition == JOINT:
        return unit.arch == JOINT
    return unit.arch != JOINT and parse_architecture(unit.arch) in getattr(load_splits(), row.partition)


def _with_seeds(row: Row) -> str:
    """The method's name, with the generator seed unless that is 0, or how many seeds the row is the mean of."""
    if len(row.generator_seeds) > 1:
        return f"{row.method} ({len(row.generator_seeds)} seeds)"
    return row.method if row.generator_seeds in ((), (0,)) else f"{row.method} s{row.generator_seeds[0]}"


def _zoo_row(task: str, method: str) -> Row:
    """For a line about the zoo itself."""
    return Row(task, "train", method, (), None, 1, 1, None, None)


def _score_headers(protocol: Protocol) -> list[str]:
    headline = protocol.headline.removeprefix("success_").replace("_", " ")
    return [
        f"measured\ntop-{protocol.top} return",
        f"measured top-{protocol.top}\nsuccess {headline} %",
        "selec-\ntion %",
        f"all\n{protocol.samples} %",
        "L2 to\nGHN",
        "net-\nworks",
        "GHN\nseeds",
        "reported return,\nsuccess %",
        "verdict",
    ]


def roundtrip_table(rows: Sequence[Mapping[str, Any]], task: str) -> tuple[Grid, list[Line]]:
    """Training policies beside what autoencoders leave of them; rows as of `roundtrip.read`, or none.

    Raises TableError where rows of one method and seed are of several trainings or numbers of episodes.
    """
    grid = Grid(
        f"Round trip: training policies encoded and decoded, nothing sampled, {task}",
        (
            "method",
            "arch",
            "poli-\ncies",
            "episodes",
            "zoo\nreturn",
            "decoded\nreturn",
            "zoo\nsuccess %",
            "decoded\nsuccess %",
            "relative\nL2",
        ),
        2,
        "Mean over the training policies of an architecture, and mean of those over the architectures measured, on "
        "validation episodes. zoo: the policies themselves. decoded: what is left of them. relative L2: norm of the "
        f"difference of the weights over that of the policy's. {MISSING}: not measured.",
    )
    columns = {
        "return": "return",
        "reconstructed_return": "reconstructed_return",
        "success": "success_at_end",
        "reconstructed_success": "reconstructed_success_at_end",
        "relative_l2": "relative_l2",
    }
    lines: list[Line] = []
    for method, seed in sorted({(row["method"], row["generator_seed"]) for row in rows}):
        mine = [row for row in rows if (row["method"], row["generator_seed"]) == (method, seed)]
        kinds = {(row["method_sha256"][:12], row["episodes"]) for row in mine}
        if len(kinds) > 1:
            found = " and ".join(f"{sha} on {episodes} episodes" for sha, episodes in sorted(kinds))
            raise TableError(
                f"round trips of {method} on {task}, generator seed {seed}, are of {found}: they do not average; "
                "choose a folder of one with --results, or delete the files of the others"
            )
        by_arch: dict[str | None, dict[str, float]] = {}
        for arch in sorted({row["arch"] for row in mine}):
            here = [row for row in mine if row["arch"] == arch]
            by_arch[arch] = {name: float(np.mean([row[column] for row in here])) for name, column in columns.items()}
        mean = {name: float(np.mean([numbers[name] for numbers in by_arch.values()])) for name in columns}
        for arch, numbers in {None: mean, **by_arch}.items():
            scales = (f"{numbers['return']:.1f}", f"{numbers['reconstructed_return']:.1f}")
            shares = (f"{100 * numbers['success']:.1f}", f"{100 * numbers['reconstructed_success']:.1f}")
            count = sum(arch in (None, row["arch"]) for row in mine)
            label = ("", arch) if arch else (f"{method} s{seed}", f"{len(by_arch)} archs")
            cells = (str(count), str(mine[0]["episodes"]), *scales, *shares, f"{numbers['relative_l2']:.3f}")
            grid.add(*label, *cells, section=arch is None)
            row = Row(task, "train", method, (seed,), arch, 1, 1, None, None)
            lines += [
                _line("roundtrip", row, name, Interval(value, math.nan, math.nan), None)
                for name, value in numbers.items()
            ]
    if not rows:
        grid.add(*[MISSING] * 9)
    return grid, lines


def _render(row: Row) -> list[str]:
    claim = row.reported.values if row.reported else None
    claimed = MISSING
    if claim:
        spread = f" ± {claim['plus_minus']:.2f}" if "plus_minus" in claim else ""
        claimed = f"{claim['return']:.2f}{spread}, {100 * claim['success']:.0f}"
    if row.measured is None:
        partial = f" {row.finished} of {row.expected}\narchitectures" if row.finished else ""
        return [MISSING + partial, *[MISSING] * 6, claimed, MISSING]
    result = row.measured
    verdicts = [line.verdict for line in _lines(0, row) if line.metric in ("return", "success")] if claim else [MISSING]
    return [
        _interval(result.mean_return, 1),
        _interval(result.success, 100),
        f"{100 * result.selection_success.mean:.1f}",
        f"{100 * result.sample_success:.1f}",
        f"{result.ghn_distance:.2f}",
        f"{result.networks:.3g}",
        f"{result.ghn_seeds:.3g}",
        claimed,
        "/".join(dict.fromkeys(verdicts)),
    ]


def _lines(table: int, row: Row) -> list[Line]:
    found: dict[str, Interval | None] = {"return": None, "success": None}
    if row.measured is not None:
        result = row.measured
        points = {
            "sample_success": result.sample_success,
            "ghn_distance": result.ghn_distance,
            "networks": result.networks,
            "ghn_seeds": result.ghn_seeds,
        }
        found = {
            "return": result.mean_return,
            "success": result.success,
            "selection_success": result.selection_success,
        }
        found |= {name: Interval(value, math.nan, math.nan) for name, value in points.items()}
    claims = row.reported.values if row.reported else {}
    return [_line(table, row, metric, interval, claims.get(metric)) for metric, interval in found.items()]


def _line(table: int | str, row: Row, metric: str, interval: Interval | None, claim: float | None) -> Line:
    bounded = interval is not None and not math.isnan(interval.low)
    return Line(
        table=str(table),
        task=row.task,
        split=row.partition,
        method=row.method,
        generator_seeds="+".join(map(str, row.generator_seeds)),
        arch=row.arch,
        metric=metric,
        measured=interval.mean if interval else None,
        lo=interval.low if interval and bounded else None,
        hi=interval.high if interval and bounded else None,
        reported=claim,
        verdict=verdict(interval, claim),
    )


def _over_seeds(values: Sequence[float]) -> Interval | None:
    if not values:
        return None
    return hierarchical_interval([[[np.array([value]) for value in values]]])


def _interval(interval: Interval, scale: float, digits: int = 1) -> str:
    mean, low, high = (f"{scale * value:.{digits}f}" for value in interval)
    return f"{mean} [{low}, {high}]"


def _caption(protocol: Protocol) -> str:
    note = protocol_note(protocol)
    return (
        f"{note + ' ' if note else ''}Protocol {protocol.short}: {protocol.samples} samples an architecture, the top "
        f"{protocol.top} by mean return on {protocol.selection_episodes} selection episodes, scored on "
        f"{protocol.test_episodes} test episodes that chose nothing. A split's row is the mean over its architectures. "
        "[low, high]: 95% bootstrap interval over test episodes, distinct networks and generator seeds. selection %: "
        "the same policies on the episodes that chose them, optimistic. "
        f"all {protocol.samples} %: every sample on the first {protocol.screening_episodes} of those, nothing "
        "selected. L2 to GHN: median distance of the top to the nearest hypernetwork policy, neurons matched. "
        "networks, GHN seeds: distinct among the top. reported: printed in the table of this number of arXiv "
        f"{ARXIV_ID}, not measured here; its ± is undefined there. verdict: is the measured interval above the "
        f"reported return/success, below, or around it. {MISSING}: not measured, or not reported."
    )
