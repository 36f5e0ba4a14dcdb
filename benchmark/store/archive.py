"""Archives of published units: the files of many units in one `.tar.xz`, of the weights those of tested networks."""

import io
import lzma
import re
import tarfile
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path

from nnbench.store.errors import StoreError
from nnbench.tasks.files import write_atomically

_LARGEST = 1 << 30
"""Bytes of an archive when decompressed: a few megabytes of xz can pretend to be terabytes."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names of units' files. An archive of somebody else must not name a place outside its folder."""


def read_archive(path: Path) -> Mapping[str, bytes]:
    """The archive's files by name; decompressed once per process unless it changes.

    Raises StoreError where it is damaged, or holds anything but plain files with names of their own.
    """
    status = path.stat()
    return _read(path.resolve(), status.st_mtime_ns, status.st_size)


def forget_archives() -> None:
    """Free the memory of all archives that were read; the next reading decompresses again."""
    _read.cache_clear()


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """Write atomically. Equal files make equal archives."""
    write_atomically(path, partial(_write, files))


@lru_cache(maxsize=512)
def _read(path: Path, modified_ns: int, size: int) -> Mapping[str, bytes]:
    try:
        content = _decompress(path)
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            members = archive.getmembers()
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise StoreError(f"{path}: no readable archive ({error}); fetch it again, or delete it") from error
    files: dict[str, bytes] = {}
    for member in members:
        if not member.isreg() or not _NAME.fullmatch(member.name) or member.name in files:
            raise StoreError(
                f"{path}: holds {member.name!r}, expected plain files, each once, named with letters, digits, '-', '_' "
                "and '.'; use an archive that `nnbench publish` wrote"
            )
        files[member.name] = content[member.offset_data : member.offset_data + member.size]
    return files


def _decompress(path: Path) -> bytes:
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    content = decompressor.decompress(path.read_bytes(), _LARGEST)
    if not decompressor.eof:
        too_large = f"it holds more than {_LARGEST >> 20} MiB"
        raise EOFError("it ends too early" if decompressor.needs_input else too_large)
    if decompressor.unused_data:
        raise lzma.LZMAError("something follows its end")
    return content


def _write(files: Mapping[str, bytes], path: Path) -> None:
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
