"""Stored files are read as they were written, or not at all.

`read_stored` and `parse_stored` are the only way to read a file that nnbench stores: whatever is wrong with it becomes
one DamagedError. A file is known by the sha256 that a manifest names, by a checksum in its own name, or by one inside:
`seal` puts it into JSON, `nnbench.tasks.tensors` into safetensors. Files that older versions wrote have none inside.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from nnbench.errors import NnbenchError

T = TypeVar("T")

SUMS = "SHA256SUMS"
"""Names the hashes of shipped manifests that have no checksum inside; `sha256sum -c SHA256SUMS` reads it too."""

_CHECKSUM = "checksum"


class DamagedError(NnbenchError, ValueError):
    """A stored file that is missing, or not what was written. Names the file, what is wrong with it and the remedy."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(f"{path}: {what}; {remedy}")


def read_stored(path: Path, parse: Callable[[bytes], T], remedy: str, *, sha256: str | None = None) -> T:
    """What `parse` makes of a file's content.

    With `sha256` the content must have this hash. Raises DamagedError where it has another, where the file cannot be
    read, and for whatever `parse` raises.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError(path, "missing or changed: there is no such file", remedy) from error
    except OSError as error:
        raise DamagedError(path, f"cannot be read ({error.strerror or error})", remedy) from error
    return parse_stored(path, content, parse, remedy, sha256=sha256)


def parse_stored(
    path: Path, content: bytes, parse: Callable[[bytes], T], remedy: str, *, sha256: str | None = None
) -> T:
    """`read_stored` of content that was read already; `path` is where it is from."""
    if sha256 is not None and content_sha256(content) != sha256:
        raise DamagedError(path, "missing or changed: its sha256 is not the one that was recorded", remedy)
    try:
        return parse(content)
    except DamagedError:
        raise
    except Exception as error:  # parsers of damaged bytes raise nearly anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DamagedError(path, f"not what was written ({reason})", remedy) from error


def read_manifest(path: Path, remedy: str, *, sums: Path | None = None) -> dict[str, Any]:
    """The fields of a JSON file that `seal` made, or of an older one, without its checksum.

    `sums` is a folder that ships, whose SHA256SUMS name the hashes of manifests in it. Raises DamagedError.
    """
    return read_stored(path, parse_sealed, remedy, sha256=None if sums is None else _listed_sha256(path, sums))


def seal(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON fields with a checksum of them all."""
    return {**fields, _CHECKSUM: _checksum(fields)}


def parse_sealed(content: bytes) -> dict[str, Any]:
    """The fields of a JSON object, without the checksum that `seal` added; older files have none.

    Raises ValueError where it is no object, a key is there twice, or the checksum is of other fields.
    """
    fields = json.loads(content.decode(), object_pairs_hook=_refuse_doubles)
    if not isinstance(fields, dict):
        raise ValueError("expected a JSON object")
    stated = fields.pop(_CHECKSUM, None)
    if stated is None:
        _look_for_checksum(fields)
    elif stated != _checksum(fields):
        raise ValueError("its checksum is of other content")
    return fields


def content_sha256(content: bytes) -> str:
    """Hash of a file's content, as manifests state it."""
    return hashlib.sha256(content).hexdigest()


def _checksum(fields: Mapping[str, Any]) -> str:
    as_read = json.loads(json.dumps(dict(fields)))  # tuples are lists then, and keys are text
    return content_sha256(json.dumps(as_read, sort_keys=True).encode())


def _look_for_checksum(fields: Mapping[str, Any]) -> None:
    """Raises ValueError where the fields have a checksum whose own name is damaged: names of hashes end in sha256."""
    for name, value in fields.items():
        if isinstance(value, str) and len(value) == 64 and not name.endswith("sha256"):
            raise ValueError(f"its checksum is called {name!r}, expected {_CHECKSUM!r}")


def _refuse_doubles(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is there twice")
    return fields


def _listed_sha256(path: Path, folder: Path) -> str | None:
    path, folder = path.resolve(), folder.resolve()
    if not path.is_relative_to(folder) or not (folder / SUMS).exists():
        return None
    listed = read_stored(folder / SUMS, _parse_sums, "restore it from the package")
    return listed.get(path.relative_to(folder).as_posix())


def _parse_sums(content: bytes) -> dict[str, str]:
    listed = {}
    for line in content.decode("ascii").splitlines():
        digest, name = line.split(maxsplit=1)
        if len(digest) != 64 or int(digest, 16) < 0:
            raise ValueError(f"no hash: {digest!r}")
        listed[name] = digest
    return listed
