"""The paper's tables: what was measured, as a pure function of stored rows, beside what the paper reports.

A cell is `Measured` or `Reported`; the two never share a column.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nnbench.protocol import Protocol
from nnbench.rendering import Grid, Line
from nnbench.reported import ARXIV_ID, Reported, reported, reported_cells
from nnbench.statistics import Interval, hierarchical_interval
from nnbench.tasks.architectures import architecture_name, load_splits, parse_architecture

MISSING = "—"

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

_SCORED = (
    "sample",
    "episode_seed",
    "return",
    "success_once",
    "success_at_end",
    "selected",
    "nearest_seed",
    "nearest_distance",
)


class TableError(ValueError):
    """Rows that must not be put into one table. Names what differs and the remedy."""


@dataclass(frozen=True)
class Measured:
    """One method on one architecture, or the mean of these numbers over the architectures of a partition.

    `top` is the protocol's number of selected policies.
    """

    mean_return: Interval
    """Of the top on the test episodes."""
    success: Interval
    """Share of successful test episodes of the top, by the protocol's headline."""
    selection_success: float
    """The same policies on the selection episodes that chose them; what it exceeds `success` by is optimism."""
    sample_success: float
    """All samples on the screening episodes, nothing selected."""
    nearest_distance: float
    """Median over the top of the L2 distance to the nearest hypernetwork policy."""
    networks: float
    """Distinct networks in the top."""
    ghn_seeds: float
    """Distinct hypernetworks that the top are nearest to."""


@dataclass(frozen=True)
class Row:
    """One row of the table: a partition's mean, or one of its architectures where `arch` is given."""

    task: str
    partition: str
    """`seen`, `unseen`, `outside`, or `train` for the paper's Dataset row."""
    method: str
    generator_seed: int | None
    arch: str | None
    finished: int
    """Architectures of the row that have results."""
    expected: int
    """Architectures that the row is about."""
    measured: Measured | None
    """None unless all expected architectures are finished."""
    reported: Reported | None


def table2_cells(rows: pa.Table, protocol: Protocol, tasks: Sequence[str]) -> list[Row]:
    """Architecture-conditioned generation, one mean row a task, partition, method and generator seed.

    A mean row is followed by the rows of its finished architectures. Every row of the paper is there, measured or
    not. The partitions are `seen` (the split's training architectures to measure on), `unseen` and `outside`; rows of
    other architectures do not enter. `rows` have `store.EPISODE_SCHEMA` and may hold tasks that are not asked for.

    Raises TableError where rows are of another protocol, of two trained methods of one name, or not whole units.
    """
    _refuse_mixed(rows, protocol)
    splits = load_splits()
    partitions = {"train": splits.train, "seen": splits.seen, "unseen": splits.unseen, "outside": splits.outside}
    units = _split_units(rows.filter(pc.is_in(rows["task"], pa.array(tasks, pa.string()))))
    scores = {unit: _Scores.read(unit, columns, protocol) for unit, columns in units.items()}
    return [
        row
        for task in tasks
        for partition, archs in partitions.items()
        for row in _partition_rows(scores, task, partition, [architecture_name(arch) for arch in archs])
    ]


def table4_cells(rows: pa.Table, protocol: Protocol, task: str) -> list[Row]:
    """The single architectures that the paper names, one row a method and generator seed. Raises as `table2_cells`."""
    _refuse_mixed(rows, protocol)
    units = _split_units(rows.filter(pc.equal(rows["task"], task)))
    splits = load_splits()
    table: list[Row] = []
    for paper in reported_cells(4, task):
        arch = paper.arch
        assert arch is not None
        widths = parse_architecture(arch)
        partition = next(name for name in ("seen", "unseen", "outside") if widths in getattr(splits, name))
        measured = {unit: columns for unit, columns in units.items() if unit.arch == arch}
        if not any(unit.method == "nnit" for unit in measured):
            table.append(Row(task, partition, "nnit", None, arch, 0, 1, None, paper))
        for unit in sorted(measured, key=lambda unit: (unit.method != "nnit", unit.method, unit.generator_seed)):
            scores = _measure([_Scores.read(unit, measured[unit], protocol)])
            claim = paper if unit.method == "nnit" else None
            table.append(Row(task, partition, unit.method, unit.generator_seed, arch, 1, 1, scores, claim))
    return table


def table2(rows: pa.Table, protocol: Protocol, task: str, *, per_architecture: bool = False) -> tuple[Grid, list[Line]]:
    """Architecture-conditioned generation, 120 columns wide.

    Architectures are listed below a partition that is not finished, and everywhere with `per_architecture`.
    """
    cells = table2_cells(rows, protocol, [task])
    grid = Grid(
        f"Table 2: architecture-conditioned generation, {task}",
        ("split", "method", *_score_headers(protocol)),
        2,
        _caption(2, protocol),
    )
    seeds = {(row.method, row.generator_seed) for row in cells if row.generator_seed is not None}
    several_seeds = {method for method, _ in seeds if sum(method == other for other, _ in seeds) > 1}
    incomplete, partition = False, ""
    for row in cells:
        if row.arch is None:
            incomplete = row.finished < row.expected
            seed = f" s{row.generator_seed}" if row.method in several_seeds else ""
            grid.add(row.partition, row.method + seed, *_render(row), section=row.partition != partition)
            partition = row.partition
        elif incomplete or per_architecture:
            grid.add("", f" {row.arch}", *_render(row))
    return grid, [line for row in cells for line in _lines(2, row)]


def table3(tasks: Sequence[str], protocol: Protocol) -> tuple[Grid, list[Line]]:
    """Joint generation of architecture and weights, which no method here can do yet."""
    grid = Grid(
        "Table 3: joint generation of architecture and weights",
        ("task", "method", *_score_headers(protocol)),
        2,
        f"{MISSING}: no method here generates jointly yet. reported: printed in Table 3 of arXiv {ARXIV_ID}.",
    )
    rows = [
        Row(task, "joint", str(paper.method), None, None, 0, 1, None, paper)
        for task in tasks
        for paper in reported_cells(3, task)
    ]
    for row in rows:
        grid.add(row.task, row.method, *_render(row))
    return grid, [line for row in rows for line in _lines(3, row)]


def table4(rows: pa.Table, protocol: Protocol, task: str) -> tuple[Grid, list[Line]]:
    """Single architectures."""
    cells = table4_cells(rows, protocol, task)
    grid = Grid(
        f"Table 4: single architectures, {task}",
        ("architecture", "split", "method", *(_score_headers(protocol)[i] for i in _TABLE4)),
        3,
        _caption(4, protocol),
    )
    previous = ""
    for row in cells:
        assert row.arch is not None
        same = row.arch == previous
        scores = [_render(row)[i] for i in _TABLE4]
        grid.add("" if same else row.arch, "" if same else row.partition, row.method, *scores, section=not same)
        previous = row.arch
    return grid, [line for row in cells for line in _lines(4, row)]


def table1(rows: Sequence[Mapping[str, Any]], task: str) -> tuple[Grid, list[Line]]:
    """Policies written by hypernetworks beside directly trained ones; rows as of `tasks.alignment.compare`, or none."""
    grid = Grid(
        f"Table 1: weights written by hypernetworks and trained directly, {task}",
        (
            "weights",
            "measured\nreturn",
            "measured\nsuccess %",
            "nearest\nL2",
            "nearest\ncosine",
            "neigh-\nbours",
            "seeds",
            "reported\nreturn, %",
            "reported\nL2, cosine",
        ),
        1,
        "Mean over independent seeds; [low, high]: 95% bootstrap interval over them. nearest: of the other seeds' "
        "weights. neighbours: correlation of adjacent weights of the hidden matrices. seeds: correlation of the hidden "
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
            lines.append(_line(1, task, "train", side, name, interval, claim.get(name)))
        cells = [MISSING] * 6
        if mine:
            scales = (1, 100, 1, 1, 1, 1)
            digits = (1, 1, 1, 2, 2, 2)
            cells = [_interval(i, s, d) for i, s, d in zip(found.values(), scales, digits, strict=True) if i]
        reported_ = [MISSING] * 2
        if claim:
            reported_ = [
                f"{claim['return']:.2f}, {100 * claim['success']:.1f}",
                f"{claim['nearest_l2']:.2f}, {claim['nearest_cosine']:.2f}",
            ]
        grid.add(side, *cells, *reported_)
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
            line = _line(6, task, "train", "dataset", name, interval, cell.values[name])
            lines.append(line)
            if interval:
                cells[position] = _interval(interval, 1, 2)
                verdicts.append(line.verdict)
        count = sum(map(len, groups.values()))
        claimed = [f"{cell.values[name]:.2f}" for name in ("nearest_l2", "nearest_cosine")]
        grid.add(task, str(count or MISSING), *cells, *claimed, "/".join(dict.fromkeys(verdicts)) or MISSING)
    return grid, lines


def verdict(measured: Interval | None, claim: float | None) -> str:
    """Where the measured interval lies to what the paper prints, which it rounds to two digits."""
    if measured is None:
        return "not measured"
    if claim is None:
        return "no claim"
    if measured.low > claim + _ROUNDING:
        return "above"
    return "below" if measured.high < claim - _ROUNDING else "inside"


@dataclass(frozen=True)
class _Unit:
    """What the rows of one table cell agree on."""

    task: str
    method: str
    generator_seed: int
    arch: str


@dataclass(frozen=True)
class _Scores:
    """One method's numbers on one architecture; P selected policies, E test episodes."""

    returns: np.ndarray  # (P, E)
    success: np.ndarray  # (P, E) bool
    networks: list[int]  # (P,), equal for equal weights
    selection_success: float
    sample_success: float
    nearest_distance: float
    ghn_seeds: int

    @classmethod
    def read(cls, unit: _Unit, columns: Mapping[str, np.ndarray], protocol: Protocol) -> "_Scores":
        """Raises TableError unless the columns hold every episode of the unit once."""
        order = np.lexsort((columns["episode_seed"], columns["sample"]))
        columns = {name: values[order] for name, values in columns.items()}
        testing = columns["test"]
        chosen = ~testing & columns["selected"]
        screening = ~testing & np.isin(columns["episode_seed"], protocol.screening_seeds)
        samples = np.arange(protocol.samples)
        top = np.unique(columns["sample"][chosen])
        for stage, rows, policies, count, seeds in (
            ("screening", screening, samples, protocol.samples, protocol.screening_seeds),
            ("selection", chosen, top, protocol.top, protocol.selection_seeds),
            ("test", testing, top, protocol.top, protocol.test_seeds),
        ):
            if not (
                len(policies) == count
                and np.array_equal(columns["sample"][rows], np.repeat(policies, len(seeds)))
                and np.array_equal(columns["episode_seed"][rows], np.tile(seeds, count))
            ):
                raise TableError(
                    f"{unit.method} on {unit.task}, {unit.arch}, generator seed {unit.generator_seed}: "
                    f"{int(rows.sum())} {stage} episodes, expected {count} policies on the same {len(seeds)} seeds; "
                    "delete this unit's files and run it again"
                )
        first = testing & (columns["episode_seed"] == protocol.test_seeds[0])  # a row a selected policy
        shape = (protocol.top, protocol.test_episodes)
        success = columns[protocol.headline]
        return cls(
            returns=columns["return"][testing].reshape(shape),
            success=success[testing].reshape(shape),
            networks=columns["network"][first].tolist(),
            selection_success=float(success[chosen].mean()),
            sample_success=float(success[screening].mean()),
            nearest_distance=float(np.median(columns["nearest_distance"][first])),
            ghn_seeds=len(set(columns["nearest_seed"][first].tolist())),
        )


def _partition_rows(scores: Mapping[_Unit, _Scores], task: str, partition: str, archs: Sequence[str]) -> list[Row]:
    groups: dict[tuple[str, int | None], dict[str, _Scores]] = {}  # method and generator seed to arch to scores
    if partition != "train":  # its 64 are trained on; those to measure on are `seen`
        for unit, measured in scores.items():
            if unit.task == task and unit.arch in archs:
                groups.setdefault((unit.method, unit.generator_seed), {})[unit.arch] = measured
    known = {method for method, _ in groups}
    paper_order = [str(cell.method) for cell in reported_cells(2, task) if cell.partition == partition]
    for method in paper_order:
        if method not in known:
            groups[method, None] = {}

    def order(group: tuple[str, int | None]) -> tuple[int, str, int]:
        method, seed = group
        return paper_order.index(method) if method in paper_order else len(paper_order), method, seed or 0

    table: list[Row] = []
    for method, seed in sorted(groups, key=order):
        finished = {arch: groups[method, seed][arch] for arch in archs if arch in groups[method, seed]}
        mean = _measure(list(finished.values())) if len(finished) == len(archs) else None
        paper = reported(2, task, method=method, partition=partition)
        table.append(Row(task, partition, method, seed, None, len(finished), len(archs), mean, paper))
        for arch, measured in finished.items():
            table.append(Row(task, partition, method, seed, arch, 1, 1, _measure([measured]), None))
    return table


def _measure(architectures: Sequence[_Scores]) -> Measured:
    def mean(name: str) -> float:
        return float(np.mean([getattr(scores, name) for scores in architectures]))

    clusters = [scores.networks for scores in architectures]
    return Measured(
        mean_return=hierarchical_interval([list(scores.returns) for scores in architectures], clusters),
        success=hierarchical_interval([list(scores.success) for scores in architectures], clusters),
        selection_success=mean("selection_success"),
        sample_success=mean("sample_success"),
        nearest_distance=mean("nearest_distance"),
        networks=float(np.mean([len(set(networks)) for networks in clusters])),
        ghn_seeds=mean("ghn_seeds"),
    )


def _refuse_mixed(rows: pa.Table, protocol: Protocol) -> None:
    foreign = sorted(set(pc.unique(rows["protocol"]).to_pylist()) - {protocol.short})
    if foreign:
        raise TableError(
            f"rows of protocol {', '.join(foreign)} and a table of protocol {protocol.short}: they do not compare; "
            "choose a folder of one protocol with --results, or delete the files of the other"
        )
    identities: dict[tuple[str, str], list[str]] = {}
    for pair in rows.group_by(["task", "method", "method_sha256"]).aggregate([]).to_pylist():
        identities.setdefault((pair["task"], pair["method"]), []).append(pair["method_sha256"])
    for (task, method), found in identities.items():
        if len(found) > 1:
            raise TableError(
                f"rows of {method} on {task} are of differently trained methods {' and '.join(sorted(found))}: they "
                "do not average; choose a folder of one with --results, or delete the files of the others"
            )


def _split_units(rows: pa.Table) -> dict[_Unit, dict[str, np.ndarray]]:
    """The columns of each unit that scores are made of, as arrays; weights_sha256 as a number a distinct hash."""
    if rows.num_rows == 0:
        return {}
    keys = [field.name for field in fields(_Unit)]
    codes = np.zeros(rows.num_rows, np.int64)
    for name in keys:
        encoded = rows[name].combine_chunks().dictionary_encode()
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))

    columns = {name: rows[name].to_numpy() for name in _SCORED}
    columns["test"] = pc.equal(rows["stage"].cast(pa.string()), "test").to_numpy()
    columns["network"] = rows["weights_sha256"].combine_chunks().dictionary_encode().indices.to_numpy()
    parts = {name: np.split(values[order], starts[1:]) for name, values in columns.items()}
    units = rows.select(keys).take(order[starts]).to_pylist()
    return {_Unit(**unit): {name: parts[name][u] for name in parts} for u, unit in enumerate(units)}


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
        f"{100 * result.selection_success:.1f}",
        f"{100 * result.sample_success:.1f}",
        f"{result.nearest_distance:.2f}",
        f"{result.networks:.3g}",
        f"{result.ghn_seeds:.3g}",
        claimed,
        "/".join(dict.fromkeys(verdicts)),
    ]


def _lines(table: int, row: Row) -> list[Line]:
    found: dict[str, Interval | None] = {"return": None, "success": None}
    if result := row.measured:
        points = {
            "selection_success": result.selection_success,
            "sample_success": result.sample_success,
            "nearest_distance": result.nearest_distance,
            "networks": result.networks,
            "ghn_seeds": result.ghn_seeds,
        }
        found = {"return": result.mean_return, "success": result.success}
        found |= {name: Interval(value, math.nan, math.nan) for name, value in points.items()}
    claims = row.reported.values if row.reported else {}
    return [
        _line(
            table,
            row.task,
            row.partition,
            row.method,
            metric,
            interval,
            claims.get(metric),
            generator_seed=row.generator_seed,
            arch=row.arch,
        )
        for metric, interval in found.items()
    ]


def _line(
    table: int,
    task: str,
    split: str,
    method: str,
    metric: str,
    interval: Interval | None,
    claim: float | None,
    *,
    generator_seed: int | None = None,
    arch: str | None = None,
) -> Line:
    bounded = interval is not None and not math.isnan(interval.low)
    return Line(
        table=table,
        task=task,
        split=split,
        method=method,
        generator_seed=generator_seed,
        arch=arch,
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
    return hierarchical_interval([[np.array([value]) for value in values]], [range(len(values))])


def _interval(interval: Interval, scale: float, digits: int = 1) -> str:
    mean, low, high = (f"{scale * value:.{digits}f}" for value in interval)
    return f"{mean} [{low}, {high}]"


def _caption(number: int, protocol: Protocol) -> str:
    reduced = ""
    if replace(protocol, version=Protocol.version) != Protocol():
        reduced = "NOT THE BENCHMARK'S PROTOCOL, a first look only. "
    elif protocol.version != Protocol.version:
        reduced = f"MEASURED BY VERSION {protocol.version} of the protocol, which is now at {Protocol.version}. "
    return (
        f"{reduced}Protocol {protocol.short}: {protocol.samples} samples an architecture, the top {protocol.top} by "
        f"mean return on {protocol.selection_episodes} selection episodes, scored on {protocol.test_episodes} test "
        "episodes that chose nothing. A split's row is the mean over its architectures. [low, high]: 95% bootstrap "
        "interval over test episodes and distinct networks. selection %: the same policies on the episodes that chose "
        f"them, optimistic. all {protocol.samples} %: every sample on the first {protocol.screening_episodes} of "
        "those, nothing selected. L2 to GHN: median distance "
        "of the top to the nearest hypernetwork policy. networks, GHN seeds: distinct among the top. reported: "
        f"printed in Table {number} of arXiv {ARXIV_ID}, not measured here; its ± is undefined there. verdict: is the "
        "measured interval above the reported return/success, below, or around it. "
        f"{MISSING}: not measured, or not reported."
    )
