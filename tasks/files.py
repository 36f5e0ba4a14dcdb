"""Files that are whole or absent: after a kill or a power cut the old one or the new one is there."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what trains and rolls out reads no tables, and they take a while to import
    import pyarrow as pa


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there in one step.

    Raises OSError naming `path` and the remedy where that fails, for example on a full disk.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f"{path}: could not be written ({reason}); free some space or choose another folder, and run the same "
            "command again: it goes on from what is stored"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


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

    By this thread alone: those of `pyarrow.parquet.read_table` now and then outlive the interpreter, which then aborts
    with all work done (apache/arrow#34314).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)


def file_sha256(path: Path) -> str:
    """Hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
