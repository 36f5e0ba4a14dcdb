"""Table 2: what was measured, as a pure function of the episode rows, beside what the paper reports.

A cell is `Measured` or `Reported`; the two never share a column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.table import Table
from rich.text import Text

from nnbench.protocol import Protocol
from nnbench.reported import ARXIV_ID, Reported, reported, reported_rows
from nnbench.statistics import Interval, hierarchical_interval
from nnbench.tasks.architectures import architecture_name, load_splits

MISSING = "—"

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


def table2(rows: pa.Table, protocol: Protocol, tasks: Sequence[str], *, per_architecture: bool = False) -> Table:
    """`table2_cells` for the terminal, 120 columns wide.

    Architectures are listed below a partition that is not finished, and everywhere with `per_architecture`.
    """
    cells = table2_cells(rows, protocol, tasks)
    table = Table(
        title="Table 2: architecture-conditioned generation" + (f", {tasks[0]}" if len(tasks) == 1 else ""),
        caption=Text(_caption(protocol)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0),
    )
    table.add_column("split")
    table.add_column("method")
    headline = protocol.headline.removeprefix("success_").replace("_", " ")
    for header in (
        f"measured\ntop-{protocol.top} return",
        f"measured top-{protocol.top}\nsuccess {headline} %",
        "selec-\ntion %",
        f"all\n{protocol.samples} %",
        "L2 to\nGHN",
        "net-\nworks",
        "GHN\nseeds",
        "reported\nreturn",
        "reported\nsuccess %",
    ):
        table.add_column(header, justify="right", no_wrap=True)

    seeds = {(row.method, row.generator_seed) for row in cells if row.generator_seed is not None}
    several_seeds = {method for method, _ in seeds if sum(method == other for other, _ in seeds) > 1}
    incomplete = False
    for position, row in enumerate(cells):
        if len(tasks) > 1 and (position == 0 or cells[position - 1].task != row.task):
            table.add_section()
            table.add_row("", Text(row.task, "bold"))
        elif position > 0 and cells[position - 1].partition != row.partition:
            table.add_section()
        if row.arch is None:
            incomplete = row.finished < row.expected
            seed = f" s{row.generator_seed}" if row.method in several_seeds else ""
            table.add_row(row.partition, row.method + seed, *_render(row))
        elif incomplete or per_architecture:
            table.add_row("", f" {row.arch}", *_render(row))
    return table


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
    paper_order = [cell.method for cell in reported_rows(2, task) if cell.partition == partition]
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
        paper = reported(2, method, partition, task)
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


def _render(row: Row) -> list[str]:
    paper = row.reported
    reported_cells = (
        [f"{paper.mean_return:.2f} ± {paper.plus_minus:.2f}", f"{100 * paper.success:.0f}"] if paper else [MISSING] * 2
    )
    if row.measured is None:
        partial = f" {row.finished} of {row.expected}\narchitectures" if row.finished else ""
        return [MISSING + partial, *[MISSING] * 6, *reported_cells]
    result = row.measured
    return [
        _interval(result.mean_return, 1),
        _interval(result.success, 100),
        f"{100 * result.selection_success:.1f}",
        f"{100 * result.sample_success:.1f}",
        f"{result.nearest_distance:.2f}",
        f"{result.networks:.3g}",
        f"{result.ghn_seeds:.3g}",
        *reported_cells,
    ]


def _interval(interval: Interval, scale: float) -> str:
    mean, low, high = (scale * value for value in interval)
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def _caption(protocol: Protocol) -> str:
    reduced = "" if protocol == Protocol() else "NOT THE BENCHMARK'S PROTOCOL, a first look only. "
    return (
        f"{reduced}Protocol {protocol.short}: {protocol.samples} samples an architecture, the top {protocol.top} by "
        f"mean return on {protocol.selection_episodes} selection episodes, scored on {protocol.test_episodes} test "
        "episodes that chose nothing. A split's row is the mean over its architectures. [low, high]: 95% bootstrap "
        "interval over test episodes and distinct networks. selection %: the same policies on the episodes that chose "
        f"them, optimistic. all {protocol.samples} %: every sample on the first {protocol.screening_episodes} of "
        "those, nothing selected. L2 to GHN: median distance "
        "of the top to the nearest hypernetwork policy. networks, GHN seeds: distinct among the top. reported: "
        f"printed in Table 2 of arXiv {ARXIV_ID}, not measured here; its ± is undefined there. "
        f"{MISSING}: not measured, or not reported."
    )
