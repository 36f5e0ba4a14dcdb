"""Files that are whole or absent: after a kill or a power cut the old one or the new one is there."""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnbench.errors import NnbenchError

if TYPE_CHECKING:  # training and rollouts read no tables, and pyarrow takes a while to import
    import pyarrow as pa
    import pyarrow.parquet as pq


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_LARGEST = 1 << 30
"""Bytes of a table when decompressed."""
_MOST_ROWS = 1_000_000
"""Of a table, where nothing says how many it must have: zoos and round trips have thousands."""


class WriteError(NnbenchError, OSError):
    """A file that could not be written. Names the file, the reason and the remedy."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there in one step.

    Raises WriteError where that fails, for example on a full disk; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        with suppress(OSError):  # what hinders the write may hinder this too; the error above says what to do
            temporary.unlink(missing_ok=True)


def write_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write into a temporary folder beside `path`, a new folder or an empty one, then move it there.

    Raises WriteError where that fails; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        make_folder(temporary)
        fill(temporary)
        temporary.rename(path)
    except OSError as error:
        raise error if isinstance(error, WriteError) else _write_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_error(path: Path, error: OSError) -> WriteError:
    remedy = "choose a folder that you can write to"
    if error.errno in _FULL:
        remedy = (
            "free some space or choose another folder, and run the same command again: it goes on from what is stored"
        )
    return WriteError(f"{path}: could not be written ({error.strerror or error}); {remedy}")


def write_bytes(path: Path, content: bytes) -> None:
    """A file's content, atomically. Raises WriteError."""
    write_atomically(path, partial(Path.write_bytes, data=content))


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing. Raises WriteError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _write_error(path, error) from error


def remove_file(path: Path) -> None:
    """Remove a file where there is one. Raises WriteError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _write_error(path, error) from error


def require_folder(path: Path) -> None:
    """Raises WriteError where the folder of a file that is to be written is missing."""
    if not path.parent.is_dir():
        raise WriteError(f"{path}: no such folder {path.parent}; make it, or choose another")


def write_json(path: Path, value: Any) -> None:
    """JSON, indented, atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows of equal columns as one parquet file, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    write_bytes(path, bytes(buffer.getvalue()))


def parse_rows(content: bytes) -> list[dict[str, Any]]:
    """What `write_rows` wrote, of the file's content. Raises as `parse_parquet`."""
    rows: list[dict[str, Any]] = parse_parquet(content).to_pylist()
    return rows


def parse_parquet(content: bytes, rows: int = _MOST_ROWS) -> "pa.Table":
    """The table in a parquet file's content. Raises pyarrow's ArrowException where it is none.

    Raises ValueError where it would have more than `rows` rows, or fill the memory. Reads in this thread alone: threads
    of `pyarrow.parquet.read_table` sometimes outlive the interpreter, which then aborts with all work done
    (apache/arrow#34314).
    """
    return open_parquet(content, rows).read(use_threads=False)


def open_parquet(content: bytes, rows: int = _MOST_ROWS) -> "pq.ParquetFile":
    """The file that `parse_parquet` reads, of which nothing but its description is read yet. Raises as that does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(content))
    described = file.metadata
    if described.num_rows > rows:
        raise ValueError(f"it has {described.num_rows} rows, expected {rows} at most")
    groups = [described.row_group(position) for position in range(described.num_row_groups)]
    if sum(group.num_rows for group in groups) != described.num_rows:
        raise ValueError("its parts have other rows than it says")
    size = sum(_decoded_bytes(group.column(place)) for group in groups for place in range(group.num_columns))
    if size > _LARGEST:
        raise ValueError(f"it would take {size >> 20} MiB of memory, expected {_LARGEST >> 20} at most")
    return file


def _decoded_bytes(column: "pq.ColumnChunkMetaData") -> int:
    """At most so many bytes a column takes when decoded: a short text in a dictionary may stand for many values."""
    if column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page:
        return int(column.total_uncompressed_size * column.num_values)
    return int(max(column.total_uncompressed_size, 8 * column.num_values))


def file_sha256(path: Path) -> str:
    """Hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
