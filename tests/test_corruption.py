"""Damage to any stored file: what is read is what was written, or one error names the file and the remedy.

About 100 damages of each kind of file; `NNBENCH_SUITE=full` makes it 2,400, 2,000 of them flipped bits.
"""

import json
import lzma
import os
import random
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers import toy_zoo, two_networks
from test_journal import _episodes
from test_store import UNIT, _written
from torch import nn

from nnbench.errors import NnbenchError
from nnbench.methods._model_files import Manifest, load_model, save_model
from nnbench.store import alignment, checkpoints
from nnbench.store.archive import forget_archives, read_archive
from nnbench.store.journal import Journal
from nnbench.store.roundtrip import read_roundtrips, roundtrip_file, write_roundtrips
from nnbench.store.store import Store
from nnbench.tasks.files import file_sha256, parse_parquet, write_bytes, write_json, write_rows
from nnbench.tasks.integrity import DamagedError, content_sha256, read_manifest, read_stored, seal
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.tracks import WITH_PAPERS_SPLITS, SourceName
from nnbench.tasks.registry import load_task
from nnbench.tasks.tensors import save_tensors
from nnbench.tasks.training_state import load_training_state, save_training_state
from nnbench.tasks.zoo import manifest as zoo_manifest
from nnbench.tasks.zoo.build import refuse_other_work
from nnbench.tasks.zoo.expert import load_expert
from nnbench.tasks.zoo.ghn import GHNConfig, GHNEnsemble
from nnbench.tasks.zoo.sources import stacked_name
from nnbench.tasks.zoo.states import LabelledStates, save_bank
from nnbench.tasks.zoo.validation import _parse_scores
from nnbench.tasks.zoo.zoo import Zoo

FULL = os.environ.get("NNBENCH_SUITE") == "full"
FLIPS, TRUNCATIONS, SWAPS = (2000, 200, 200) if FULL else (70, 15, 15)
TASK = "PickCube-v1"
REMEDIES = ("delete ", "restore it", "fetch the archive", "train again", "build", "run again", "choose another")

Read = Callable[[], Any]


def _numbers(tensors: dict[str, torch.Tensor]) -> dict[str, list[Any]]:
    return {key: [str(value.dtype), *value.shape, value.float().flatten().tolist()] for key, value in tensors.items()}


def _unit(folder: Path) -> Read:
    _written(folder)

    def read() -> Any:
        store = Store(folder)
        tables = store.rows().to_pylist(), store.policies().to_pylist()
        return *tables, store.manifests(), [_numbers(weights) for weights in store.weights(UNIT)]

    return read


def _archive(folder: Path) -> Read:
    _written(folder / "ours").publish(folder / "published", weights=True)
    for path in (folder / "ours").iterdir():
        path.unlink()

    def read() -> Any:
        forget_archives()
        store = Store(folder / "published")
        weights = store.tested_weights(UNIT)
        tables = store.rows().to_pylist(), store.policies().to_pylist()
        return *tables, store.manifests(), {rank: _numbers(found) for rank, found in weights.items()}

    return read


def _journal(folder: Path) -> Read:
    """A part costs itself: what is read are all whole parts, in their order."""
    for name in ("unit", "other"):
        for number in range(3):
            Journal(folder / name).append(_episodes(4 * number + (name == "other"), 4 * number + 4))
    whole = {path: parse_parquet(path.read_bytes()).to_pylist() for path in sorted((folder / "unit").iterdir())}
    contents = {path: path.read_bytes() for path in whole}

    def read() -> Any:
        kept = Journal(folder / "unit").read()
        expected = [row for path, rows in whole.items() if path.read_bytes() == contents[path] for row in rows]
        found = kept.drop_columns("stage").to_pylist() if kept is not None else []
        names = found[0] if found else {}
        return len(found) == len(expected) and found == [{n: row.get(n, False) for n in names} for row in expected]

    return read


def _alignment(folder: Path) -> Read:
    path = alignment.alignment_file(folder, TASK)
    write_rows(path, [{"task": TASK, "side": "sgd", "seed": seed, "magnitudes": [0.1, seed]} for seed in range(5)])
    write_json(path.with_suffix(".json"), seal({"config": {"seeds": 5}, "sha256": file_sha256(path)}))
    return lambda: (alignment.read_alignment(folder, TASK), alignment.read_alignment_manifest(folder, TASK))


def _round_trips(folder: Path) -> Read:
    for arch in ("16-16-16-64", "16-16-16-32"):
        asked = {"task": TASK, "method": "sane", "generator_seed": 0, "arch": arch, "episodes": 4}
        rows = [asked | {"ghn_seed": seed, "return": 0.5 * seed} for seed in range(3)]
        write_roundtrips(roundtrip_file(folder, asked), rows, {"torch": "2"})
    return lambda: sorted(map(str, read_roundtrips(folder, TASK)))


def _zoo(folder: Path) -> Read:
    config = GHNConfig(channels=2)
    ensemble = GHNEnsemble([0, 1], 42, 8, config)
    save_tensors(folder / "ghns.safetensors", ensemble.state_dict())
    stated = {"ghn_seeds": [0, 1], "distillation": {"ghn": asdict(config)}}
    return _zoo_of("hypernetworks", folder, stated)


def _direct_zoo(folder: Path) -> Read:
    arch, networks = (16, 16, 16, 32), two_networks((16, 16, 16, 32))
    tensors = {stacked_name(arch, key): torch.stack([networks[s][key] for s in (0, 1)]).half() for key in networks[0]}
    save_tensors(folder / "policies.safetensors", tensors)
    return _zoo_of("sgd", folder, {"source": "sgd", "seeds": [0, 1], "training": {"updates": 5, "batch": 2}})


def _zoo_of(source: SourceName, folder: Path, stated: dict[str, Any]) -> Read:
    task, arch = load_task(TASK), (16, 16, 16, 32)
    save_tensors(folder / "states.safetensors", {"observations": torch.arange(42.0).reshape(1, 42)})
    save_bank(folder / "bank.safetensors", torch.arange(84.0).reshape(2, 42))
    save_tensors(folder / "expert.safetensors", two_networks(arch)[0], {"hidden": "16", "return": "1"})
    rows = [{"arch": "16-16-16-32", "ghn_seed": seed, "valid": seed == 0, "return": 1.5} for seed in (0, 1)]
    write_rows(folder / "index.parquet", rows)
    manifest = {
        "task": TASK,
        **stated,
        "filter": asdict(task.filter),
        "splits_sha256": load_splits().sha256,
        "standardiser_sha256": task.standardiser.sha256,
        # As in the zoos that ship: the bank is not named, and carries its own checksum.
        "files": {name: file_sha256(folder / name) for name in zoo_manifest.files_of(source)},
        "versions": {"torch": "2"},
    }
    write_json(folder / "manifest.json", seal(manifest))

    def read() -> Any:
        zoo = Zoo.open(TASK, folder, WITH_PAPERS_SPLITS[source])
        found = (
            zoo_manifest.read_zoo_manifest(folder),
            zoo_manifest.read_index(folder),
            load_expert(folder / "expert.safetensors"),
        )
        policies = [_numbers(policy) for policy in zoo.policies(arch).values()]
        states = [zoo.states.tolist(), zoo.training_set(reads=("states",)).states.tolist()]
        return zoo.source_name, zoo._valid, policies, states, *found[:2], _numbers(found[2])

    return read


def _shipped_manifest(folder: Path) -> Read:
    """As those that ship: older, without a checksum inside, but listed."""
    fields: dict[str, Any] = {
        name: [name] if kind is list else {"a": 1, "b": 2}
        for name, kind in (zoo_manifest._STATED | zoo_manifest._STATED_BY["hypernetworks"]).items()
    }
    fields |= {"task": TASK, "splits_sha256": "0" * 64, "standardiser_sha256": "1" * 64, "files": {}}
    write_json(folder / TASK / "manifest.json", fields)
    digest = file_sha256(folder / TASK / "manifest.json")
    write_bytes(folder / "SHA256SUMS", f"{digest}  {TASK}/manifest.json\n{digest}  Other-v1/manifest.json\n".encode())
    return lambda: read_manifest(folder / TASK / "manifest.json", "restore it", sums=folder)


def _expert(folder: Path) -> Read:
    save_tensors(folder / "expert.safetensors", two_networks((16, 16, 16, 32))[0], {"hidden": "16", "return": "1.5"})
    return lambda: _numbers(load_expert(folder / "expert.safetensors"))


def _states(folder: Path) -> Read:
    LabelledStates(torch.arange(30.0).reshape(5, 6), torch.arange(10.0).reshape(5, 2)).save(folder / "pool.safetensors")

    def read() -> Any:
        states = LabelledStates.load(folder / "pool.safetensors")
        return states.observations.tolist(), states.actions.tolist()

    return read


def _scores(folder: Path) -> Read:
    made = {"expert_sha256": "ab" * 32, "distillation": {"seed": 0, "betas": (0.5, 1.0)}}
    write_json(folder / "made" / "made-with.json", seal(made))
    path = folder / "64-64-64-64.json"
    write_json(path, seal({"rows": [{"arch": "64-64-64-64", "ghn_seed": seed, "return": 40.5} for seed in range(4)]}))

    def read() -> Any:
        refuse_other_work(folder / "made", made)
        return read_stored(path, _parse_scores, "delete it")

    return read


def _training_state(folder: Path) -> Read:
    def parts() -> Any:
        model = nn.Linear(3, 2)
        return model, torch.optim.Adam(model.parameters(), 0.1), torch.Generator().manual_seed(0)

    model, optimizer, generator = parts()
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    path, progress = folder / "state.safetensors", {"iteration": 3, "log": [{"loss": 0.5}]}
    save_training_state(path, {"model": model}, optimizer, generator, progress)

    def read() -> Any:
        model, optimizer, generator = parts()
        progress = load_training_state(path, {"model": model}, optimizer, generator)
        moments = {
            f"{i}/{key}": value for i, of in optimizer.state_dict()["state"].items() for key, value in of.items()
        }
        return progress, _numbers(model.state_dict()), _numbers(moments), generator.get_state().tolist()

    return read


@dataclass(frozen=True)
class _Config:
    width: int = 4
    rate: float = 0.5


def _checkpoint(folder: Path) -> Read:
    """As `nnbench train` stores it, and as a method that learns reads it."""
    zoo, name = toy_zoo(lambda arch, seed, _: two_networks(arch)[seed]), "toy"
    config = Manifest(_Config(), zoo.task.name, 42, 8, zoo.sha256, 0.5, 0, 0.25, 12.5, "2")
    own = folder / name / zoo.task.name / "seed-0"
    own.mkdir(parents=True)
    save_model(own, nn.Linear(4, 4), config)
    manifest = {"method": name, "task": zoo.task.name, "seed": 0, "zoo_sha256": zoo.sha256, "parameters": 20}
    files = {path.name: file_sha256(path) for path in own.iterdir()}
    manifest |= {"files": files, "wall_s": 1.5, "machine": {"cpus": 2}, "versions": {"torch": "2"}}
    write_json(own / "manifest.json", seal(manifest))

    def read() -> Any:
        trained, found = checkpoints.read_checkpoint(name, zoo.task.name, own)
        described = checkpoints._described(own, found)
        model, stated = load_model(name, own, zoo, lambda raw: _Config(**raw), lambda of: nn.Linear(of.config.width, 4))
        return trained, found, described, _numbers(model.state_dict()), stated

    return read


KINDS = {
    "unit": _unit,
    "archive": _archive,
    "journal": _journal,
    "alignment": _alignment,
    "round trip": _round_trips,
    "zoo": _zoo,
    "zoo trained one by one": _direct_zoo,
    "shipped manifest": _shipped_manifest,
    "expert": _expert,
    "states": _states,
    "scores and made-with": _scores,
    "training state": _training_state,
    "checkpoint": _checkpoint,
}


def _flip(draw: random.Random, contents: dict[Path, bytes]) -> dict[Path, bytes]:
    path = draw.choice([path for path in contents if contents[path]])
    content = bytearray(contents[path])
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return {path: bytes(content)}


def _truncate(draw: random.Random, contents: dict[Path, bytes]) -> dict[Path, bytes]:
    path = draw.choice(list(contents))
    return {path: contents[path][: draw.randrange(len(contents[path]))]}


def _swap(draw: random.Random, contents: dict[Path, bytes]) -> dict[Path, bytes]:
    """Two files, two values of a JSON file, or two pieces of any file."""
    kind, path = draw.randrange(3), draw.choice(list(contents))
    if kind == 0 and len(contents) > 1:
        one, other = draw.sample(list(contents), 2)
        return {one: contents[other], other: contents[one]}
    if kind == 1 and path.suffix == ".json":
        fields = json.loads(contents[path])
        at = draw.choice([fields, *(value for value in fields.values() if isinstance(value, dict) and len(value) > 1)])
        one, other = draw.sample(list(at), 2)
        at[one], at[other] = at[other], at[one]
        return {path: json.dumps(fields, indent=2).encode()}
    content, size = bytearray(contents[path]), draw.randrange(1, 9)
    if len(content) < 3 * size:
        return {path: bytes(reversed(content))}
    i, j = draw.randrange(len(content) // 2 - size), draw.randrange(len(content) // 2, len(content) - size)
    content[i : i + size], content[j : j + size] = content[j : j + size], content[i : i + size]
    return {path: bytes(content)}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_named_or_changes_nothing(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read = KINDS[kind](tmp_path)
    contents = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    value, draw, outcomes = read(), random.Random(kind), Counter[str]()
    for damage in [_flip] * FLIPS + [_truncate] * TRUNCATIONS + [_swap] * SWAPS:
        damaged = damage(draw, contents)
        for path, content in damaged.items():
            path.write_bytes(content)
        try:
            assert read() == value, f"another value of {kind} after {damage.__name__} of {damaged}"
            outcomes["equal"] += 1
        except NnbenchError as error:
            text = str(error)
            assert "\n" not in text and any(remedy in text for remedy in REMEDIES), text
            assert any(path.name in text or str(path.parent) in text for path in damaged), text
            outcomes["named"] += 1
        for path in damaged:
            path.write_bytes(contents[path])
    capfd.readouterr()
    with capfd.disabled():
        print(f"\n{kind}: {FLIPS} flips, {TRUNCATIONS} truncations, {SWAPS} swaps: {dict(outcomes)}", end="")


def test_a_checksum_covers_all_and_old_files_have_none(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    fields = {"b": (1, 2.5), "a": {"1": None}}
    write_json(path, seal(fields))
    assert read_manifest(path, "delete it") == {"b": [1, 2.5], "a": {"1": None}}
    path.write_text(path.read_text().replace("checksum", "checksul"))
    with pytest.raises(DamagedError, match=r"manifest.json: not what was written \(its checksum is called 'checksul'"):
        read_manifest(path, "delete it")
    write_json(path, fields)
    assert read_manifest(path, "delete it")["b"] == [1, 2.5]
    for text, what in (('{"a": 1, "a": 2}', "twice"), ("[]", "a JSON object"), ("[" * 100_000, "."), ("\xff", ".")):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(DamagedError, match=rf"manifest.json: not what was written \(.*{what}.*\); delete it$"):
            read_manifest(path, "delete it")
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedError, match=r"manifest.json: cannot be read \(Is a directory\); delete it"):
        read_manifest(path, "delete it")


@pytest.mark.parametrize(
    ("package", "pattern"),
    [
        ("tasks/zoos", "*/manifest.json"),
        ("results/reference", "*/al*/*.json"),
    ],
)
def test_what_ships_is_listed_with_its_hash(package: str, pattern: str) -> None:
    """After a change: `cd PACKAGE && sha256sum PATTERN > SHA256SUMS`."""
    folder = Path(__file__).parents[1] / package
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {line.split(maxsplit=1)[1]: line.split(maxsplit=1)[0] for line in lines}
    sealed = {path for path in folder.glob(pattern) if "checksum" in json.loads(path.read_bytes())}
    found = {path.relative_to(folder).as_posix(): file_sha256(path) for path in set(folder.glob(pattern)) - sealed}
    assert listed == found


def _bomb(**columns: Any) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return bytes(buffer.getvalue())


def test_bombs_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    many = _bomb(x=np.zeros(20_000_000, np.int8))
    long = _bomb(x=pa.DictionaryArray.from_arrays(np.zeros(500_000, np.int8), ["a" * 100_000]))  # would be 50 GB
    for content, message in ((many, "20000000 rows, expected 1000000"), (long, r"would take \d+ MiB of memory")):
        assert len(content) < 1_000_000
        with pytest.raises(ValueError, match=message):
            parse_parquet(content)

    # With hashes that fit, as of somebody who means it: no more rows than the unit can have.
    _written(tmp_path)
    path, manifest = tmp_path / f"{UNIT.key}.parquet", tmp_path / f"{UNIT.key}.json"
    path.write_bytes(many)
    fields = json.loads(manifest.read_text())
    del fields["checksum"]
    fields["sha256"][path.name] = content_sha256(many)
    manifest.write_text(json.dumps(fields))
    with pytest.raises(DamagedError, match=rf"{path.name}: not what was written \(it has 20000000 rows, expected 22"):
        Store(tmp_path).rows()


def test_archives_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnbench.store.archive._LARGEST", 1 << 20)
    path = tmp_path / "bomb.tar.xz"
    with tarfile.open(path, "w:xz") as archive:
        member = tarfile.TarInfo("zeros.json")
        member.size = 2 << 20
        archive.addfile(member, BytesIO(bytes(2 << 20)))
    with pytest.raises(DamagedError, match=r"bomb.tar.xz: .*it holds more than 1 MiB.*fetch the archive again"):
        read_archive(path)
    monkeypatch.setattr("nnbench.store.archive._DICTIONARY", 1 << 20)
    path.write_bytes(lzma.compress(b"x"))
    with pytest.raises(DamagedError, match=r"bomb.tar.xz: not what was written \(Memory usage limit exceeded"):
        read_archive(path)
    path.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(DamagedError, match="expected 1 at most"):
        read_archive(path)
