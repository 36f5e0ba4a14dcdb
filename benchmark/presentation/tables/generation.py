"""Tables 2 to 4: how well the policies work that a method generated, beside what the paper reports."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from nnbench.analysis.costs import Cost
from nnbench.analysis.measured import PARTITIONS, Estimate, Measured
from nnbench.analysis.rows import Row
from nnbench.presentation.tables.captions import explain_columns
from nnbench.presentation.tables.table import MISSING, Entry, Label, Number, Table, count, interval, point, verdict
from nnbench.protocol import Protocol


def table2(rows: Sequence[Row], protocol: Protocol, task: str, *, per_architecture: bool = False) -> Table[Row]:
    """Architecture-conditioned generation, 120 characters wide; the rows are those of `conditioned_rows`.

    Architectures are listed below a mean that is not finished, and everywhere with `per_architecture`.
    """
    entries, incomplete = [], False
    for row in rows:
        incomplete = row.finished < row.expected if row.arch is None else incomplete
        entries.append(entry_of(row, shown=row.arch is None or incomplete or per_architecture))
    return Table(
        "2",
        f"Table 2: architecture-conditioned generation, {task}",
        explain_columns("2", rows, protocol),
        [
            Label("split", lambda row: "" if row.arch else row.partition),
            Label("method", lambda row: f" {row.arch}" if row.arch else name_with_seeds(row)),
            *_scores(protocol),
        ],
        entries,
        section=lambda row: row.partition,
    )


def table3(rows: Sequence[Row], protocol: Protocol) -> Table[Row]:
    """Generation of architecture and weights together; the rows are those of `joint_rows`, of all tasks."""
    hidden = ("ghn_distance", "ghn_seeds")
    return Table(
        "3",
        "Table 3: joint generation of architecture and weights",
        f"{explain_columns('3', rows, protocol, hidden)}\ntrain/unseen/outside/other: of all samples, the share of "
        "architectures that were trained on, held out, outside the space though of its widths, or none of these.",
        [
            Label("task", lambda row: row.task, once=True),
            Label("method", name_with_seeds),
            *_scores(protocol, hidden),
            Label("train/unseen/\noutside/other %", _mixture, right=True),
            *(Number(None, f"share_{name}", read_measured(_share(name)), optional=True) for name in PARTITIONS),
        ],
        [entry_of(row) for row in rows],
        section=lambda row: row.task,
    )


def table4(rows: Sequence[Row], protocol: Protocol, task: str) -> Table[Row]:
    """Single architectures; the rows are those of `single_rows`."""
    hidden = ("selection_success", "sample_success", "networks", "ghn_seeds")
    return Table(
        "4",
        f"Table 4: single architectures, {task}",
        explain_columns("4", rows, protocol, hidden),
        [
            Label("architecture", lambda row: row.arch or "", once=True),
            Label("split", lambda row: row.partition, once=True),
            Label("method", name_with_seeds),
            *_scores(protocol, hidden),
        ],
        [entry_of(row) for row in rows],
        section=lambda row: row.arch,
    )


def name_with_seeds(row: Row) -> str:
    """The method's name, with the generator seed unless that is 0, or how many seeds the row is the mean of."""
    if len(row.generator_seeds) > 1:
        return f"{row.method} ({len(row.generator_seeds)} seeds)"
    return row.method if row.generator_seeds in ((), (0,)) else f"{row.method} s{row.generator_seeds[0]}"


def _scores(protocol: Protocol, hidden: Sequence[str] = ()) -> list[Label[Row] | Number[Row]]:
    """The numbers that the three tables share; `hidden` metrics are for machines only."""
    headline = protocol.headline.removeprefix("success_").replace("_", " ")
    top = f"measured\ntop-{protocol.top} return"
    numbers: list[Number[Row]] = [
        Number(top, "return", read_measured(lambda found: found.mean_return), interval(1), _progress),
        Number(
            f"measured top-{protocol.top}\nsuccess {headline} %",
            "success",
            read_measured(lambda found: found.success),
            interval(1, 100),
        ),
        Number(
            "selec-\ntion %",
            "selection_success",
            read_measured(lambda found: found.selection_success),
            point(1, 100),
            optional=True,
        ),
        Number(
            f"all\n{protocol.samples} %",
            "sample_success",
            read_measured(lambda found: found.sample_success),
            point(1, 100),
            optional=True,
        ),
        Number("L2 to\nGHN", "ghn_distance", read_measured(lambda found: found.ghn_distance), point(2), optional=True),
        Number("net-\nworks", "networks", read_measured(lambda found: found.networks), count, optional=True),
        Number("GHN\nseeds", "ghn_seeds", read_measured(lambda found: found.ghn_seeds), count, optional=True),
    ]
    return [
        *(replace(number, header=None) if number.metric in hidden else number for number in numbers),
        Number(None, "training_s", read_cost(lambda cost: cost.training_s), optional=True),
        Number(None, "generation_s", read_cost(lambda cost: cost.generation_s), optional=True),
        Number(None, "break_even", read_cost(lambda cost: cost.break_even), optional=True),
        Label("reported return,\nsuccess %", _reported, right=True),
        Label("verdict", _verdict, right=True),
    ]


def entry_of(row: Row, shown: bool = True) -> Entry[Row]:
    """What the lines of a row say."""
    return Entry(
        data=row,
        task=row.task,
        split=row.partition,
        method=row.method,
        generator_seeds=row.generator_seeds,
        reads=row.reads,
        arch=row.arch,
        claims=row.reported.values if row.reported else {},
        shown=shown,
    )


def read_measured(read: Callable[[Measured], Estimate | float]) -> Callable[[Row], Estimate | float | None]:
    """Of what is measured."""
    return lambda row: None if row.measured is None else read(row.measured)


def read_cost(read: Callable[[Cost], float | None]) -> Callable[[Row], float | None]:
    """Of what the networks cost."""
    return lambda row: None if row.cost is None else read(row.cost)


def _share(partition: str) -> Callable[[Measured], float]:
    return lambda found: found.shares[partition]


def _mixture(row: Row) -> str:
    if row.measured is None:
        return MISSING
    return "/".join(f"{100 * row.measured.shares[name]:.0f}" for name in PARTITIONS)


def _progress(row: Row) -> str:
    return f"{MISSING} {row.finished} of {row.expected}\narchitectures" if row.finished else MISSING


def _reported(row: Row) -> str:
    if row.reported is None:
        return MISSING
    claim = row.reported.values
    spread = f" ± {claim['plus_minus']:.2f}" if "plus_minus" in claim else ""
    return f"{claim['return']:.2f}{spread}, {100 * claim['success']:.0f}"


def _verdict(row: Row) -> str:
    """Of the return and of the success, once where they agree."""
    if row.measured is None or row.reported is None:
        return MISSING
    claim, found = row.reported.values, row.measured
    both = verdict(found.mean_return, claim.get("return")), verdict(found.success, claim.get("success"))
    return "/".join(dict.fromkeys(both))
