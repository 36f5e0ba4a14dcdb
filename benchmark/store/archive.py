"""Archives of published units: the same files of many units, without the weights, in one `.tar.xz`."""

import io
import lzma
import tarfile
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path

from nnbench.store.errors import StoreError
from nnbench.tasks.files import write_atomically


def read_archive(path: Path) -> Mapping[str, bytes]:
    """The archive's files by name; decompressed once per process unless it changes.

    Raises StoreError where it is damaged.
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
        content = lzma.decompress(path.read_bytes())
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            return {
                member.name: content[member.offset_data : member.offset_data + member.size]
                for member in archive
                if member.isfile()
            }
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise StoreError(f"{path}: no readable archive ({error}); fetch it again, or delete it") from error


def _write(files: Mapping[str, bytes], path: Path) -> None:
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
