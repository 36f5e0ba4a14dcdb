"""Archives of published units: the files of many units in one `.tar.xz`, of the weights those of tested networks."""

import io
import lzma
import re
import tarfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from nnbench.store.errors import REMEDY_ARCHIVE
from nnbench.tasks.files import write_bytes
from nnbench.tasks.integrity import DamagedError, read_stored

_LARGEST = 1 << 30
"""Bytes of an archive when decompressed: a few megabytes of xz can pretend to be terabytes."""

_DICTIONARY = 256 << 20
"""Bytes of memory that decompressing may take beside the content; an archive of ours takes 65 MiB."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names of units' files. An archive of somebody else must not name a place outside its folder."""


def read_archive(path: Path) -> Mapping[str, bytes]:
    """The archive's files by name; decompressed once per process unless it changes.

    Raises DamagedError where it is damaged, or holds anything but plain files with names of their own.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DamagedError(path, f"cannot be read ({error.strerror or error})", REMEDY_ARCHIVE) from error
    return _read(path.resolve(), status.st_mtime_ns, status.st_size)


def forget_archives() -> None:
    """Free the memory of all archives that were read; the next reading decompresses again."""
    _read.cache_clear()


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """Write atomically. Equal files make equal archives."""
    write_bytes(path, _archive_bytes(files))


@lru_cache(maxsize=512)
def _read(path: Path, modified_ns: int, size: int) -> Mapping[str, bytes]:
    if size > _LARGEST:
        raise DamagedError(path, f"it has {size >> 20} MiB, expected {_LARGEST >> 20} at most", REMEDY_ARCHIVE)
    return read_stored(path, _parse, REMEDY_ARCHIVE)


def _parse(content: bytes) -> dict[str, bytes]:
    """For `read_stored`: raises whatever, where it is no archive of plain files."""
    content, files, end = _decompress(content), dict[str, bytes](), -1
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for member in archive:
            if member.offset <= end:
                raise tarfile.TarError("its members overlap")
            if not member.isreg() or not _NAME.fullmatch(member.name) or member.name in files:
                raise ValueError(
                    f"it holds {member.name!r}, expected plain files, each once, named with letters, digits, '-', '_' "
                    "and '.'"
                )
            files[member.name] = content[member.offset_data : member.offset_data + member.size]
            end = member.offset
    return files


def _decompress(content: bytes) -> bytes:
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DICTIONARY)
    decompressed = decompressor.decompress(content, _LARGEST)
    if not decompressor.eof:
        too_large = f"it holds more than {_LARGEST >> 20} MiB"
        raise EOFError("it ends too early" if decompressor.needs_input else too_large)
    if decompressor.unused_data:
        raise lzma.LZMAError("something follows its end")
    return decompressed


def _archive_bytes(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=9) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
    return buffer.getvalue()
