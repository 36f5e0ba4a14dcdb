"""What `nnbench verify` finds in archives that somebody changed, with hashes that fit."""

import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from helpers import run_command

import nnbench
from nnbench.harness.evaluation import simulate
from nnbench.harness.novelty import Novelty
from nnbench.protocol import Protocol, Unit
from nnbench.store.archive import read_archive, write_archive
from nnbench.store.schemas import EPISODE_SCHEMA, POLICY_SCHEMA, conform, parquet_bytes
from nnbench.store.store import Store
from nnbench.tasks.files import parse_parquet
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.zoo import Zoo
from nnbench.verifying import Verified

ARCH = (16, 16, 16, 32)
PROTOCOL = Protocol(samples=6, top=2, selection_episodes=6, screening_episodes=3, test_episodes=5)
UNIT = Unit(protocol=PROTOCOL, task="PickCube-v1", method="mixed", method_sha256="0" * 64, generator_seed=0, arch=ARCH)
Rows = list[dict[str, Any]]


class Mixed:
    """Good policies, useless ones, and a copy of the first."""

    def __init__(self, zoo: Zoo) -> None:
        good = list(zoo.hypernetwork_policies(ARCH).values())[:2]
        bad = [{key: torch.zeros_like(value) for key, value in good[0].items()} for _ in range(3)]
        for i, weights in enumerate(bad):
            weights["8.bias"] += 0.01 * i  # stands still, or almost
        self.samples: list[Weights] = [*bad[:2], *good, bad[2], bad[0]]

    def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
        return self.samples


@pytest.fixture(scope="module")
def published(simulator: Simulator, zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with one unit of the real simulator."""
    folder = tmp_path_factory.mktemp("published")
    simulate(UNIT, Mixed(zoo), simulator, Store(folder / "runs")).write(Novelty(zoo), Store(folder / "runs"))
    Store(folder / "runs").publish(folder, weights=True)
    (archive,) = folder.glob("*.tar.xz")
    return archive


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _forge(
    archive: Path,
    target: Path,
    episodes: Callable[[Rows], Rows] = lambda rows: rows,
    policies: Callable[[Rows], Rows] = lambda rows: rows,
    files: Callable[[dict[str, bytes]], None] = lambda files: None,
) -> Path:
    """The archive with other rows or files, and a manifest whose hashes fit."""
    content = dict(read_archive(archive))
    for suffix, schema, change in (
        ("parquet", EPISODE_SCHEMA, episodes),
        ("policies.parquet", POLICY_SCHEMA, policies),
    ):
        name = f"{UNIT.key}.{suffix}"
        rows = conform(parse_parquet(content[name]), schema, name).to_pylist()
        content[name] = parquet_bytes(pa.Table.from_pylist(change(rows), schema))
    files(content)
    if content[f"{UNIT.key}.json"].startswith(b"{"):
        manifest = json.loads(content[f"{UNIT.key}.json"])
        manifest["sha256"] |= {name: _hash(content[name]) for name in manifest["sha256"] if name in content}
        manifest.pop("checksum", None)
        content[f"{UNIT.key}.json"] = json.dumps(manifest).encode()
    write_archive(target / archive.name, content)
    return target / archive.name


def _verify(archive: Path, **options: Any) -> list[Verified]:
    return list(nnbench.verify(archive, **({"rollouts": 0, "workers": 1} | options)))


def _failure(archive: Path, **options: Any) -> str:
    (failure,) = [line for verified in _verify(archive, **options) for line in verified.failures]
    return failure


@pytest.mark.slow
def test_what_was_measured_is_measured_again(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in published.parent.rglob("*")}
    unit, mean = _verify(published, rollouts=2)
    assert unit.name == UNIT.key and unit.tested == PROTOCOL.top and unit.source == published
    assert [repeated.episodes for repeated in unit.repeated] == [5, 5]
    assert sum(repeated.equal for repeated in unit.repeated) == 10, "this machine made the rows"
    assert mean.name == UNIT.task and mean.repeated[0].episodes == 10
    assert not unit.failures and not mean.failures
    assert str(unit).startswith(f"ok     {UNIT.key}: weights of 2 samples; 2 networks rolled out again: return ")
    assert {path: path.stat().st_mtime_ns for path in published.parent.rglob("*")} == before
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_better_test_episodes_than_the_networks_run_are_found_by_rolling_out(published: Path, tmp_path: Path) -> None:
    def better(rows: Rows) -> Rows:
        tested = {"return": 5.0, "success_once": False, "success_at_end": False}
        return [row | tested if row["stage"] == "test" else row for row in rows]

    forged = _forge(published, tmp_path, better)
    assert [verified.failures for verified in _verify(forged)] == [[]]
    unit, mean = _verify(forged, rollouts=2)
    assert len(unit.failures) == 2 and "further apart than rounding explains" in unit.failures[0]
    assert "made with {'python'" in unit.failures[0] and len(mean.failures) == 1


def test_an_archive_without_weights_and_a_folder_are_verified(published: Path, tmp_path: Path) -> None:
    runs = published.parent / "runs"
    Store(runs).publish(tmp_path)
    (plain,) = _verify(tmp_path, rollouts=3)
    assert not plain.failures and not plain.repeated and str(plain) == f"ok     {UNIT.key}: no weights"
    (loose,) = _verify(runs)
    assert not loose.failures and loose.tested == PROTOCOL.top


def _swap_ranks(rows: Rows) -> Rows:
    return [row | {"rank": {0: 1, 1: 0, -1: -1}[row["rank"]]} for row in rows]


def _set(**values: Any) -> Callable[[Rows], Rows]:
    """Values of the first row of the best."""

    def change(rows: Rows) -> Rows:
        first = next(i for i, row in enumerate(rows) if row["rank"] == 0)
        return [row | (values if i == first else {}) for i, row in enumerate(rows)]

    return change


def _all(**values: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [row | values for row in rows]


def _screened_out_too_early(rows: Rows) -> Rows:
    return [row if row["rank"] >= 0 else row | {"return": 49.0} for row in rows]


def _copies_differ(rows: Rows) -> Rows:
    return [row | ({"return": row["return"] + 0.5} if row["sample"] == 5 else {}) for row in rows]


def _other_seed(rows: Rows) -> Rows:
    extra = next(row for row in rows if row["rank"] < 0) | {"episode_seed": PROTOCOL.selection_seeds.stop + 7}
    return [*rows, extra]


@pytest.mark.parametrize(
    ("episodes", "policies", "message"),
    [
        (_swap_ranks, _swap_ranks, "its top are the samples"),
        (_set(**{"return": 60.0}), None, "1 returns outside 0 to 50"),
        (_set(**{"return": float("nan")}), None, "1 returns outside 0 to 50"),
        (_set(success_once=False, success_at_end=True), None, "1 episodes solved at the end and never"),
        (None, _set(other_cosine=1.5), "1 other_cosine outside -1 to 1"),
        (None, _set(ghn_distance=-1.0), "1 negative ghn_distance"),
        (_all(partition="train"), _all(partition="train"), "column partition holds"),
        (lambda rows: rows[:20], None, "20 episodes of 6 samples, expected at least"),
        (lambda rows: rows[:-1], None, "17 screening episodes, expected each of"),
        (lambda rows: [*rows[:-1], rows[0]], None, "episodes, expected each of"),
        (None, lambda rows: rows[:-1], "of 5 samples, expected"),
        (_screened_out_too_early, None, "selection episodes are missing that could change the top"),
        (_copies_differ, None, "samples of equal weights scored differently"),
        (_other_seed, None, "or the protocol has no such episode"),
        (_set(method="another"), None, "column method holds"),
    ],
)
def test_rows_that_cannot_be_are_named(
    published: Path, tmp_path: Path, episodes: Any, policies: Any, message: str
) -> None:
    same: Callable[[Rows], Rows] = lambda rows: rows  # noqa: E731
    failure = _failure(_forge(published, tmp_path, episodes or same, policies or same))
    assert message in failure and UNIT.key in failure and "\n" not in failure


def _other_weights(files: dict[str, bytes]) -> None:
    name = f"{UNIT.key}.tested.safetensors"
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])


def _no_weights(files: dict[str, bytes]) -> None:
    files[f"{UNIT.key}.tested.safetensors"] = b"nothing"


def _manifest(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        manifest = json.loads(files[f"{UNIT.key}.json"])
        manifest["unit"]["protocol"] |= changes
        files[f"{UNIT.key}.json"] = json.dumps(manifest).encode()

    return change


def _names(file: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        manifest = json.loads(files[f"{UNIT.key}.json"])
        manifest["sha256"][file] = _hash(b"")
        files[f"{UNIT.key}.json"] = json.dumps(manifest).encode()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_weights, "state weights"),
        (_no_weights, "tested.safetensors: not what was written"),
        (_manifest(test_episodes=4), "its unit is called"),
        (_manifest(samples=6.0), "samples of another type"),
        (_manifest(surprise=1), "surprise of another type"),
        (lambda files: files.update({f"{UNIT.key}.json": b"[" * 100_000}), "not what was written"),
        (_names("../outside.parquet"), "../outside.parquet, which are files of something else"),
        (_names(f"{UNIT.key}./../../outside"), "which are files of something else"),
        (lambda files: files.update({"evil.sh": b"#"}), "holds evil.sh, which no manifest names"),
        (lambda files: files.pop(f"{UNIT.key}.parquet"), "missing or changed"),
    ],
)
def test_files_that_do_not_belong_together_are_named(
    published: Path, tmp_path: Path, change: Any, message: str
) -> None:
    failure = _failure(_forge(published, tmp_path, files=change))
    assert message in failure and "\n" not in failure


def test_a_unit_of_another_version_is_not_judged(published: Path, tmp_path: Path) -> None:
    def older(files: dict[str, bytes]) -> None:
        _manifest(version=PROTOCOL.version - 1)(files)
        manifest = json.loads(files.pop(f"{UNIT.key}.json"))
        key = Unit.from_fields(manifest["unit"]).key
        del manifest["checksum"]
        manifest["sha256"] = {name.replace(UNIT.key, key): sha for name, sha in manifest["sha256"].items()}
        files |= {name.replace(UNIT.key, key): files.pop(name) for name in list(files)}
        files[f"{key}.json"] = json.dumps(manifest).encode()

    content = dict(read_archive(published))
    older(content)
    write_archive(tmp_path / "old.tar.xz", content)
    assert f"version {PROTOCOL.version - 1} of the protocol, this nnbench knows" in _failure(tmp_path / "old.tar.xz")


def _archive(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member, io.BytesIO())
    return path


@pytest.mark.parametrize(
    "members",
    [
        [("../outside.json", tarfile.REGTYPE)],
        [("/etc/evil.json", tarfile.REGTYPE)],
        [("folder/inside.json", tarfile.REGTYPE)],
        [("link.json", tarfile.SYMTYPE)],
        [("folder", tarfile.DIRTYPE)],
        [("twice.json", tarfile.REGTYPE), ("twice.json", tarfile.REGTYPE)],
    ],
)
def test_archives_hold_plain_files_with_names_of_their_own(tmp_path: Path, members: Any) -> None:
    archive = _archive(tmp_path / "bad.tar.xz", *members)
    assert f"{archive}: not what was written (it holds {members[-1][0]!r}, expected plain files" in _failure(archive)
    with pytest.raises(nnbench.NnbenchError, match="expected plain files"):
        Store(tmp_path).rows()


def test_a_damaged_archive_is_one_failure_and_the_others_are_verified(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = published.read_bytes()
    (tmp_path / "a.tar.xz").write_bytes(content[: len(content) // 2])
    (tmp_path / "b.tar.xz").write_bytes(content + content)
    (tmp_path / "c.tar.xz").write_bytes(b"")
    (tmp_path / "d.tar.xz").write_bytes(content)
    *bad, good = _verify(tmp_path)
    assert [len(one.failures) for one in bad] == [1, 1, 1] and not good.failures
    assert all("not what was written" in one.failures[0] for one in bad)

    monkeypatch.setattr("nnbench.store.archive._LARGEST", 1000)
    (tmp_path / "e.tar.xz").write_bytes(lzma.compress(bytes(10_000)))
    assert "it holds more than" in _failure(tmp_path / "e.tar.xz")


def test_an_archive_without_units_is_a_failure(tmp_path: Path) -> None:
    write_archive(tmp_path / "none.tar.xz", {})
    assert "holds no unit" in _failure(tmp_path / "none.tar.xz")


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        (["nowhere"], {}, "nowhere: no such archive or folder"),
        ([], {}, "no archive is named"),
        (["."], {}, "holds neither archives nor finished units"),
        ([__file__], {}, f"{__file__}: not an archive of results"),
        (["."], {"rollouts": -1}, "--rollouts -1: expected 0 or more"),
        (["."], {"workers": 0}, "workers=0: expected at least 1"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: Any, options: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(nnbench.NnbenchError, match=message):
        nnbench.verify(paths, **options)


def test_the_command_ends_with_1_where_anything_is_wrong(published: Path, tmp_path: Path) -> None:
    good = run_command("verify", str(published), "--rollouts", "0", cwd=tmp_path)
    assert good.returncode == 0 and good.stderr == ""
    line, summary, remark = good.stdout.splitlines()
    assert line == f"ok     {UNIT.key}: weights of 2 samples"
    assert summary == (
        f"1 units of protocol {PROTOCOL.short}; 0 networks rolled out again, chosen with seed 0; 0 failures"
    )
    assert remark == f"protocol {PROTOCOL.short} has no name: only paper and quick can be compared with others"
    forged = _forge(published, tmp_path, _swap_ranks, _swap_ranks)
    bad = run_command("verify", str(forged), str(published), "--rollouts", "0", "--json", cwd=tmp_path)
    assert bad.returncode == 1 and bad.stderr == "nnbench: 1 failures, each printed above\n"
    found = json.loads(bad.stdout)
    assert found["seed"] == 0 and [len(one["failures"]) for one in found["verified"]] == [1, 0]
