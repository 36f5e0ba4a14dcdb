import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nnbench.analysis.claims import list_claims
from nnbench.analysis.comparisons import compare, overlap_with_source
from nnbench.analysis.costs import Cost
from nnbench.analysis.measured import Estimate
from nnbench.analysis.methods import Methods
from nnbench.analysis.rows import Row, conditioned_rows, joint_rows, single_rows
from nnbench.analysis.scores import Scores, TableError, UnitName, read_scores
from nnbench.analysis.statistics import Interval, wilson
from nnbench.facts import Facts, find_facts
from nnbench.presentation.tables.captions import explain_columns
from nnbench.presentation.tables.comparison import NoveltyRow, claims_table, differences_table, novelty_table
from nnbench.presentation.tables.cost import cost_table
from nnbench.presentation.tables.generation import table2, table3, table4
from nnbench.presentation.tables.table import Table, point, verdict
from nnbench.presentation.tables.zoo import table1, table6
from nnbench.presentation.text import render
from nnbench.protocol import Protocol
from nnbench.store.checkpoints import Budget
from nnbench.store.schemas import COMPARISON, EPISODE_SCHEMA, POLICY_SCHEMA
from nnbench.tasks.policies.architectures import Architecture, architecture_name, load_splits
from nnbench.tasks.policies.tracks import load_track
from nnbench.tasks.registry import TASKS

PAPER_TRACK = load_track("paper")

PROTOCOL = Protocol(samples=6, top=2, selection_episodes=3, screening_episodes=2, test_episodes=40)
TASK = "PickCube-v1"
SPLITS = load_splits()
SHIPPED = Methods(find_facts())


def _rows(method: str, arch: Architecture, protocol: Protocol = PROTOCOL, **changes: Any) -> pa.Table:
    """Samples 1 and 4 are selected; they succeed on all selection and on even test episodes, the others never."""
    top = (1, 4)[: protocol.top]
    episodes = [(sample, "selection", seed) for sample in range(protocol.samples) for seed in protocol.selection_seeds]
    episodes += [(sample, "test", seed) for sample in top for seed in protocol.test_seeds]
    rows = [
        {
            "protocol": protocol.short,
            "task": TASK,
            "method": method,
            "method_sha256": "ab" * 32,
            "generator_seed": 0,
            "track": "paper",
            "joint": False,
            "arch": architecture_name(arch),
            "partition": SPLITS.partition(arch),
            "sample": sample,
            "weights_sha256": f"{sample:064d}",
            "stage": stage,
            "episode_seed": seed,
            "return": 30.0 + sample if stage == "test" else 5.0 + (sample in top),
            "success_once": True,
            "success_at_end": sample in top and (stage == "selection" or seed % 2 == 0),
            "selected": sample in top,
            "rank": top.index(sample) if sample in top else -1,
            "diverged": False,
        }
        | changes
        for sample, stage, seed in episodes
    ]
    return pa.Table.from_pylist(rows).cast(EPISODE_SCHEMA)


def _policies(rows: pa.Table) -> pa.Table:
    """Of each unit's samples, told from its episodes: sample s is s away from hypernetwork 7."""
    shared = [name for name in POLICY_SCHEMA.names if name in EPISODE_SCHEMA.names]
    found = rows.select(shared).group_by(shared, use_threads=False).aggregate([]).to_pylist()
    described = {
        "ghn_seed": 7,
        "comparison": COMPARISON,
        "ghn_spread": 30.0,
        "other_l2": 1.0,
        "other_cosine": 0.5,
        "action_distance": 0.2,
        "action_spread": 0.4,
    }
    selected = {"top_l2": [0.0, 3.0], "top_cosine": [1.0, 0.25]}
    return pa.Table.from_pylist(
        [
            row | described | {"ghn_distance": float(row["sample"])} | (selected if row["rank"] >= 0 else {})
            for row in found
        ],
        POLICY_SCHEMA,
    )


def _scores(rows: pa.Table, protocol: Protocol = PROTOCOL) -> dict[UnitName, Scores]:
    return read_scores(rows, _policies(rows), protocol, {TASK: TASKS[TASK].filter})


def _cells(rows: pa.Table, protocol: Protocol = PROTOCOL) -> list[Row]:
    return conditioned_rows(_scores(rows, protocol), TASK, protocol.top, PAPER_TRACK)


def _known(cells: list[Row]) -> list[Any]:
    """What can be compared of rows."""
    return [
        (replace(row, measured=None), row.measured and (row.measured.mean_return.interval, row.measured.shares))
        for row in cells
    ]


def _compared(*parts: pa.Table, methods: Methods = SHIPPED) -> Table[Any]:
    return differences_table(compare(_cells(pa.concat_tables(parts)), methods), PROTOCOL)


def _unseen(method: str = "nnit", count: int = 8, **changes: Any) -> pa.Table:
    return pa.concat_tables([_rows(method, arch, **changes) for arch in SPLITS.unseen[:count]])


def _returning(value: float) -> dict[str, Any]:
    return {"return": value}  # no keyword argument can be called so


def _mean_row(cells: list[Row], method: str, partition: str = "unseen") -> Row:
    (row,) = [row for row in cells if (row.method, row.partition, row.arch) == (method, partition, None)]
    return row


def _printed(rows: pa.Table, **options: Any) -> str:
    return render([table2(_cells(rows), PROTOCOL, TASK, **options)], "text", 120)


def test_numbers_of_a_finished_partition() -> None:
    row = _mean_row(_cells(_unseen()), "nnit")
    assert (row.finished, row.expected, row.generator_seeds) == (8, 8, (0,))
    measured = row.measured
    assert measured is not None
    assert measured.mean_return.mean == 32.5  # samples 1 and 4 on the test episodes
    assert measured.success.mean == 0.5
    assert measured.success.interval.low < 0.45 and measured.success.interval.high > 0.55
    assert measured.selection_success.mean == 1.0 > measured.selection_success.interval.low
    assert measured.sample_success.mean == pytest.approx(2 / 6)
    assert (measured.ghn_distance, measured.ghn_spread) == (2.5, 30.0)
    assert (measured.other_l2, measured.other_cosine, measured.action_distance) == pytest.approx((1.5, 0.625, 0.2))
    assert (measured.distinct, measured.failed_alike) == (1.0, 1.0)  # both fail on odd episodes
    assert (measured.networks, measured.ghn_seeds) == (2, 1)
    assert row.reported is not None and row.reported.values["success"] == 0.99


def test_headline_decides_what_success_means() -> None:
    once = replace(PROTOCOL, headline="success_once")
    row = _mean_row(_cells(_unseen(protocol=once), once), "nnit")
    assert row.measured is not None and row.measured.success.mean == 1.0


def test_certainty_is_not_claimed() -> None:
    row = _mean_row(_cells(_unseen(success_at_end=True)), "nnit")
    assert row.measured is not None
    assert row.measured.success.interval == (1.0, wilson(40, 40).low, 1.0)


def test_copies_count_as_one_network() -> None:
    row = _mean_row(_cells(_unseen(weights_sha256="cd" * 32)), "nnit")
    assert row.measured is not None
    assert row.measured.networks == 1
    assert row.measured.mean_return.interval == (32.5, 32.5, 32.5)  # one cluster: no spread between networks is visible


def test_mean_row_is_the_mean_over_architectures() -> None:
    odd = SPLITS.unseen[3]
    rows = pa.concat_tables([_rows("nnit", arch, **(_returning(0.0) if arch == odd else {})) for arch in SPLITS.unseen])
    cells = _cells(rows)
    mean = _mean_row(cells, "nnit").measured
    assert mean is not None and mean.mean_return.mean == pytest.approx(32.5 * 7 / 8)
    by_arch = {row.arch: row.measured for row in cells if row.arch is not None}
    assert list(by_arch) == [architecture_name(arch) for arch in SPLITS.unseen]
    single = by_arch[architecture_name(odd)]
    assert single is not None and single.mean_return.mean == 0.0


def test_an_unfinished_partition_has_no_mean() -> None:
    cells = _cells(_unseen(count=5))
    row = _mean_row(cells, "nnit")
    assert row.measured is None and (row.finished, row.expected) == (5, 8)
    assert row.reported is not None
    assert len([row for row in cells if row.arch is not None and row.measured is not None]) == 5


def test_seen_is_the_eight_architectures_of_the_split() -> None:
    rows = pa.concat_tables([_rows("nnit", arch) for arch in SPLITS.seen])
    assert _mean_row(_cells(rows), "nnit", "seen").measured is not None
    elsewhere = next(arch for arch in SPLITS.train if arch not in SPLITS.seen)
    more = pa.concat_tables([rows, _rows("nnit", elsewhere, **_returning(0.0))])
    assert _known(_cells(more)) == _known(_cells(rows))


def test_all_architectures_trained_on_are_a_row_when_all_are_there() -> None:
    rows = [_rows("dataset", arch) for arch in SPLITS.train]
    row = _mean_row(_cells(pa.concat_tables(rows)), "dataset", "train")
    assert row.measured is not None and (row.finished, row.expected) == (64, 64)
    assert row.reported is not None and row.reported.values["success"] == 0.98
    row = _mean_row(_cells(pa.concat_tables(rows[1:])), "dataset", "train")
    assert row.measured is None and row.reported is not None


def test_every_row_of_the_paper_is_there_without_a_measurement() -> None:
    cells = _cells(EPISODE_SCHEMA.empty_table())
    assert [(row.partition, row.method) for row in cells] == [
        ("train", "dataset"),
        ("seen", "sane"),
        ("seen", "d2nwg"),
        ("seen", "nnit"),
        ("unseen", "sane"),
        ("unseen", "d2nwg"),
        ("unseen", "nnit"),
    ]
    assert all(row.measured is None and row.reported is not None for row in cells)


def test_baselines_have_no_reported_value_and_follow_the_paper() -> None:
    cells = _cells(pa.concat_tables([_unseen("average"), _unseen()]))
    unseen = [row.method for row in cells if row.partition == "unseen" and row.arch is None]
    assert unseen == ["sane", "d2nwg", "nnit", "average"]
    assert _mean_row(cells, "average").reported is None


def test_order_of_rows_does_not_matter() -> None:
    rows = pa.concat_tables([_unseen(), _unseen("sane", 3)])
    shuffled = rows.take(np.random.default_rng(0).permutation(rows.num_rows))
    assert _known(_cells(shuffled)) == _known(_cells(rows))


def test_several_generator_seeds_have_a_mean_and_rows_of_their_own() -> None:
    rows = pa.concat_tables([_unseen(), _unseen(generator_seed=1, method_sha256="cd" * 32, **_returning(1.0))])
    found = [row for row in _cells(rows) if row.method == "nnit" and row.partition == "unseen" and not row.arch]
    means = {row.generator_seeds: row.measured.mean_return.mean for row in found if row.measured}
    assert means == {(0, 1): 16.75, (0,): 32.5, (1,): 1.0}
    assert [row.reported is not None for row in found] == [True, False, False]
    both = found[0].measured
    assert (
        both is not None and both.mean_return.interval.low == 1.0 and both.mean_return.interval.high > 32
    )  # either may be drawn twice
    text = _printed(rows)
    assert "nnit (2 seeds)" in text and " nnit s1" in text
    partly = pa.concat_tables([_unseen(), _unseen(count=3, generator_seed=1, method_sha256="cd" * 32)])
    (mean, whole, part) = [
        row for row in _cells(partly) if row.method == "nnit" and row.partition == "unseen" and not row.arch
    ]
    assert (mean.finished, mean.expected, mean.measured) == (11, 16, None)
    assert whole.measured is not None and part.measured is None


def test_protocols_never_mix() -> None:
    other = replace(PROTOCOL, version=PROTOCOL.version + 1)
    rows = pa.concat_tables([_unseen(), _unseen("sane", protocol=other)])
    with pytest.raises(TableError, match=rf"{other.short}.*{PROTOCOL.short}.*--results"):
        _cells(rows)
    with pytest.raises(TableError, match=rf"{PROTOCOL.short}.*{other.short}"):
        _cells(_unseen(), other)


def test_differently_trained_methods_of_one_name_never_mix() -> None:
    rows = pa.concat_tables([_unseen(count=5), _rows("nnit", SPLITS.unseen[6], method_sha256="cd" * 32)])
    with pytest.raises(TableError, match=rf"nnit on {TASK}.*{'ab' * 32} and {'cd' * 32}.*--results"):
        _cells(rows)


def test_missing_or_repeated_episodes_are_refused() -> None:
    rows = _unseen()
    for broken in (rows.slice(1), rows.slice(0, rows.num_rows - 1), pa.concat_tables([rows, rows.slice(5, 1)])):
        with pytest.raises(TableError, match="episodes, expected .* run it again"):
            _cells(broken)


def test_test_episodes_of_policies_that_were_not_selected_are_refused() -> None:
    rows = _unseen()
    testing = pc.equal(rows["stage"].cast(pa.string()), "test")
    wrong = pc.if_else(pc.and_(testing, pc.equal(rows["sample"], 4)), 5, rows["sample"]).cast(pa.int16())
    rows = rows.set_column(rows.column_names.index("sample"), EPISODE_SCHEMA.field("sample"), wrong)
    with pytest.raises(TableError, match="80 test episodes, expected 2 policies"):
        _cells(rows)


def test_printed_table_keeps_measured_and_reported_apart() -> None:
    text = _printed(_unseen())
    (line,) = [line for line in text.splitlines() if line.startswith("unseen nnit")]
    interval = r"\[\d+\.\d, \d+\.\d\]"
    assert re.fullmatch(
        rf"unseen nnit 32\.5 {interval} 50\.0 {interval} 100\.0 33\.3 2\.50 2 1 38\.70 ± 0\.36, 99 below",
        " ".join(line.split()),
    )
    (line,) = [line for line in text.splitlines() if line.startswith("unseen sane")]
    assert line.split() == "unseen sane — — — — — — — 3.65 ± 0.41, 1 —".split()
    assert "32-32-16-64" not in text
    for said in (PROTOCOL.short, "40 test episodes", "[low, high]: 95% bootstrap", "2603.00180v1", "not measured here"):
        assert said in " ".join(text.split())


def test_printed_table_refuses_a_mean_and_lists_what_is_there() -> None:
    text = _printed(_unseen(count=5))
    start = next(i for i, line in enumerate(text.splitlines()) if line.startswith("unseen nnit"))
    lines = text.splitlines()[start : start + 7]
    assert lines[0].split()[2:6] == ["—", "5", "of", "8"] and lines[1].split() == ["architectures"]
    assert [line.split()[0] for line in lines[2:]] == [architecture_name(arch) for arch in SPLITS.unseen[:5]]


def test_rows_that_are_not_the_benchmarks_say_so() -> None:
    assert explain_columns("2", [], Protocol()).startswith("Protocol paper (")
    assert explain_columns("2", [], PROTOCOL).startswith("Not the benchmark's protocol")
    assert explain_columns("2", [], Protocol(version=1)).startswith("MEASURED BY VERSION 1 of the protocol")


def test_a_caption_speaks_of_one_training_only_where_there_is_one() -> None:
    one, other = _unseen(), _unseen(generator_seed=1, method_sha256="cd" * 32)
    mixed = [one, other, _unseen("sane", method_sha256="ef" * 32)]
    said = [table2(_cells(rows), PROTOCOL, TASK).caption for rows in (one, *map(pa.concat_tables, (mixed[:2], mixed)))]
    assert ["Intervals do not cover training" in caption for caption in said] == [True, False, False]
    assert ["cover training only in rows that are the mean" in caption for caption in said] == [False, True, True]


def test_what_is_near_to_a_policy_of_the_zoo_in_any_way_is_a_copy() -> None:
    scores = next(iter(_scores(_unseen(count=1)).values()))
    cases = {  # ghn_distance, trained_ratio, action_distance: of spreads 10, 1 and 0.4
        "new": (6.0, 0.6, 0.3),
        "by its weights": (4.0, 0.6, 0.3),
        "without its silent neurons": (6.0, 0.4, 0.3),
        "by its actions, whatever its weights": (60.0, 9.0, 0.1),
        "of an architecture that the zoo has no policy of": (np.nan, np.nan, 0.3),
        "new, but of no use": (6.0, 0.6, 0.3),
    }
    distance, ratio, acts = map(np.array, zip(*cases.values(), strict=True))
    count = len(cases)
    policies = {"ghn_distance": distance, "trained_ratio": ratio, "action_distance": acts}
    policies |= {"ghn_spread": np.full(count, 10.0), "action_spread": np.full(count, 0.4)}
    policies |= {"comparison": np.full(count, COMPARISON)}
    works = np.array([name != "new, but of no use" for name in cases])
    found = replace(scores, works=works, policies=policies).new_and_working
    assert found is not None and found.tolist() == [True, False, False, False, True, False]
    older, unknown = (policies | {"comparison": np.full(count, COMPARISON - age)} for age in (1, 2))
    assert replace(scores, works=works, policies=unknown).new_and_working is None
    assert not replace(scores, works=works, policies=policies).new_at_most
    bound = replace(scores, works=works, policies=older)
    assert bound.new_at_most and bound.new_and_working is not None and bound.new_and_working.tolist() == found.tolist()
    none_works = replace(bound, works=np.zeros(count, bool))
    assert not none_works.new_at_most, "0 is no bound"


def test_a_bound_from_above_is_printed_as_one() -> None:
    estimate = Estimate(0.38, lambda: Interval(0.38, 0.3, 0.45), at_most=True)
    assert point(0, 100)(estimate) == "≤ 38" and estimate.interval == (0.38, 0.0, 0.45)
    assert point(0, 100)(Estimate(0.38)) == "38"


def test_architectures_are_listed_on_request() -> None:
    assert "64-16-16-64" in _printed(_unseen(), per_architecture=True)


def test_printed_table_fits_120_columns() -> None:
    text = _printed(_unseen("copy-plus-noise", success_at_end=True), per_architecture=True)
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    assert any("copy-plus-noise" in line and "100.0 [91.2, 100.0]" in line for line in text.splitlines())


def test_verdicts_know_what_the_paper_rounded_away() -> None:
    measured = Estimate(0.9, lambda: Interval(0.9, 0.88, 0.92))
    assert [verdict(measured, claim) for claim in (0.99, 0.9, 0.86, 0.923, 0.875, None)] == [
        "below",
        "inside",
        "above",
        "inside",
        "inside",
        "no claim",
    ]
    assert verdict(None, 0.9) == "not measured"


def test_lines_carry_measured_bounds_claim_and_verdict() -> None:
    lines = table2(_cells(_unseen()), PROTOCOL, TASK).lines
    unseen, seen = (
        {line.metric: line for line in lines if (line.method, line.split, line.arch) == ("nnit", split, None)}
        for split in ("unseen", "seen")
    )
    (line,) = [
        line
        for line in lines
        if (line.method, line.split, line.arch, line.metric) == ("nnit", "unseen", None, "return")
    ]
    assert (line.measured, line.reported, line.verdict) == (32.5, 38.7, "below")
    assert line.lo is not None and line.hi is not None and line.lo < 32.5 < line.hi
    line = unseen["return"]
    assert (line.measured, line.reported, line.verdict) == (32.5, 38.7, "below")
    assert line.lo is not None and line.hi is not None and line.lo < 32.5 < line.hi
    line = seen["success"]
    assert (line.measured, line.lo, line.reported, line.verdict) == (None, None, 0.98, "not measured")


def test_only_what_is_asked_for_is_bootstrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr("nnbench.analysis.measured.resample", lambda *_, **__: counted.append(1))
    monkeypatch.setattr("nnbench.analysis.measured.reselected_interval", lambda *_: pytest.fail("nobody prints it"))
    cells = _cells(_unseen())
    with pytest.raises(AttributeError):  # None has no interval
        render([table2(cells, PROTOCOL, TASK)], "text", 120)
    assert len(counted) == 1
    assert novelty_table(_novelty(cells), PROTOCOL, "ghn").grid.rows[0][3] == "50.0"
    assert len(counted) == 1, "novelty prints means"


def test_table_4_has_the_papers_architectures_and_baselines_below() -> None:
    rows = pa.concat_tables(
        [_rows("nnit", (32, 32, 16, 64)), _rows("ghn", (32, 32, 16, 64)), _rows("nnit", SPLITS.seen[0])]
    )
    table = table4(single_rows(_scores(rows), TASK, PROTOCOL.top, PAPER_TRACK), PROTOCOL, TASK)
    grid, lines = table.grid, table.lines
    assert [row[0] for row in grid.rows if row[0]] == [
        "32-16-64-32",
        "32-64-16-32",
        "32-32-32-16",
        "64-64-16-32",
        "32-32-16-64",
        "32-32-32-64",
        "32-16-16-16",
        "16-16-16-32",
    ]
    start = next(i for i, row in enumerate(grid.rows) if row[0] == "32-32-16-64")
    assert [row[2] for row in grid.rows[start : start + 2]] == ["nnit", "ghn"] and grid.rows[start + 1][0] == ""
    claims = {line.arch: line.reported for line in lines if line.method == "nnit" and line.metric == "return"}
    assert claims["32-32-16-64"] == 37.75 and claims["32-16-16-16"] == 38.53
    assert {line.split for line in lines if line.arch == "32-16-16-16"} == {"outside"}
    assert max(map(len, render([table], "text", 120).splitlines())) <= 120


def test_table_3_is_of_what_a_method_chose() -> None:
    unmeasured = [row for task in (TASK, "PushCube-v1") for row in joint_rows({}, task, PROTOCOL.top, PAPER_TRACK)]
    lines = table3(unmeasured, PROTOCOL).lines
    assert {line.verdict for line in lines} == {"not measured"} and len(lines) == 4

    rows = _rows("nnit", (16, 16, 16, 32), joint=True)
    archs = ["32-16-64-32", "16-16-16-32", "32-16-64-32", "16-16-16-32", "16-16-16-16", "24-16-16-16"]
    samples = rows["sample"].to_pylist()
    partitions = [SPLITS.partition(tuple(map(int, arch.split("-")))) for arch in archs]
    for name, values in (("arch", archs), ("partition", partitions)):
        position = rows.column_names.index(name)
        rows = rows.set_column(position, EPISODE_SCHEMA.field(name), pa.array([values[s] for s in samples]))
    scores = _scores(pa.concat_tables([rows, _unseen()]))
    table = table3(joint_rows(scores, TASK, PROTOCOL.top, PAPER_TRACK), PROTOCOL)
    grid, lines = table.grid, table.lines
    (line,) = [line for line in lines if line.metric == "return"]
    assert (line.measured, line.reported, line.split) == (32.5, 38.85, "joint")
    assert grid.rows[0][0:2] == [TASK, "nnit"] and grid.rows[0][-1] == "33/33/17/17"
    text = render([table], "text", 120)
    assert max(map(len, text.splitlines())) <= 120 and "…" not in text


def _novelty(cells: list[Row], scores: Mapping[UnitName, Scores] | None = None) -> list[NoveltyRow]:
    return [
        NoveltyRow(row, row.measured, overlap_with_source(row, scores or {}, "ghn"))
        for row in cells
        if row.arch is None and row.measured is not None
    ]


def test_novelty_stands_beside_success() -> None:
    rows = pa.concat_tables([_unseen(), _unseen("ghn", success_at_end=True), _unseen("random", 3)])
    table = novelty_table(_novelty(_cells(rows), _scores(rows)), PROTOCOL, "ghn")
    grid, lines = table.grid, table.lines
    assert "GHN\nseeds" not in grid.headers and "GHN seeds" not in grid.caption
    assert [row[2] for row in grid.rows] == ["nnit", "ghn"]  # no mean over what is not finished
    nnit, ghn = ({line.metric: line.measured for line in lines if line.method == method} for method in ("nnit", "ghn"))
    assert nnit["success"] == 0.5 and nnit["failed_alike"] == 1.0 and nnit["passing"] == 0.0
    assert nnit["failed_as_ghn"] == 0.0  # of its distinct networks none ever fails
    assert ghn["failed_alike"] is None and ghn["ghn_spread"] == 30
    wide = novelty_table(_novelty(_cells(rows), _scores(rows)), PROTOCOL, "ghn", detail=True)
    assert "GHN\nseeds" in wide.grid.headers and "GHN seeds" in wide.grid.caption and wide.lines == lines
    text = render([wide], "text", 120)
    assert max(map(len, text.splitlines())) <= 120 and "…" not in text


def _mean_rows(**costs: Cost | None) -> list[Row]:
    """One row per method, with what its facts say it reads."""
    rows = _cells(pa.concat_tables([_unseen(method) for method in costs]))
    return [replace(_mean_row(rows, name), reads=SHIPPED[name].reads, cost=cost) for name, cost in costs.items()]


def test_cost_stands_beside_success() -> None:
    budget = Budget("nnit", TASK, 0, 3_835_000, 7_230.2, {"processor": "AMD EPYC", "cpus": 2}, {})
    rows = _mean_rows(
        nnit=Cost(0.3, 1.3, lambda: [budget]), sane=Cost(0.05, 1.3, lambda: None), distil=Cost(1.3, 1.3, lambda: ())
    )
    table = cost_table(rows)
    assert [row[3:] for row in table.grid.rows] == [
        ["weights", "AMD EPYC", "50.0", "3,835,000", "7,231", "0.3", "7,231"],
        ["weights", "—", "50.0", "—", "—", "0.05", "—"],
        ["weights, states", "", "50.0", "0", "0", "1.3", "0"],
    ]
    assert "wall seconds" in table.grid.caption and "no seconds of a core" in table.grid.caption
    found = {(line.method, line.metric): line.measured for line in table2(rows, PROTOCOL, TASK).lines}
    assert found["nnit", "training_s"] == 7_230.2 and found["nnit", "generation_s"] == 0.3
    assert found["nnit", "break_even"] == pytest.approx(7_230.2) and found["distil", "break_even"] == 0
    assert ("sane", "break_even") not in found, "what is not known has no line"


def test_rows_are_grouped_by_what_methods_read_the_hard_class_first() -> None:
    rows = _mean_rows(ghn=None, nnit=None, distil=None, random=None)
    table = replace(table2(rows, PROTOCOL, TASK), grouped=True)
    assert [row[:2] for row in table.grid.rows] == [
        ["weights only", ""],
        ["unseen", "nnit"],
        ["unseen", "random"],
        ["weights, states", ""],
        ["unseen", "distil"],
        ["hypernetworks", ""],
        ["unseen", "ghn"],
    ]
    assert table.grid.sections == {3, 5} and "weights only: the hard class" in table.grid.caption
    assert {line.method: line.reads for line in table.lines} == {
        "ghn": "hypernetworks",
        "nnit": "weights",
        "distil": "weights+states",
        "random": "nothing",
    }
    plain = replace(table6({}), grouped=True).grid
    assert "Grouped" not in plain.caption and len(plain.rows) == 1, "rows of no method have no class"


def test_groups_stay_within_their_section() -> None:
    rows = _mean_rows(ghn=None, nnit=None)
    more = [replace(row, partition="joint") for row in rows]
    table = replace(cost_table([*rows, *more]), grouped=True)
    assert [row[1] or row[0] for row in table.grid.rows] == [
        "weights only",
        "unseen",
        "hypernetworks",
        "unseen",
        "weights only",
        "joint",
        "hypernetworks",
        "joint",
    ]
    assert table.grid.rows[1][0] == TASK, "below a heading nothing is left blank"


def test_table_1_sets_both_sides_beside_the_paper() -> None:
    values: dict[str, Any] = {
        "return": 39.0,
        "success_at_end": 0.98,
        "nearest_cosine": 0.1,
        "neighbour_correlation": 0.0,
    }
    rows = [
        values | {"side": side, "seed": seed, "nearest_l2": 40.0 + seed, "seed_alignment": 0.5}
        for side in ("conv1x1", "sgd")
        for seed in range(5)
    ]
    table = table1(rows, TASK)
    grid, lines = table.grid, table.lines
    assert [row[0] for row in grid.rows] == ["conv1x1, 5", "upsample", "sgd, 5"]
    assert grid.rows[0][3] == "42.0 [40.8, 43.2]" and grid.rows[1][1:7] == ["—"] * 6
    assert grid.rows[0][7:] == ["39.35, 99.0", "54.66, 0.07"] and grid.rows[2][7:] == ["39.49, 98.9", "41.73, 0.02"]
    by_metric = {(line.method, line.metric): line for line in lines}
    assert by_metric["conv1x1", "nearest_l2"].verdict == "below" and by_metric["sgd", "nearest_l2"].verdict == "inside"
    assert by_metric["upsample", "return"].verdict == "not measured"
    assert by_metric["sgd", "seed_alignment"].verdict == "no claim"
    assert {line.verdict for line in table1([], TASK).lines} == {"not measured"}


def test_table_6_is_the_mean_and_the_range_over_architectures() -> None:
    rows = [
        {"arch": arch, "nearest_l2": l2, "nearest_cosine": 0.1}
        for arch, l2 in (("a", 40.0), ("a", 44.0), ("b", 60.0), ("c", None))
    ]
    table = table6({TASK: rows, "PushCube-v1": []})
    grid, lines = table.grid, table.lines
    assert grid.rows[0] == [TASK, "3", "51.00 [42.00, 60.00]", "0.10 [0.10, 0.10]", "46.94", "0.17", "inside/below"]
    assert grid.rows[1] == ["PushCube-v1", "—", "—", "—", "49.66", "0.12", "—"]
    assert (lines[0].measured, lines[0].lo, lines[0].hi, lines[0].reported) == (51.0, 42.0, 60.0, 46.94)


def test_methods_are_compared_in_pairs_that_say_something() -> None:
    rows = [_unseen("nnit"), _unseen("sane", success_at_end=False), _unseen("d2nwg", count=7)]
    rows += [_unseen("ghn", success_at_end=True), _unseen("random", success_at_end=False), _unseen("nearest")]
    table = _compared(*rows)
    found = {(line.method, line.against): line for line in table.lines if line.metric == "success"}
    # d2nwg is not finished; nearest is the best baseline, and no other is compared
    assert {pair: line.verdict for pair, line in found.items()} == {
        ("nnit", "ghn"): "worse",
        ("nnit", "nearest"): "undecided",
        ("sane", "ghn"): "worse",
        ("sane", "nearest"): "worse",
        ("nnit", "sane"): "better",
        ("nearest", "ghn"): "worse",
    }
    assert found["nnit", "ghn"].measured == -0.5
    equal = found["nnit", "nearest"]
    assert equal.measured == 0 and equal.lo == equal.hi == 0  # the same outcomes on the same episodes
    assert "sane" in render([table], "text", 120)
    assert render([differences_table([], PROTOCOL)], "text", 120).count("—") == 7


def test_claims_stand_beside_what_was_found() -> None:
    rows = [_unseen("nnit"), _unseen("sane", success_at_end=False), _unseen("random", success_at_end=False)]
    shown = table2(_cells(pa.concat_tables(rows)), PROTOCOL, TASK)
    table = claims_table(list_claims([*shown.lines, *_compared(*rows).lines]), PROTOCOL)
    assert [[row[k] for k in (2, 3, 4, 5, 7)] for row in table.grid.rows] == [
        ["nnit", "85 %", "14", "50.0", "contradicted"],
        ["nnit", "sane", "98", "50.0 − 0.0", "borne out"],
    ]
    assert [line.measured for line in table.lines] == pytest.approx([-0.35, 0.5])
    assert [(line.reported, line.against) for line in table.lines] == [(pytest.approx(0.14), None), (0.98, "sane")]
    assert render([claims_table([], PROTOCOL)], "text", 120).count("—") == 8


def test_a_plugins_role_decides_what_it_is_compared_with() -> None:
    rows = [_unseen("mine", success_at_end=True), _unseen("random", success_at_end=False), _unseen("nnit")]
    shipped = find_facts()

    def pairs(facts: Facts) -> set[tuple[str, str | None]]:
        table = _compared(*rows, methods=Methods(shipped | {"mine": facts}))
        return {(line.method, line.against) for line in table.lines}

    assert pairs(Facts(name="mine")) == {("mine", "random"), ("nnit", "random"), ("nnit", "mine")}
    assert pairs(Facts(name="mine", role="baseline")) == {("nnit", "mine")}, "it is the best baseline"
    trainer = Facts(name="mine", role="baseline", trains_each=True)
    assert pairs(trainer) == {("nnit", "mine"), ("nnit", "random")}, "it and the best that trains nothing"
    assert pairs(Facts(name="mine", trains_each=True)) == pairs(Facts(name="mine"))
    assert pairs(Facts(name="mine", role="source")) == {("nnit", "mine"), ("nnit", "random"), ("random", "mine")}
    assert pairs(Facts(name="mine", role="source", seen_only=True)) == {("nnit", "random")}


def test_a_variant_is_compared_with_what_it_was_made_of() -> None:
    lines = _compared(*map(_unseen, ("d2nwg", "d2nwg_grid", "sane_mz", "row_dit"))).lines
    assert {(line.method, line.against) for line in lines} == {("d2nwg_grid", "d2nwg")}
    lines = _compared(*map(_unseen, ("nnit", "row_dit"))).lines
    assert {(line.method, line.against) for line in lines} == {("nnit", "row_dit")}


def test_the_interval_of_a_difference_does_not_depend_on_which_other_methods_have_rows() -> None:
    uneven = _unseen("nnit", success_at_end=True), _unseen("sane")
    alone, beside = (
        _compared(*uneven, *others).lines for others in ([], [_unseen("d2nwg"), _unseen("ghn"), _unseen("nearest")])
    )
    assert [line for line in beside if (line.method, line.against) == ("nnit", "sane")] == alone != []
