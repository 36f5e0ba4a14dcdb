"""Files that are whole or absent: after a kill or a power cut the old one or the new one is there."""

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnbench.errors import NnbenchError

if TYPE_CHECKING:  # training and rollouts read no tables, and pyarrow takes a while to import
    import pyarrow as pa


_FULL = (errno.ENOSPC, errno.EDQUOT)


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
        remedy = "choose a folder that you can write to"
        if error.errno in _FULL:
            remedy = (
                "free some space or choose another folder, and run the same command again: it goes on from what is "
                "stored"
            )
        raise WriteError(f"{path}: could not be written ({error.strerror or error}); {remedy}") from error
    finally:
        with suppress(OSError):  # what hinders the write may hinder this too; the error above says what to do
            temporary.unlink(missing_ok=True)


def require_folder(path: Path) -> None:
    """Raises WriteError where the folder of a file that is to be written is missing."""
    if not path.parent.is_dir():
        raise WriteError(f"{path}: no such folder {path.parent}; make it, or choose another")


def write_json(path: Path, value: Any) -> None:
    """JSON, indented, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(value, indent=2) + "\n"))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows of equal columns as one parquet file, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(rows)
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """What `write_rows` wrote."""
    rows: list[dict[str, Any]] = parse_parquet(path.read_bytes()).to_pylist()
    return rows


def parse_parquet(content: bytes) -> "pa.Table":
    """The table in a parquet file's content. Raises pyarrow's ArrowException where it is none.

    Reads in this thread alone: threads of `pyarrow.parquet.read_table` sometimes outlive the interpreter, which then
    aborts with all work done (apache/arrow#34314).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)


def file_sha256(path: Path) -> str:
    """Hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
