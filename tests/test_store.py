import errno
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nnbench.protocol import Protocol, Unit
from nnbench.store.checkpoints import Budget
from nnbench.store.errors import StoreError
from nnbench.store.folder import manifest_bytes
from nnbench.store.schemas import (
    COMPARISON,
    EPISODE_SCHEMA,
    POLICY_SCHEMA,
    ROLLOUT_SCHEMA,
    conform,
    fill_rare,
    parquet_bytes,
)
from nnbench.store.store import Store
from nnbench.tasks.files import write_bytes, write_json
from nnbench.tasks.integrity import DamagedError, content_sha256, parse_sealed, seal
from nnbench.tasks.policies.mlp import Weights, random_policy, weights_sha256

PROTOCOL = Protocol(samples=4, top=2, selection_episodes=3, screening_episodes=2, test_episodes=5)
UNIT = Unit(
    protocol=PROTOCOL,
    task="PickCube-v1",
    method="nnit",
    method_sha256="ab" * 32,
    generator_seed=0,
    arch=(32, 32, 16, 64),
)


def _weights(unit: Unit = UNIT) -> list[Weights]:
    generator = torch.Generator().manual_seed(0)
    arch = unit.arch or (32, 32, 16, 64)
    policies = [random_policy(arch, 6, 2, generator) for _ in range(unit.protocol.samples - 1)]
    return [*policies, policies[0]]  # a generator may write the same network twice


def _rows(unit: Unit = UNIT) -> pa.Table:
    protocol, rng = unit.protocol, np.random.default_rng(0)
    hashes = [weights_sha256(policy) for policy in _weights(unit)]
    episodes = [(sample, "selection", seed) for sample in range(protocol.samples) for seed in protocol.selection_seeds]
    episodes += [(sample, "test", seed) for sample in range(protocol.top) for seed in protocol.test_seeds]
    return pa.Table.from_pylist(
        [
            {
                "protocol": protocol.short,
                "task": unit.task,
                "method": unit.method,
                "method_sha256": unit.method_sha256,
                "generator_seed": unit.generator_seed,
                "track": unit.track,
                "joint": unit.arch is None,
                "arch": "-".join(map(str, unit.arch or (32, 32, 16, 64))),
                "partition": "unseen",
                "sample": sample,
                "weights_sha256": hashes[sample],
                "stage": stage,
                "episode_seed": seed,
                "return": float(rng.random()),
                "success_once": True,
                "success_at_end": bool(rng.random() < 0.5),
                "selected": sample < protocol.top,
                "rank": sample if sample < protocol.top else -1,
                "diverged": False,
            }
            for sample, stage, seed in episodes
        ]
    )


def _policies(unit: Unit = UNIT) -> pa.Table:
    of_samples = {row["sample"]: row for row in _rows(unit).to_pylist()}
    shared = [name for name in POLICY_SCHEMA.names if name in EPISODE_SCHEMA.names]
    measured: dict[str, float | str] = {
        "ghn_seed": 7,
        "comparison": COMPARISON,
        "ghn_distance": 0.5,
        "ghn_spread": 30.0,
        "other_l2": 0.0,
        "other_cosine": 1.0,
        "effective_arch": "16-16-16-32",
    }
    measured |= {"action_arch": "16-16-16-64", "action_seed": 7, "action_distance": 0.1, "action_spread": 0.2}
    top = list(range(unit.protocol.top))
    return pa.Table.from_pylist(
        [
            {name: of_samples[sample][name] for name in shared}
            | measured
            | ({"top_l2": [0.0] * len(top), "top_cosine": [1.0] * len(top)} if sample in top else {})
            for sample in range(unit.protocol.samples)
        ],
        POLICY_SCHEMA,
    )


def _written(root: Path, unit: Unit = UNIT) -> Store:
    store = Store(root)
    store.write(unit, _rows(unit), _policies(unit), _weights(unit), {"wall_s": {"generate": 1.5}})
    return store


def _info(store: Store, unit: Unit) -> dict[str, Any]:
    (manifest,) = (found for found in store.manifests() if found["unit"] == unit.fields)
    return dict(manifest["info"])


def _replace_column(rows: pa.Table, name: str, values: list[Any]) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, pa.array(values))


def test_a_unit_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store = _written(tmp_path / "new" / "runs")
    assert store.finished(UNIT)
    rows = store.rows()
    assert rows.schema.equals(EPISODE_SCHEMA)
    assert rows.equals(_rows().cast(EPISODE_SCHEMA))
    assert store.policies().equals(_policies())
    weights = store.weights(UNIT)
    assert [list(policy) for policy in weights] == [list(policy) for policy in _weights()]  # layer order
    assert [weights_sha256(policy) for policy in weights] == [weights_sha256(policy) for policy in _weights()]


def test_manifest_says_where_the_numbers_come_from(tmp_path: Path) -> None:
    (manifest,) = _written(tmp_path).manifests()
    assert manifest["unit"] == UNIT.fields
    assert manifest["info"] == {"wall_s": {"generate": 1.5}}
    assert {"python", "nnbench", "torch", "mani_skill"} <= manifest["versions"].keys()
    assert manifest["sha256"].keys() == {
        f"{UNIT.key}.parquet",
        f"{UNIT.key}.policies.parquet",
        f"{UNIT.key}.safetensors",
    }
    assert {"machine", "command", "created"} <= manifest.keys() and len(manifest["sources_sha256"]) == 64
    assert {"processor", "model", "cpus", "threads", "load"} <= manifest["machine"].keys()


def test_equal_units_are_equal_files(tmp_path: Path) -> None:
    first, second = _written(tmp_path / "a"), _written(tmp_path / "b")
    assert first.manifests()[0]["sha256"] == second.manifests()[0]["sha256"]


def test_nothing_is_finished_before_it_is_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "absent")
    assert not store.finished(UNIT)
    assert store.manifests() == []
    assert store.rows().num_rows == 0 and store.rows().schema.equals(EPISODE_SCHEMA)
    with pytest.raises(StoreError, match="run it first"):
        store.weights(UNIT)


@pytest.mark.parametrize("replacements", [0, 1, 2, 3])
def test_a_writer_killed_half_way_leaves_nothing_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacements: int
) -> None:
    done: list[str] = []

    def killed(source: Path, target: Path) -> None:
        if len(done) == replacements:
            raise KeyboardInterrupt
        done.append(str(target))
        os.rename(source, target)

    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            store.write(UNIT, _rows(), _policies(), _weights(), {})
    assert [Path(target).suffix for target in done] == [".safetensors", ".parquet", ".parquet"][:replacements]
    assert not list(tmp_path.glob(".*"))
    assert not store.finished(UNIT) and store.rows().num_rows == 0
    store.write(UNIT, _rows(), _policies(), _weights(), {})
    assert store.finished(UNIT)


def test_a_rewrite_killed_half_way_is_unfinished_and_not_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _written(tmp_path)
    changed = _replace_column(_rows(), "return", [1.0] * _rows().num_rows)

    def killed(source: Path, target: Path) -> None:
        if target.suffix == ".json":
            raise KeyboardInterrupt
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store.write(UNIT, changed, _policies(), _weights(), {})
    assert not store.finished(UNIT) and store.rows().num_rows == 0


def test_leftover_temporary_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / f".{UNIT.key}.json.1.tmp").write_bytes(b"{")
    (tmp_path / f".{UNIT.key}.parquet.1.tmp").write_bytes(b"PAR1")
    store = Store(tmp_path)
    assert not store.finished(UNIT) and store.rows().num_rows == 0


@pytest.mark.parametrize("kind", ["parquet", "policies.parquet", "safetensors"])
def test_a_truncated_file_is_named_with_the_remedy(tmp_path: Path, kind: str) -> None:
    store = _written(tmp_path)
    path = tmp_path / f"{UNIT.key}.{kind}"
    path.write_bytes(path.read_bytes()[:-100])
    assert not store.finished(UNIT)
    with pytest.raises(
        DamagedError, match=rf"{path.name}: missing or changed.*delete {path.name} and run the unit again"
    ):
        {"parquet": store.rows, "policies.parquet": store.policies}.get(kind, lambda: store.weights(UNIT))()
    path.unlink()
    assert not store.finished(UNIT)
    assert store.rows().num_rows == (0 if kind == "parquet" else _rows().num_rows)
    if kind == "policies.parquet":
        with pytest.raises(DamagedError, match="missing or changed"):
            store.policies()


def test_a_broken_manifest_is_named_with_the_remedy(tmp_path: Path) -> None:
    store = _written(tmp_path)
    path = tmp_path / f"{UNIT.key}.json"
    path.write_text(path.read_text()[:50])
    for read in (store.rows, store.manifests, lambda: store.finished(UNIT)):
        with pytest.raises(DamagedError, match=rf"{path.name}: not what was written .*delete {path.name}"):
            read()


@pytest.mark.parametrize(
    "wrong",
    [{"versions": None}, {"machine": "x"}, {"created": 3}, {"command": [3]}, {"info": {"wall_s": {"test": "x"}}}],
)
def test_what_is_stated_of_an_origin_has_its_types(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """A report joins and adds it up, also of a manifest that somebody edited and sealed again."""
    store = _written(tmp_path)
    path = tmp_path / f"{UNIT.key}.json"
    write_json(path, seal(parse_sealed(path.read_bytes()) | wrong))
    with pytest.raises(DamagedError, match=rf"{path.name}: not what was written"):
        store.manifests()


def test_rows_are_chosen_by_unit(tmp_path: Path) -> None:
    store = _written(tmp_path)
    other = replace(UNIT, method="sane", generator_seed=1, protocol=replace(PROTOCOL, test_episodes=6))
    _written(tmp_path, other)
    n, m = _rows().num_rows, _rows(other).num_rows
    assert store.rows().num_rows == n + m
    assert store.rows(method="sane").num_rows == m
    assert store.rows(protocol=PROTOCOL).num_rows == n
    assert store.rows(task="PickCube-v1", generator_seed=0).num_rows == n
    assert store.rows(task="PushCube-v1").num_rows == 0


def test_a_corrupt_unit_does_not_block_a_choice_of_others(tmp_path: Path) -> None:
    store = _written(tmp_path)
    other = replace(UNIT, method="sane")
    _written(tmp_path, other)
    (tmp_path / f"{other.key}.parquet").write_bytes(b"")
    assert store.rows(method="nnit").num_rows == _rows().num_rows


def test_rows_can_be_published_without_weights(tmp_path: Path) -> None:
    store = _written(tmp_path)
    (tmp_path / f"{UNIT.key}.safetensors").unlink()
    assert store.rows().num_rows == _rows().num_rows


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("protocol", "0" * 12, "column protocol"),
        ("method_sha256", "cd" * 32, "column method_sha256"),
        ("arch", "16-16-16-32", "column arch"),
        ("partition", "train", "column partition"),
        ("selected", True, "4 samples are selected, expected 2"),
        ("episode_seed", 1_000_000, "screening episodes, expected each"),
        ("weights_sha256", "0" * 64, "are not about the samples"),
        ("joint", True, "column joint"),
        ("sample", 70_000, "do not fit the schema"),
        ("return", None, "do not fit the schema"),
    ],
)
def test_rows_of_something_else_are_refused(tmp_path: Path, name: str, value: Any, message: str) -> None:
    rows = _replace_column(_rows(), name, [value] * _rows().num_rows)
    with pytest.raises(StoreError, match=message):
        Store(tmp_path).write(UNIT, rows, _policies(), _weights(), {})
    assert not list(tmp_path.iterdir())


def test_incomplete_units_are_refused(tmp_path: Path) -> None:
    store, rows = Store(tmp_path), _rows()
    for part, weights, message in (
        (rows.slice(1), _weights(), "7 screening episodes"),
        (rows.slice(0, rows.num_rows - 1), _weights(), "9 test episodes"),
        (pa.concat_tables([rows, rows.slice(0, 1)]), _weights(), "9 screening episodes"),
        (rows.drop_columns("rank"), _weights(), r"lack \['rank'\]"),
        (rows, _weights()[1:], "weights of 3 samples, expected 4"),
    ):
        with pytest.raises(StoreError, match=message):
            store.write(UNIT, part, _policies(), weights, {})
    assert not store.finished(UNIT)


def test_policies_of_something_else_are_refused(tmp_path: Path) -> None:
    policies = _policies()
    for part, message in (
        (policies.slice(1), "are not about the samples"),
        (_replace_column(policies, "rank", [-1] * 4), "are not about the samples"),
        (policies.drop_columns("ghn_seed"), r"lack \['ghn_seed'\]"),
    ):
        with pytest.raises(StoreError, match=message):
            Store(tmp_path).write(UNIT, _rows(), part, _weights(), {})
    other = _weights(replace(UNIT, arch=(16, 16, 16, 32)))
    with pytest.raises(StoreError, match="sample 0 state weights"):
        Store(tmp_path).write(UNIT, _rows(), policies, other, {})
    assert not list(tmp_path.iterdir())


def test_a_unit_whose_method_chose_the_architectures(tmp_path: Path) -> None:
    unit = replace(UNIT, arch=None)
    archs = [(32, 32, 16, 64), (16, 16, 16, 32), (32, 32, 16, 64), (16, 48, 16, 32)]
    weights = [random_policy(arch, 6, 2, torch.Generator().manual_seed(i)) for i, arch in enumerate(archs)]

    def of_samples(table: pa.Table) -> pa.Table:
        samples = table["sample"].to_pylist()
        table = _replace_column(table, "weights_sha256", [weights_sha256(weights[s]) for s in samples])
        table = _replace_column(table, "arch", ["-".join(map(str, archs[s])) for s in samples])
        return _replace_column(table, "partition", [["unseen", "unseen", "unseen", "other"][s] for s in samples])

    base = replace(UNIT)
    rows, policies = (
        of_samples(_replace_column(table, "joint", [True] * table.num_rows)) for table in (_rows(base), _policies(base))
    )
    store = Store(tmp_path)
    store.write(unit, rows, policies, weights, {})
    assert store.finished(unit) and "-joint-s0-" in unit.key
    (manifest,) = store.manifests()
    assert Unit.from_fields(manifest["unit"]) == unit
    assert [weights_sha256(found) for found in store.weights(unit)] == [weights_sha256(w) for w in weights]
    with pytest.raises(StoreError, match="column joint"):
        store.write(UNIT, rows, policies, weights, {})


def _full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_and_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", _full_disk)
    store = Store(tmp_path)
    with pytest.raises(
        OSError, match=rf"{UNIT.key}.safetensors: could not be written \(No space left.*free some space"
    ):
        store.write(UNIT, _rows(), _policies(), _weights(), {})
    with pytest.raises(OSError, match="could not be written"):
        store.journal(UNIT).append(_episodes(0, 3))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def _episodes(start: int, stop: int) -> pa.Table:
    return _rows().select(ROLLOUT_SCHEMA.names).slice(start, stop - start)


def test_two_processes_that_finish_one_unit_at_once_leave_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's rows, which differ, come between our rows and our manifest."""
    store, others = Store(tmp_path), 0
    column = _rows().column_names.index("return")
    theirs = _rows().set_column(column, "return", pa.array(np.full(_rows().num_rows, 0.5)))

    def write(path: Path, content: bytes) -> None:
        nonlocal others
        write_bytes(path, content)
        if path.suffix == ".parquet" and others == 0:
            others = 1
            store.write(UNIT, theirs, _policies(), _weights(), {"whose": "theirs"})

    monkeypatch.setattr("nnbench.store.store.write_bytes", write)
    store.write(UNIT, _rows(), _policies(), _weights(), {"whose": "ours"})
    assert others == 1 and store.finished(UNIT)
    rows = _conformed(_rows() if store.manifests()[0]["info"]["whose"] == "ours" else theirs)
    assert store.unit_rows(UNIT).equals(rows)


def _conformed(rows: pa.Table) -> pa.Table:
    return fill_rare(rows, EPISODE_SCHEMA).select(EPISODE_SCHEMA.names).cast(EPISODE_SCHEMA)


def test_partial_results_are_no_rows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.journal(UNIT).append(_episodes(0, 3))
    assert store.rows().num_rows == 0 and not store.finished(UNIT)


def test_merging_copies_what_is_new_and_refuses_a_contradiction(tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    other = replace(UNIT, arch=(16, 16, 16, 32))
    here.write(UNIT, _rows(), _policies(), _weights(), {})
    there.write(UNIT, _rows(), _policies(), _weights(), {})
    there.write(other, _rows(other), _policies(other), _weights(other), {"wall_s": {"test": 1}})
    (there.root / f"{other.key}.safetensors").unlink()  # published without its weights
    assert here.merge(there) == (1, 1)
    assert here.merge(there) == (0, 2)
    assert {Unit.from_fields(m["unit"]) for m in here.manifests()} == {UNIT, other}
    assert _info(here, other)["wall_s"] == {"test": 1} and here.unit_rows(other).equals(there.unit_rows(other))

    returns = pa.array(np.full(_rows().num_rows, 3.0, np.float32))
    position = EPISODE_SCHEMA.get_field_index("return")
    third = Store(tmp_path / "third")
    third.write(
        UNIT, _rows().set_column(position, EPISODE_SCHEMA.field("return"), returns), _policies(), _weights(), {}
    )
    with pytest.raises(StoreError, match="are the same unit with different results"):
        here.merge(third)


def test_published_units_are_read_from_archives(tmp_path: Path) -> None:
    ours, published = Store(tmp_path / "ours"), tmp_path / "published"
    other = replace(UNIT, arch=(16, 16, 16, 32))
    ours.write(UNIT, _rows(), _policies(), _weights(), {})
    assert ours.publish(published) == (1, 0)
    ours.write(other, _rows(other), _policies(other), _weights(other), {"wall_s": {"test": 1}})
    assert ours.publish(published) == (1, 1)
    assert ours.publish(published) == (0, 2)
    assert [path.name for path in published.iterdir()] == [f"{UNIT.method}-{UNIT.task}.tar.xz"]

    theirs = Store(published)
    assert theirs.keys() == ours.keys() and theirs.manifests() == ours.manifests()
    assert theirs.rows().equals(ours.rows()) and theirs.policies().equals(ours.policies())
    assert theirs.unit_rows(other).equals(ours.unit_rows(other)) and _info(theirs, other) == _info(ours, other)
    assert not theirs.finished(UNIT)
    with pytest.raises(StoreError, match="no weights are stored"):
        theirs.weights(UNIT)

    copied = Store(tmp_path / "copied")
    assert copied.merge(theirs) == (2, 0)
    assert copied.rows().equals(ours.rows())


def test_weights_of_the_tested_networks_are_published_when_asked_for(tmp_path: Path) -> None:
    ours, plain, full = _written(tmp_path / "ours"), tmp_path / "plain", tmp_path / "full"
    assert ours.publish(full, weights=True) == (1, 0)
    theirs = Store(full)
    assert [weights_sha256(policy) for policy in theirs.tested_weights(UNIT).values()] == [
        weights_sha256(policy) for policy in _weights()[: PROTOCOL.top]
    ]
    assert list(theirs.tested_weights(UNIT)) == list(ours.tested_weights(UNIT)) == [0, 1]
    assert theirs.rows().equals(ours.rows())
    (manifest,), (own,) = theirs.manifests(), ours.manifests()
    assert manifest["sha256"].keys() - own["sha256"].keys() == {f"{UNIT.key}.tested.safetensors"}

    ours.publish(plain)
    (archive,) = plain.iterdir()
    without = archive.read_bytes()
    with pytest.raises(StoreError, match="no weights are stored"):
        Store(plain).tested_weights(UNIT)
    assert ours.publish(plain) == (0, 1) and archive.read_bytes() == without
    assert ours.publish(plain, weights=True) == (1, 0)
    assert archive.read_bytes() == (full / archive.name).read_bytes()
    assert ours.publish(plain, weights=True) == (0, 1) == ours.publish(plain)
    assert archive.read_bytes() == (full / archive.name).read_bytes()


def test_published_weights_are_merged_and_published_again(tmp_path: Path) -> None:
    ours, published = _written(tmp_path / "ours"), tmp_path / "published"
    ours.publish(published, weights=True)
    copied = Store(tmp_path / "copied")
    assert copied.merge(Store(published)) == (1, 0)
    assert list(copied.tested_weights(UNIT)) == [0, 1]
    copied.publish(tmp_path / "again", weights=True)
    (first,), (second,) = published.iterdir(), (tmp_path / "again").iterdir()
    assert first.read_bytes() == second.read_bytes()
    assert ours.merge(Store(published)) == (0, 1)


def test_weights_that_are_not_stored_are_not_published(tmp_path: Path) -> None:
    store = _written(tmp_path / "ours")
    (store.root / f"{UNIT.key}.safetensors").unlink()
    with pytest.raises(StoreError, match="no weights are stored for this unit; run it again, or publish without"):
        store.publish(tmp_path / "published", weights=True)
    assert not (tmp_path / "published").exists()


def test_another_result_of_a_published_unit_is_refused(tmp_path: Path) -> None:
    ours, published = Store(tmp_path / "ours"), tmp_path / "published"
    ours.write(UNIT, _rows(), _policies(), _weights(), {})
    ours.publish(published)
    (archive,) = published.iterdir()
    before = archive.read_bytes()
    returns = pa.array(np.full(_rows().num_rows, 3.0, np.float32))
    position = EPISODE_SCHEMA.get_field_index("return")
    changed = _rows().set_column(position, EPISODE_SCHEMA.field("return"), returns)
    ours.write(UNIT, changed, _policies(), _weights(), {})
    with pytest.raises(StoreError, match="are the same unit with different results"):
        ours.publish(published)
    assert archive.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_damaged_archive_is_named_with_the_remedy(tmp_path: Path, kept: float) -> None:
    ours, published = Store(tmp_path / "ours"), tmp_path / "published"
    ours.write(UNIT, _rows(), _policies(), _weights(), {})
    ours.publish(published)
    (archive,) = published.iterdir()
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DamagedError, match=rf"{archive.name}: not what was written .*fetch the archive again"):
        Store(published).rows()


def test_units_under_way_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.unfinished() == {}
    store.journal(UNIT).append(_rows().select(ROLLOUT_SCHEMA.names).slice(0, 5))
    store.journal(UNIT).append(_rows().select(ROLLOUT_SCHEMA.names).slice(5, 2))
    assert store.unfinished() == {UNIT.key: 7}


def test_the_protocol_of_a_folder_is_known_or_asked_for(tmp_path: Path) -> None:
    store, other = Store(tmp_path), replace(UNIT, protocol=replace(PROTOCOL, version=PROTOCOL.version + 1))
    assert store.protocol() == Protocol()
    store.write(UNIT, _rows(), _policies(), _weights(), {})
    assert store.protocol() == PROTOCOL
    store.write(other, _rows(other), _policies(other), _weights(other), {})
    assert store.protocol(other.protocol.short[:6]) == other.protocol
    both = ", ".join(sorted([PROTOCOL.short, other.protocol.short]))
    with pytest.raises(StoreError, match=f"2 protocols match '', of {both}; name one"):
        store.protocol()
    with pytest.raises(StoreError, match="0 protocols match 'xyz'"):
        store.protocol("xyz")


def test_weights_of_another_version_of_the_protocol_are_refused(tmp_path: Path) -> None:
    older = replace(UNIT, protocol=replace(UNIT.protocol, version=UNIT.protocol.version - 1))
    with pytest.raises(StoreError, match="of the protocol, which read observations in another way"):
        _written(tmp_path, older).weights(older)


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    store = _written(tmp_path)
    _written(tmp_path, replace(UNIT, method="sane", generator_seed=1))
    names = ["method", "generator_seed", "return", "stage"]
    whole, part = store.rows(), store.rows(columns=names)
    assert set(part.column_names) == set(names) and part.equals(whole.select(part.column_names))
    assert store.policies(columns=["method"]).equals(store.policies().select(["method"]))


def test_distances_of_rows_that_compared_weights_in_another_way_are_not_read(tmp_path: Path) -> None:
    """Older rows have no column that says how weights were compared."""
    store = _written(tmp_path)
    assert set(store.policies(columns=["ghn_distance"])["ghn_distance"].to_pylist()) == {0.5}
    path = tmp_path / f"{UNIT.key}.policies.parquet"
    older = parquet_bytes(pq.read_table(path).drop_columns(["comparison"]))
    path.write_bytes(older)
    manifest = tmp_path / f"{UNIT.key}.json"
    fields = parse_sealed(manifest.read_bytes())
    fields["sha256"][path.name] = content_sha256(older)
    manifest.write_bytes(manifest_bytes(fields))
    read = pq.read_table(path)
    assert "comparison" not in read.column_names
    for found in (Store(tmp_path).policies(), conform(read, POLICY_SCHEMA, "rows")):
        assert np.isnan(found["ghn_distance"].to_numpy()).all() and np.isnan(found["ghn_spread"].to_numpy()).all()
        assert set(found["trained_ratio"].to_pylist()) == set(found["mutual_distance"].to_pylist()) == {None}
        assert set(found["other_cosine"].to_pylist()) == {1.0} and set(found["comparison"].to_pylist()) == {1}
    part = Store(tmp_path).policies(columns=["ghn_distance", "action_distance"])
    assert np.isnan(part["ghn_distance"].to_numpy()).all() and not np.isnan(part["action_distance"].to_numpy()).any()


def test_columns_of_a_published_file_are_those_that_it_holds(tmp_path: Path) -> None:
    """Some columns are taken from the manifest instead: they are what the file says."""
    store = _written(tmp_path)
    stored = pq.read_table(tmp_path / f"{UNIT.key}.parquet")
    assert store.rows().equals(_conformed(stored)) and store.unit_rows(UNIT).equals(_conformed(stored))


def test_an_archive_is_decompressed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _written(tmp_path / "ours").publish(tmp_path / "published")
    rows = Store(tmp_path / "published").rows()
    monkeypatch.setattr("lzma.LZMADecompressor", None)
    assert Store(tmp_path / "published").rows().equals(rows) and rows.num_rows == _rows().num_rows


def test_reading_imports_no_torch(tmp_path: Path) -> None:
    _written(tmp_path)
    program = (
        "import pathlib, sys; from nnbench.store.store import Store\n"
        "from nnbench.store import alignment, roundtrip\n"
        "store = Store(pathlib.Path(sys.argv[1])); store.protocol(), store.policies()\n"
        "print(store.rows().num_rows, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(_rows().num_rows), "False"]


def test_facts_of_the_method_are_kept(tmp_path: Path) -> None:
    store = _written(tmp_path)
    assert "facts" not in store.manifests()[0]
    facts = {"name": "nnit", "role": "generator"}
    store.write(UNIT, _rows(), _policies(), _weights(), {}, facts)
    assert store.manifests()[0]["facts"] == facts and "trained" not in store.manifests()[0]


def test_what_training_cost_is_kept(tmp_path: Path) -> None:
    budget = Budget("nnit", UNIT.task, 0, 1000, 3.5, {"processor": "a"}, {"width": 8})
    Store(tmp_path).write(UNIT, _rows(), _policies(), _weights(), {}, None, budget)
    (manifest,) = Store(tmp_path).manifests()
    assert Budget(**manifest["trained"]) == budget
    path = tmp_path / f"{UNIT.key}.json"
    path.write_bytes(manifest_bytes({**parse_sealed(path.read_bytes()), "trained": {"seconds": 1.0}}))
    with pytest.raises(DamagedError, match=re.escape(path.name)):
        Store(tmp_path).manifests()
