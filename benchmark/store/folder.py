"""The files of finished units in one folder, loose or in archives, or in one archive, and their manifests."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

from nnbench.protocol import Protocol
from nnbench.store.archive import read_archive
from nnbench.store.errors import StoreError, remedy


@dataclass(frozen=True)
class Manifest:
    """What is stated of a finished unit: the hashes of its files, and where its numbers come from."""

    name: str
    """`<key>.json`."""
    content: dict[str, Any]
    protocol: Protocol

    @classmethod
    def parse(cls, path: Path, text: bytes) -> Self:
        """Raises StoreError where it is no manifest."""
        try:
            content = json.loads(text)
            protocol = _protocol(tuple(content["unit"]["protocol"].items()))
            _check_names(path.stem, content["unit"], content["sha256"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StoreError(f"{path}: not a manifest of this version ({error}); {remedy(path.name)}") from error
        return cls(path.name, content, protocol)

    @property
    def key(self) -> str:
        """The unit's key."""
        return self.name.removesuffix(".json")

    @property
    def unit(self) -> Mapping[str, Any]:
        """The unit's fields, as `Unit.from_fields` takes them."""
        fields: Mapping[str, Any] = self.content["unit"]
        return fields

    @property
    def sha256(self) -> Mapping[str, str]:
        """The names of the unit's files and the hashes of their content."""
        hashes: Mapping[str, str] = self.content["sha256"]
        return hashes


@dataclass(frozen=True)
class Folder:
    """Reads files by name. A loose file goes before one of the same name in an archive."""

    root: Path
    """A folder, or a single archive."""

    def names(self) -> set[str]:
        """The names of all files, loose or in an archive, but of temporary ones."""
        loose = {path.name for path in self.root.iterdir() if path.is_file()} if self.root.is_dir() else set()
        return {name for name in loose | self._archived.keys() if not name.startswith(".")}

    def has(self, name: str) -> bool:
        """True if there is such a file, loose or in an archive."""
        return name in self._archived or (self.root / name).exists()

    def read(self, name: str) -> bytes:
        """The file's content, empty where there is none."""
        path = self.root / name
        return path.read_bytes() if path.exists() else self._archived.get(name, b"")

    def read_verified(self, name: str, manifest: Manifest) -> bytes:
        """The content of a unit's file. Raises StoreError where it is not what the manifest says."""
        content = self.read(name)
        if content_sha256(content) != manifest.sha256.get(name):
            raise StoreError(
                f"{self.root / name}: missing or corrupt, its sha256 is not the one in its manifest; {remedy(name)}"
            )
        return content

    def keys(self) -> list[str]:
        """The keys of all units with a manifest and rows, sorted."""
        names = self.names()
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return sorted(stem for stem in stems if f"{stem}.parquet" in names)

    def manifests(self) -> list[Manifest]:
        """The manifests of all units with a manifest and rows, by key. Raises StoreError."""
        return [self.manifest(key) for key in self.keys()]

    def manifest(self, key: str) -> Manifest:
        """The manifest of one unit. Raises StoreError where there is none, or none that can be read."""
        path = self.root / f"{key}.json"
        if path.exists():
            return Manifest.parse(path, path.read_bytes())
        if key not in self._archived_manifests:
            raise StoreError(f"{path}: no such unit; run it first")
        return self._archived_manifests[key]

    def files(self, manifest: Manifest) -> list[str]:
        """The names of a unit's files that are here: rows may be published without the weights, or with the tested."""
        return [name for name in manifest.sha256 if self.has(name)]

    @cached_property
    def _archived(self) -> Mapping[str, bytes]:
        files: dict[str, bytes] = {}
        for archive in [self.root] if self.root.is_file() else sorted(self.root.glob("*.tar.xz")):
            files |= read_archive(archive)
        return files

    @cached_property
    def _archived_manifests(self) -> Mapping[str, Manifest]:
        names = [name for name in self._archived if name.endswith(".json")]
        return {name.removesuffix(".json"): Manifest.parse(self.root / name, self._archived[name]) for name in names}


def manifest_bytes(content: Mapping[str, Any]) -> bytes:
    """A manifest's content as its file."""
    return (json.dumps(content, indent=1) + "\n").encode()


def content_sha256(content: bytes) -> str:
    """Hash of a file's content, as manifests state it."""
    return hashlib.sha256(content).hexdigest()


def _check_names(key: str, unit: Mapping[str, Any], hashes: Mapping[str, str]) -> None:
    """Raises ValueError where names are not the unit's: they become paths when units are merged or published."""
    if f"{key}.parquet" not in hashes:
        raise ValueError("it does not name its rows")
    if strange := [name for name in hashes.keys() if not name.startswith(f"{key}.") or "/" in name]:
        raise ValueError(f"it names {', '.join(strange)}, which are files of something else")
    if not key.startswith(f"{unit['method']}-{unit['task']}-"):
        raise ValueError("its file is not named by method and task")


@lru_cache
def _protocol(fields: tuple[tuple[str, Any], ...]) -> Protocol:
    """Most manifests of a folder are of one protocol."""
    return Protocol(**dict(fields))
