"""Results on disk. A unit's files appear whole or not at all, and nothing half-written is ever read.

Below the root a finished unit has four files: `<key>.safetensors` with all generated weights, `<key>.parquet` with one
row a policy and episode, `<key>.policies.parquet` with one row a policy, and `<key>.json`, the manifest with the hashes
of them, written last. A unit under way has numbered parts in `partial/<key>/`. Two processes at the same
unit do no harm: their parts have different names, and the files of a finished unit are always of one of them.

Rows that are published lie in archives, `<method>-<task>.tar.xz`: the same files of many units, without the weights.
"""

import hashlib
import importlib.metadata
import io
import json
import lzma
import os
import platform
import random
import re
import sys
import tarfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nnbench.protocol import Protocol, Unit
from nnbench.tasks.files import parse_parquet, write_atomically
from nnbench.tasks.policies.architectures import architecture_name, load_splits

if TYPE_CHECKING:  # torch takes a second to import, and tables need none of it
    from nnbench.tasks.policies.mlp import Weights


def _required(name: str, kind: Any) -> Any:
    return pa.field(name, kind, nullable=False)


_STAGE = pa.dictionary(pa.int8(), pa.string())

ROLLOUT_SCHEMA = pa.schema(
    [
        _required("weights_sha256", pa.string()),
        _required("stage", _STAGE),
        _required("episode_seed", pa.int64()),
        _required("return", pa.float32()),
        _required("success_once", pa.bool_()),
        _required("success_at_end", pa.bool_()),
    ]
)
"""A finished episode as a unit under way knows it: before all samples are ranked."""

_SAMPLE = [
    _required("protocol", pa.string()),  # Protocol.short
    _required("task", pa.string()),
    _required("method", pa.string()),
    _required("method_sha256", pa.string()),
    _required("generator_seed", pa.int32()),
    _required("joint", pa.bool_()),  # the method chose the architecture too
    _required("arch", pa.string()),  # 32-16-64-32
    _required("partition", pa.string()),  # train, unseen, outside or other
    _required("sample", pa.int16()),  # 0 to samples - 1
    _required("weights_sha256", pa.string()),
]

EPISODE_SCHEMA = pa.schema(
    [
        *_SAMPLE,
        _required("stage", _STAGE),  # selection or test
        _required("episode_seed", pa.int64()),
        _required("return", pa.float32()),  # sum of the normalised dense reward
        _required("success_once", pa.bool_()),
        _required("success_at_end", pa.bool_()),
        _required("selected", pa.bool_()),  # among the top by mean return on the selection episodes
        _required("rank", pa.int16()),  # among the selected, the best has 0; -1 for the others
    ]
)
"""One row a policy and episode. Samples with equal weights have their own rows each."""

POLICY_SCHEMA = pa.schema(
    [
        *_SAMPLE,
        _required("rank", pa.int16()),
        _required("ghn_seed", pa.int32()),  # hypernetwork whose policy of this architecture is nearest
        _required("ghn_distance", pa.float32()),  # L2 to it, neurons matched
        _required("ghn_spread", pa.float32()),  # how far those of the hypernetworks are from their nearest
        _required("other_l2", pa.float32()),  # to the nearest other sample of this architecture, NaN if there is none
        _required("other_cosine", pa.float32()),  # of the most alike other one
        _required("action_arch", pa.string()),  # training policy that acts most alike
        _required("action_seed", pa.int32()),
        _required("action_distance", pa.float32()),  # mean L2 distance of the actions
        _required("action_spread", pa.float32()),  # the same between training policies of different hypernetworks
        pa.field("top_l2", pa.list_(pa.float32())),  # of a selected one to each of the selected, best first
        pa.field("top_cosine", pa.list_(pa.float32())),
    ]
)
"""One row a policy: where it lies among the zoo's policies and among the other samples."""


_ATTEMPTS = 8
_PROCESS = uuid.uuid4().hex[:8]
"""In the names of this process's journal parts: of two that are at the same unit neither overwrites the other's."""


class StoreError(RuntimeError):
    """Results that cannot be written or must not be read. Names the file and the remedy."""


@dataclass(frozen=True)
class Store:
    """Finished units below a root folder."""

    root: Path = Path("results") / "runs"

    def finished(self, unit: Unit) -> bool:
        """True if the manifest exists and the files are what it says. Raises StoreError on an unreadable manifest."""
        path = self._path(unit, "json")
        try:
            manifest = _parse_manifest(path, path.read_bytes())
        except FileNotFoundError:
            return False
        files = [path.with_name(name) for name in manifest["sha256"]]
        return all(file.exists() and _sha256(file.read_bytes()) == manifest["sha256"][file.name] for file in files)

    def write(
        self,
        unit: Unit,
        rows: pa.Table,
        policies: pa.Table,
        weights: Sequence["Weights"],
        info: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Store a finished unit: its rows (EPISODE_SCHEMA, POLICY_SCHEMA), the weights of all samples, and `info`.

        `info` goes into the manifest, for example the wall seconds of each stage, and so do the `nnbench.facts.Facts`
        of the method, as JSON.
        Raises StoreError where rows or weights are not those of the whole unit, and OSError on a full disk; the unit is
        then not finished.
        """
        rows, policies = _conform(rows, EPISODE_SCHEMA, unit.key), _conform(policies, POLICY_SCHEMA, unit.key)
        _check_complete(unit, rows)
        _check_policies(unit, policies, rows)
        _check_weights(unit, weights, policies)
        contents = {
            self._path(unit, "safetensors"): _weights_bytes(unit, weights),
            self._path(unit, "parquet"): _parquet_bytes(rows),
            self._path(unit, "policies.parquet"): _parquet_bytes(policies),
        }
        manifest = {
            "unit": unit.fields,
            "sha256": {path.name: _sha256(content) for path, content in contents.items()},
            "info": dict(info),
            **({"facts": dict(facts)} if facts is not None else {}),
            "versions": _versions(),
            "machine": this_machine(),
            "command": [Path(sys.argv[0]).name, *map(_without_folder, sys.argv[1:])],
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        contents[self._path(unit, "json")] = (json.dumps(manifest, indent=1) + "\n").encode()
        for attempt in range(_ATTEMPTS):
            self._path(unit, "json").unlink(missing_ok=True)  # an old manifest would call the new files corrupt
            for path, content in contents.items():
                write_atomically(path, partial(_write_bytes, content))
            if self.finished(unit):
                return
            # Another process wrote the same unit at the same moment, and the files are now of both.
            time.sleep(random.uniform(0, 0.1 * 2**attempt))
        raise StoreError(f"{self._path(unit, 'json')}: its files change while they are written; run the unit again")

    def keys(self) -> set[str]:
        """The keys of all units with a manifest and rows; opens no file but archives."""
        return {path.stem for path in self._manifest_paths()}

    def protocol(self, prefix: str = "") -> Protocol:
        """The only protocol here whose hash begins so; the benchmark's own in an empty folder.

        Raises StoreError where there are several, or none.
        """
        found = {Protocol(**manifest["unit"]["protocol"]) for manifest in self.manifests()}
        matching = [protocol for protocol in found if protocol.short.startswith(prefix)]
        if not found and not prefix:
            return Protocol()
        if len(matching) != 1:
            known = ", ".join(sorted(protocol.short for protocol in found)) or "none"
            raise StoreError(f"{self.root}: {len(matching)} protocols match {prefix!r}, of {known}; name one")
        return matching[0]

    def unit_rows(self, unit: Unit) -> pa.Table:
        """The episode rows of one finished unit (EPISODE_SCHEMA). Raises StoreError."""
        path = self._path(unit, "parquet")
        return _conform(
            _parse_parquet(path, self._read_verified(path, self._manifest(unit))), EPISODE_SCHEMA, str(path)
        )

    def info(self, unit: Unit) -> dict[str, Any]:
        """What was written as `info` with a finished unit, and by which command. Raises StoreError."""
        manifest = self._manifest(unit)
        info: dict[str, Any] = manifest["info"]
        return {"command": manifest["command"]} | info

    def facts(self, unit: Unit) -> Mapping[str, Any] | None:
        """The facts of the method that wrote a finished unit; None in manifests of old. Raises StoreError."""
        found: Mapping[str, Any] | None = self._manifest(unit).get("facts")
        return found

    def merge(self, other: "Store") -> tuple[int, int]:
        """Copy another folder's finished units; returns how many were new and how many were here already.

        Raises StoreError where a unit is in both with different rows or weights, before anything is copied.
        """
        new = self._new_of(other)
        for path in new:
            for name in [*other._files(path), path.name]:  # the manifest last
                write_atomically(self.root / name, partial(_write_bytes, other._content(name)))
        return len(new), len(other._manifest_paths()) - len(new)

    def publish(self, folder: Path) -> tuple[int, int]:
        """Add the finished units, without their weights, to the folder's archives, of which there is one a method and
        task; returns how many were new and how many were there already.

        Raises StoreError as `merge`, before anything is written.
        """
        new = Store(folder)._new_of(self)
        archives: dict[Path, dict[str, bytes]] = {}
        for path in new:
            unit = self._read_manifest(path)["unit"]
            archive = folder / f"{unit['method']}-{unit['task']}.tar.xz"
            files = archives.setdefault(archive, _read_archive(archive) if archive.exists() else {})
            names = [name for name in self._files(path) if not name.endswith(".safetensors")]
            files |= {name: self._content(name) for name in [*names, path.name]}
        for archive, files in archives.items():
            write_atomically(archive, partial(_write_archive, files))
        return len(new), len(self._manifest_paths()) - len(new)

    def _new_of(self, other: "Store") -> list[Path]:
        """The manifests of the other folder's units that are not here.

        Raises StoreError where a file is not what its manifest says, or a unit is in both with different results.
        """
        new = []
        for path in other._manifest_paths():
            theirs, here = other._read_manifest(path), self.root / path.name
            for name in other._files(path):
                other._read_verified(path.with_name(name), theirs)
            if not self._has(here.name):
                new.append(path)
            elif self._read_manifest(here)["sha256"] != theirs["sha256"]:
                raise StoreError(
                    f"{path} and {here} are the same unit with different results; equal code gives equal ones: delete "
                    "the one that was made by other versions (both name theirs)"
                )
        return new

    def unfinished(self) -> dict[str, int]:
        """Units under way, by key, and how many of their episodes are kept."""
        found = {}
        for directory in sorted((self.root / "partial").glob("*")):
            kept = Journal(directory).read()
            found[directory.name] = kept.num_rows if kept is not None else 0
        return found

    def manifests(self) -> list[dict[str, Any]]:
        """The manifests of all units with a manifest and rows, ordered by key."""
        return [self._read_manifest(path) for path in self._manifest_paths()]

    def rows(
        self,
        *,
        protocol: Protocol | None = None,
        task: str | None = None,
        method: str | None = None,
        generator_seed: int | None = None,
    ) -> pa.Table:
        """The episode rows (EPISODE_SCHEMA) of all finished units, or of those that match what is given.

        The weights need not be there, so that rows can be published without them. Raises StoreError naming the file
        where rows are not what their manifest says.
        """
        wanted = {"task": task, "method": method, "generator_seed": generator_seed}
        return self._read_all("parquet", EPISODE_SCHEMA, protocol, wanted)

    def policies(self, *, protocol: Protocol | None = None, task: str | None = None) -> pa.Table:
        """The rows of the policies (POLICY_SCHEMA), as `rows`."""
        return self._read_all("policies.parquet", POLICY_SCHEMA, protocol, {"task": task})

    def _read_all(self, kind: str, schema: pa.Schema, protocol: Protocol | None, wanted: Mapping[str, Any]) -> pa.Table:
        tables = [schema.empty_table()]
        for path in self._manifest_paths():
            manifest = self._read_manifest(path)
            unit = manifest["unit"]
            if protocol is not None and Protocol(**unit["protocol"]) != protocol:
                continue
            if all(value is None or unit[name] == value for name, value in wanted.items()):
                file = path.with_suffix(f".{kind}")
                tables.append(_conform(_parse_parquet(file, self._read_verified(file, manifest)), schema, str(file)))
        return pa.concat_tables(tables).combine_chunks()

    def weights(self, unit: Unit) -> list["Weights"]:
        """The generated weights of a unit, sample by sample in layer order.

        Raises StoreError if there are none, or none that this version's rollouts can read.
        """
        import safetensors.torch

        path, current = self._path(unit, "safetensors"), Protocol().version
        if unit.protocol.version != current:
            raise StoreError(
                f"{path}: policies of version {unit.protocol.version} of the protocol, which read observations in "
                f"another way than those of version {current}; run it again"
            )
        if not path.exists() or not path.with_suffix(".json").exists():
            raise StoreError(f"{path}: no weights are stored for this unit; run it first")
        tensors = safetensors.torch.load(self._read_verified(path, self._manifest(unit)))
        samples: list[Weights] = [{} for _ in range(unit.protocol.samples)]
        for name in sorted(tensors, key=_layer_order):
            sample, key = name.split("/")
            samples[int(sample)][key] = tensors[name]
        return samples

    def journal(self, unit: Unit) -> "Journal":
        """Where the unit's episodes are kept until it is finished."""
        return Journal(self.root / "partial" / unit.key)

    def _manifest(self, unit: Unit) -> dict[str, Any]:
        path = self._path(unit, "json")
        if not self._has(path.name):
            raise StoreError(f"{path}: no such unit; run it first")
        return self._read_manifest(path)

    def _path(self, unit: Unit, kind: str) -> Path:
        return self.root / f"{unit.key}.{kind}"

    def _manifest_paths(self) -> list[Path]:
        names = {path.name for path in self.root.glob("*.json")} | {n for n in self._packed if n.endswith(".json")}
        paths = [self.root / name for name in sorted(names)]
        return [path for path in paths if self._has(path.with_suffix(".parquet").name)]

    def _files(self, manifest: Path) -> list[str]:
        """The names of a unit's files that are here; rows may be published without the weights."""
        return [name for name in self._read_manifest(manifest)["sha256"] if self._has(name)]

    @cached_property
    def _packed(self) -> dict[str, bytes]:
        """The files in the folder's archives, by name."""
        files: dict[str, bytes] = {}
        for archive in sorted(self.root.glob("*.tar.xz")):
            files |= _read_archive(archive)
        return files

    def _has(self, name: str) -> bool:
        return (self.root / name).exists() or name in self._packed

    def _content(self, name: str) -> bytes:
        """A unit's file, or the packed one; nothing where there is neither."""
        path = self.root / name
        return path.read_bytes() if path.exists() else self._packed.get(name, b"")

    def _read_manifest(self, path: Path) -> dict[str, Any]:
        return _parse_manifest(path, self._content(path.name))

    def _read_verified(self, path: Path, manifest: Mapping[str, Any]) -> bytes:
        content = self._content(path.name)
        if _sha256(content) != manifest["sha256"].get(path.name):
            raise StoreError(f"{path}: missing or corrupt, its sha256 is not the one in its manifest; {_remedy(path)}")
        return content


@dataclass(frozen=True)
class Journal:
    """Episodes of a unit under way, in numbered parts, so that a killed run goes on where it was."""

    directory: Path

    def append(self, episodes: pa.Table) -> None:
        """Keep these episodes (ROLLOUT_SCHEMA). Raises OSError on a full disk."""
        parts = self._parts()
        number = int(parts[-1].stem.split("-")[0]) + 1 if parts else 0
        path = self.directory / f"{number:06d}-{_PROCESS}.parquet"
        content = _parquet_bytes(_conform(episodes, ROLLOUT_SCHEMA, str(path)))
        write_atomically(path, partial(_write_bytes, content))

    def read(self) -> pa.Table | None:
        """All episodes kept so far in the order they came (ROLLOUT_SCHEMA), None if there are none."""
        parts = {path: _parse_parquet(path, path.read_bytes()) for path in self._parts()}
        tables = [_conform(table, ROLLOUT_SCHEMA, str(path)) for path, table in parts.items()]
        return pa.concat_tables(tables).combine_chunks() if tables else None

    def clear(self) -> None:
        """Remove all parts; for a unit that is finished."""
        if self.directory.exists():
            for path in self.directory.iterdir():
                path.unlink()
            self.directory.rmdir()

    def _parts(self) -> list[Path]:
        return sorted(self.directory.glob("[0-9]*.parquet"))


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _read_archive(path: Path) -> dict[str, bytes]:
    """Its files by name. Raises StoreError where it is damaged."""
    try:
        with tarfile.open(path, "r:xz") as archive:
            opened = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            return {name: file.read() for name, file in opened.items() if file is not None}
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise StoreError(f"{path}: no readable archive ({error}); fetch it again, or delete it") from error


def _write_archive(files: Mapping[str, bytes], path: Path) -> None:
    """Equal files make equal archives."""
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))


def _parse_manifest(path: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(content)
        Protocol(**manifest["unit"]["protocol"])
        if path.with_suffix(".parquet").name not in manifest["sha256"]:
            raise ValueError("it does not name its rows")
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path}: not a manifest of this version ({error}); {_remedy(path)}") from error
    return manifest


def _parse_parquet(path: Path, content: bytes) -> pa.Table:
    try:
        return parse_parquet(content)
    except pa.ArrowException as error:
        raise StoreError(f"{path}: corrupt, no readable parquet ({error}); {_remedy(path)}") from error


def _remedy(path: Path) -> str:
    return f"delete {path.name} and run the unit again"


def _without_folder(argument: str) -> str:
    """An absolute path says where things lie on one machine, and rows are published: its last part stays."""
    option, equals, value = argument.rpartition("=")
    return option + equals + Path(value).name if Path(value).is_absolute() else argument


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _parquet_bytes(table: pa.Table) -> bytes:
    """Without what a file of a thousand rows is mostly made of otherwise; `_conform` knows the types when reading."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False, write_statistics=False, store_schema=False)
    return bytes(buffer.getvalue())


def _conform(table: pa.Table, schema: pa.Schema, owner: str) -> pa.Table:
    """The table's columns in the order and types of the schema; StoreError where that loses anything."""
    missing, surplus = set(schema.names) - set(table.column_names), set(table.column_names) - set(schema.names)
    if missing or surplus:
        raise StoreError(f"{owner}: rows lack {sorted(missing)} and have unknown {sorted(surplus)} columns")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise StoreError(f"{owner}: rows do not fit the schema: {error}") from error


def unit_columns(unit: Unit) -> dict[str, Any]:
    """What all rows of a unit agree on."""
    columns: dict[str, Any] = {
        "protocol": unit.protocol.short,
        "task": unit.task,
        "method": unit.method,
        "method_sha256": unit.method_sha256,
        "generator_seed": unit.generator_seed,
        "joint": unit.arch is None,
    }
    if unit.arch is not None:
        columns |= {"arch": architecture_name(unit.arch), "partition": load_splits().partition(unit.arch)}
    return columns


def _check_complete(unit: Unit, rows: pa.Table) -> None:
    """Raise StoreError unless the rows are all episodes of this unit and no others."""
    protocol = unit.protocol
    for name, expected in unit_columns(unit).items():
        found = pc.unique(rows[name]).to_pylist()
        if found != [expected]:
            raise StoreError(f"{unit.key}: column {name} holds {found}, expected {expected!r} in every row")
    chosen = rows.filter(rows["selected"])
    top = sorted(pc.unique(chosen["sample"]).to_pylist())
    if len(top) != protocol.top:
        raise StoreError(f"{unit.key}: {len(top)} samples are selected, expected {protocol.top}")
    choosing = pc.equal(rows["stage"].cast(pa.string()), "selection")
    screening = pc.and_(choosing, pc.is_in(rows["episode_seed"], pa.array(protocol.screening_seeds, pa.int64())))
    for stage, mask, samples, seeds in (
        ("screening", screening, range(protocol.samples), protocol.screening_seeds),
        ("selection", pc.and_(choosing, rows["selected"]), top, protocol.selection_seeds),
        ("test", pc.invert(choosing), top, protocol.test_seeds),
    ):
        part = rows.filter(mask)
        found = sorted(zip(part["sample"].to_pylist(), part["episode_seed"].to_pylist(), strict=True))
        if found != [(sample, seed) for sample in samples for seed in seeds]:
            raise StoreError(
                f"{unit.key}: {len(found)} {stage} episodes, expected each of {len(samples)} samples once on each of "
                f"the seeds {seeds[0]} to {seeds[-1]}"
            )


def _check_policies(unit: Unit, policies: pa.Table, rows: pa.Table) -> None:
    """Raise StoreError unless there is a row a sample, in order, that agrees with the episodes."""
    shared = [*(field.name for field in _SAMPLE), "rank"]
    expected = rows.select(shared).group_by(shared, use_threads=False).aggregate([]).sort_by("sample")
    if not policies.select(shared).equals(expected):
        raise StoreError(f"{unit.key}: the rows of the policies are not about the samples that the episodes are about")


def _check_weights(unit: Unit, weights: Sequence["Weights"], policies: pa.Table) -> None:
    """Raise StoreError unless these are the weights that the rows speak of."""
    from nnbench.tasks.policies.mlp import architecture_of, weights_sha256

    if len(weights) != unit.protocol.samples:
        raise StoreError(f"{unit.key}: weights of {len(weights)} samples, expected {unit.protocol.samples}")
    for sample, (found, stated) in enumerate(zip(weights, policies.to_pylist(), strict=True)):
        if weights_sha256(found) != stated["weights_sha256"]:
            stated_sha = stated["weights_sha256"]
            raise StoreError(f"{unit.key}: rows of sample {sample} state weights {stated_sha}, got others")
        if architecture_name(architecture_of(found)) != stated["arch"]:
            raise StoreError(f"{unit.key}: rows of sample {sample} state another architecture than its weights have")


def _layer_order(name: str) -> tuple[int, bool]:
    """What sorts `000/2.bias` behind `000/2.weight` and before `000/10.weight`."""
    layer, kind = name.split("/")[1].split(".")
    return int(layer), kind == "bias"


def _weights_bytes(unit: Unit, weights: Sequence["Weights"]) -> bytes:
    import safetensors.numpy

    arrays = {f"{sample:03d}/{key}": policy[key].numpy() for sample, policy in enumerate(weights) for key in policy}
    # A single entry, for the order of several is not kept and the same weights must give the same bytes.
    return bytes(safetensors.numpy.save(arrays, {"unit": json.dumps(unit.fields, sort_keys=True)}))


def this_machine() -> dict[str, Any]:
    """What a manifest says of where its numbers were made."""
    import torch

    machine = {"platform": platform.platform(), "processor": _processor(), "cpus": os.cpu_count()}
    return machine | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def _processor() -> str:
    """Its make and model where Linux tells: physics differs between makes by rounding errors."""
    table = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", table.read_text(), re.MULTILINE) if table.exists() else []
    return names[0] if names else platform.machine()


def _versions() -> dict[str, str]:
    packages = ("nnbench", "mani_skill", "sapien", "torch", "numpy", "pyarrow")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
