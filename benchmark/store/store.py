"""Results on disk. A unit's files appear whole or not at all, and nothing half-written is ever read.

Below the root a finished unit has four files: `<key>.safetensors` with all generated weights, `<key>.parquet` with one
row per policy and episode, `<key>.policies.parquet` with one row per policy, and `<key>.json`, the manifest with the
hashes of the others, written last. A unit under way has numbered parts in `partial/<key>/`. Two processes that work on
the same unit do no harm: their parts have different names, and the files of a finished unit are always of one process.

Published rows lie in archives, `<method>-<task>.tar.xz`: the same files of many units, without the weights. An archive
may hold the weights of a unit's tested networks, `<key>.tested.safetensors`, which its manifest then names too.
"""

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nnbench.folders import RESULTS
from nnbench.protocol import PROTOCOLS, Protocol, Unit
from nnbench.store.checkpoints import Budget
from nnbench.store.errors import StoreError, remedy
from nnbench.store.folder import Folder, Manifest, manifest_bytes
from nnbench.store.journal import Journal
from nnbench.store.merging import merge, publish
from nnbench.store.provenance import provenance
from nnbench.store.reading import read_rows
from nnbench.store.schemas import EPISODE_SCHEMA, POLICY_SCHEMA, conform, parquet_bytes
from nnbench.store.validation import check_rows, check_unit
from nnbench.store.weights import ALL, parse_weights, read_tested, weights_bytes
from nnbench.tasks.files import remove_file, write_bytes
from nnbench.tasks.integrity import content_sha256, read_stored

if TYPE_CHECKING:  # tables read no weights and need no torch
    from nnbench.tasks.policies.mlp import Weights

_ATTEMPTS = 8


@dataclass(frozen=True)
class Store:
    """Finished units below a root folder."""

    root: Path = RESULTS

    def finished(self, unit: Unit) -> bool:
        """True if the manifest exists and the files are what it says. Raises DamagedError on a damaged manifest."""
        path = self._path(unit, "json")
        if not path.exists():
            return False
        manifest = read_stored(path, partial(Manifest.parse, path.name), remedy(path.name))
        files = {path.with_name(name): sha256 for name, sha256 in manifest.sha256.items()}
        return all(_has(file, sha256) for file, sha256 in files.items())

    def write(
        self,
        unit: Unit,
        rows: pa.Table,
        policies: pa.Table,
        weights: Sequence["Weights"],
        info: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
        trained: Budget | None = None,
    ) -> None:
        """Store a finished unit: its rows (EPISODE_SCHEMA, POLICY_SCHEMA), the weights of all samples, and `info`.

        `info` goes into the manifest, for example the wall seconds of each stage, and so do the `nnbench.facts.Facts`
        of the method, as JSON, and what its training cost. Raises StoreError where rows or weights are not those of the
        whole unit, and WriteError on a full disk; the unit is then not finished.
        """
        rows, policies = conform(rows, EPISODE_SCHEMA, unit.key), conform(policies, POLICY_SCHEMA, unit.key)
        check_unit(unit, rows, policies, weights)
        contents = {
            self._path(unit, "safetensors"): weights_bytes(unit, weights),
            self._path(unit, "parquet"): parquet_bytes(rows),
            self._path(unit, "policies.parquet"): parquet_bytes(policies),
        }
        manifest = {
            "unit": unit.fields,
            "sha256": {path.name: content_sha256(content) for path, content in contents.items()},
            "info": dict(info),
            **({"facts": dict(facts)} if facts is not None else {}),
            **({"trained": asdict(trained)} if trained is not None else {}),
            **provenance(),
        }
        contents[self._path(unit, "json")] = manifest_bytes(manifest)
        self._replace(unit, contents)

    def write_policies(self, unit: Unit, policies: pa.Table) -> None:
        """Replace what is said of a finished unit's policies (POLICY_SCHEMA); the manifest keeps where its episodes
        were made and says under `rescored` where these numbers were.

        Raises StoreError where they are not the unit's, and WriteError on a full disk; the unit is then not finished.
        """
        rows, policies = self.unit_rows(unit), conform(policies, POLICY_SCHEMA, unit.key)
        check_rows(unit, rows, policies)
        path, content = self._path(unit, "policies.parquet"), parquet_bytes(policies)
        manifest = self._folder.manifest(unit.key).content
        hashes = manifest["sha256"] | {path.name: content_sha256(content)}
        manifest = manifest | {"sha256": hashes, "rescored": provenance()}
        self._replace(unit, {path: content, self._path(unit, "json"): manifest_bytes(manifest)})

    def _replace(self, unit: Unit, contents: Mapping[Path, bytes]) -> None:
        """Write a unit's files, the manifest last, until all of them are ours or all are another process's."""
        path = self._path(unit, "json")
        for attempt in range(_ATTEMPTS):
            remove_file(path)  # an old manifest would call the new files corrupt
            for file, content in contents.items():
                write_bytes(file, content)
            if self.finished(unit):
                return
            # Another process wrote the same unit at the same moment, and the files are now of both.
            time.sleep(random.uniform(0, 0.1 * 2**attempt))
        raise StoreError(f"{path}: its files change while they are written; run the unit again")

    def keys(self) -> set[str]:
        """The keys of all units with a manifest and rows; opens no file but archives."""
        return set(self._folder.keys())

    def manifests(self) -> list[dict[str, Any]]:
        """The manifests of all units with a manifest and rows, ordered by key. Raises DamagedError."""
        return [manifest.content for manifest in self._folder.manifests()]

    def protocol(self, prefix: str = "") -> Protocol:
        """The only protocol here of this name, or whose hash begins so; the benchmark's own in an empty folder.

        Raises StoreError where there are several, or none.
        """
        found = {manifest.protocol for manifest in self._folder.manifests()}
        begins = PROTOCOLS[prefix].short if prefix in PROTOCOLS else prefix
        matching = [protocol for protocol in found if protocol.short.startswith(begins)]
        if not found and not prefix:
            return Protocol()
        if len(matching) != 1:
            known = ", ".join(sorted(protocol.short for protocol in found)) or "none"
            raise StoreError(f"{self.root}: {len(matching)} protocols match {prefix!r}, of {known}; name one")
        return matching[0]

    def rows(
        self,
        *,
        protocol: Protocol | None = None,
        task: str | None = None,
        method: str | None = None,
        generator_seed: int | None = None,
        columns: Collection[str] | None = None,
        only: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> pa.Table:
        """The episode rows (EPISODE_SCHEMA) of all finished units, or of those that match what is given, by key.

        `only` tells by a unit's fields whether it is wanted. With `columns` only these are read, in the schema's order,
        which is faster. The weights need not be there. Raises DamagedError where rows are not what their manifest says.
        """
        wanted = {"task": task, "method": method, "generator_seed": generator_seed}
        return read_rows(self._folder, self._matching(protocol, wanted, only), "parquet", EPISODE_SCHEMA, columns)

    def policies(
        self,
        *,
        protocol: Protocol | None = None,
        task: str | None = None,
        columns: Collection[str] | None = None,
        only: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> pa.Table:
        """The rows of the policies (POLICY_SCHEMA), as `rows`."""
        manifests = self._matching(protocol, {"task": task}, only)
        return read_rows(self._folder, manifests, "policies.parquet", POLICY_SCHEMA, columns)

    def unit_rows(self, unit: Unit) -> pa.Table:
        """The episode rows of one finished unit (EPISODE_SCHEMA). Raises StoreError."""
        return read_rows(self._folder, [self._folder.manifest(unit.key)], "parquet", EPISODE_SCHEMA)

    def weights(self, unit: Unit) -> list["Weights"]:
        """The generated weights of a unit, sample by sample in layer order.

        Raises StoreError if there are none, or none that this version's rollouts can read, and DamagedError.
        """
        path = self._path(unit, ALL)
        _check_version(unit, path)
        if not path.exists() or not path.with_suffix(".json").exists():
            raise StoreError(f"{path}: no weights are stored for this unit; run it first")
        found = self._folder.parse_verified(path.name, self._folder.manifest(unit.key), parse_weights)
        return [found[sample] for sample in range(unit.protocol.samples)]

    def tested_weights(self, unit: Unit) -> dict[int, "Weights"]:
        """The weights of a unit's tested networks by sample, best first, from archives too. Raises as `weights`."""
        manifest = self._folder.manifest(unit.key)
        _check_version(unit, self._path(unit, ALL))
        policies = read_rows(self._folder, [manifest], "policies.parquet", POLICY_SCHEMA)
        return read_tested(self._folder, manifest, policies)

    def journal(self, unit: Unit) -> Journal:
        """Where the unit's episodes are kept until it is finished."""
        return Journal(self.root / "partial" / unit.key)

    def unfinished(self) -> dict[str, int]:
        """Units under way, by key, and how many of their episodes are kept."""
        found = {}
        for directory in sorted((self.root / "partial").glob("*")):
            kept = Journal(directory).read()
            found[directory.name] = kept.num_rows if kept is not None else 0
        return found

    def merge(self, other: "Store") -> tuple[int, int]:
        """Copy another folder's finished units; returns how many were new and how many were here already.

        Raises StoreError where a unit is in both with different rows or weights, before anything is copied.
        """
        return merge(other._folder, self._folder)

    def publish(self, folder: Path, *, weights: bool = False) -> tuple[int, int]:
        """Add the finished units to the folder's archives, with `weights` also those of the tested networks.

        Returns how many units, or weights of units, were new, and how many were there; raises as `merge`.
        """
        return publish(self._folder, Folder(folder), weights=weights)

    def _matching(
        self,
        protocol: Protocol | None,
        wanted: Mapping[str, Any],
        only: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> list[Manifest]:
        return [
            manifest
            for manifest in self._folder.manifests()
            if (protocol is None or manifest.protocol == protocol)
            and all(value is None or manifest.unit[name] == value for name, value in wanted.items())
            and (only is None or only(manifest.unit))
        ]

    @cached_property
    def _folder(self) -> Folder:
        return Folder(self.root)

    def _path(self, unit: Unit, kind: str) -> Path:
        return self.root / f"{unit.key}.{kind}"


def _has(file: Path, sha256: str) -> bool:
    try:
        return content_sha256(file.read_bytes()) == sha256
    except OSError:  # missing, removed by another process, or a folder
        return False


def _check_version(unit: Unit, path: Path) -> None:
    current = Protocol().version
    if unit.protocol.version != current:
        raise StoreError(
            f"{path}: policies of version {unit.protocol.version} of the protocol, which read observations in "
            f"another way than those of version {current}; run it again"
        )
