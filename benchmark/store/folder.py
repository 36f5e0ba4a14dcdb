"""The files of finished units in one folder, loose or in archives, or in one archive, and their manifests."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self, TypeVar

from nnbench.protocol import OF_TRACKS, Protocol, Unit
from nnbench.store.archive import read_archive
from nnbench.store.checkpoints import Budget
from nnbench.store.errors import REMEDY_ARCHIVE, StoreError, remedy
from nnbench.tasks.integrity import parse_sealed, parse_stored, read_stored, seal

_TYPES = {name: type(value) for name, value in asdict(Protocol()).items()}
"""Of a protocol's fields."""
_STATED = {"info": dict, "trained": dict, "versions": dict, "machine": dict, "command": list, "created": str}
"""What a manifest may state beside the unit and its files."""

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """What is stated of a finished unit: the hashes of its files, and where its numbers come from."""

    name: str
    """`<key>.json`."""
    content: dict[str, Any]
    protocol: Protocol

    @classmethod
    def parse(cls, name: str, text: bytes) -> Self:
        """For `read_stored`: raises whatever, where it is not the manifest that belongs into a file of this name."""
        content, key = parse_sealed(text), name.removesuffix(".json")
        unit = _unit(content["unit"])
        if unit.key != key:
            raise ValueError(f"its unit is called {unit.key}; file names follow from the unit")
        _check_names(key, content["sha256"])
        _check_stated(content)
        return cls(name, content, unit.protocol)

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
        """The file's content, empty where there is none. Raises DamagedError where it cannot be read."""
        return self._parse(name, bytes) if self.has(name) else b""

    def parse_verified(self, name: str, manifest: Manifest, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of a unit's file. Raises DamagedError where it is not what the manifest says."""
        return self._parse(name, parse, sha256=manifest.sha256.get(name, "none"))

    def read_verified(self, name: str, manifest: Manifest) -> bytes:
        """The content of a unit's file. Raises as `parse_verified`."""
        return self.parse_verified(name, manifest, bytes)

    def keys(self) -> list[str]:
        """The keys of all units with a manifest and rows, sorted."""
        names = self.names()
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return sorted(stem for stem in stems if f"{stem}.parquet" in names)

    def manifests(self) -> list[Manifest]:
        """The manifests of all units with a manifest and rows, by key. Raises DamagedError."""
        return [self.manifest(key) for key in self.keys()]

    def manifest(self, key: str) -> Manifest:
        """The manifest of one unit. Raises StoreError where there is none, and DamagedError."""
        name = f"{key}.json"
        if not self.has(name):
            raise StoreError(f"{self.root / name}: no such unit; run it first")
        if (self.root / name).exists():
            return self._parse(name, partial(Manifest.parse, name))
        if key not in self._archived_manifests:
            self._archived_manifests[key] = self._parse(name, partial(Manifest.parse, name))
        return self._archived_manifests[key]

    def files(self, manifest: Manifest) -> list[str]:
        """The names of a unit's files that are here: rows may be published without the weights, or with the tested."""
        return [name for name in manifest.sha256 if self.has(name)]

    def _parse(self, name: str, parse: Callable[[bytes], T], *, sha256: str | None = None) -> T:
        path = self.root / name
        if path.exists() or name not in self._archived:
            return read_stored(path, parse, remedy(name), sha256=sha256)
        archive, content = self._archived[name]
        return parse_stored(archive / name, content, parse, REMEDY_ARCHIVE, sha256=sha256)

    @cached_property
    def _archived(self) -> Mapping[str, tuple[Path, bytes]]:
        """By name, the archive that a file is in, and the file's content."""
        files: dict[str, tuple[Path, bytes]] = {}
        for archive in [self.root] if self.root.is_file() else sorted(self.root.glob("*.tar.xz")):
            files |= {name: (archive, content) for name, content in read_archive(archive).items()}
        return files

    @cached_property
    def _archived_manifests(self) -> dict[str, Manifest]:
        """Those that were read."""
        return {}


def manifest_bytes(content: Mapping[str, Any]) -> bytes:
    """A manifest's content as its file, with a checksum."""
    return (json.dumps(seal(content), indent=1) + "\n").encode()


def _check_names(key: str, hashes: Mapping[str, str]) -> None:
    """Raises ValueError where names are not the unit's: they become paths when units are merged or published."""
    if f"{key}.parquet" not in hashes:
        raise ValueError("it does not name its rows")
    if strange := [name for name in hashes.keys() if not name.startswith(f"{key}.") or "/" in name]:
        raise ValueError(f"it names {', '.join(strange)}, which are files of something else")


def _unit(fields: Mapping[str, Any]) -> Unit:
    """Raises whatever, where these are no fields of a unit."""
    _check_types(fields["protocol"])
    texts = (fields["task"], fields["method"], fields["method_sha256"], *(fields.get(name, "") for name in OF_TRACKS))
    if not all(isinstance(value, str) for value in texts) or type(fields["generator_seed"]) is not int:
        raise TypeError("task, method, track and hash are texts, the seed is a whole number")
    return Unit.from_fields(dict(fields))


def _check_stated(content: Mapping[str, Any]) -> None:
    """Raises TypeError where what is stated of a unit's origin is of another kind than reports take."""
    for name, kind in _STATED.items():
        if not isinstance(content.get(name, kind()), kind):
            raise TypeError(f"{name} is of another type than this version's")
    seconds = content.get("info", {}).get("wall_s", {})
    if not isinstance(seconds, dict) or not all(isinstance(value, int | float) for value in seconds.values()):
        raise TypeError("the seconds of its stages are no numbers")
    if "trained" in content:
        Budget(**content["trained"])
    if not all(isinstance(word, str) for word in content.get("command", [])):
        raise TypeError("the words of its command are no texts")


def _check_types(protocol: Mapping[str, Any]) -> None:
    """Raises TypeError."""
    if wrong := [name for name, value in protocol.items() if type(value) is not _TYPES.get(name)]:
        raise TypeError(f"protocol: {', '.join(wrong)} of another type than this version's")
