"""Episodes of units under way, kept so that a killed run goes on where it was."""

import hashlib
import sys
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from nnbench.store.schemas import ROLLOUT_SCHEMA, conform, parquet_bytes
from nnbench.tasks.files import parse_parquet, write_atomically

_PROCESS = uuid.uuid4().hex[:8]
"""In the names of this process's parts: two processes at the same unit never overwrite one another's."""


@dataclass(frozen=True)
class Journal:
    """Episodes of one unit, in numbered parts. A part's name ends in the hash of its content."""

    directory: Path
    process: str = _PROCESS

    def append(self, episodes: pa.Table) -> None:
        """Keep these episodes (ROLLOUT_SCHEMA). Raises WriteError on a full disk."""
        parts = self._parts()
        number = int(parts[-1].stem.split("-")[0]) + 1 if parts else 0
        content = parquet_bytes(conform(episodes, ROLLOUT_SCHEMA, str(self.directory)))
        path = self.directory / f"{number:06d}-{self.process}-{_digest(content)}.parquet"
        write_atomically(path, partial(Path.write_bytes, data=content))

    def read(self) -> pa.Table | None:
        """All episodes kept so far in the order they came (ROLLOUT_SCHEMA), None if there are none.

        A damaged part is left out and said to be: its episodes run again.
        """
        tables = [table for path in self._parts() if (table := _read_part(path)) is not None]
        return pa.concat_tables(tables).combine_chunks() if tables else None

    def clear(self) -> None:
        """Remove all parts, once the unit is finished."""
        if self.directory.exists():
            for path in self.directory.iterdir():
                path.unlink()
            self.directory.rmdir()

    def _parts(self) -> list[Path]:
        return sorted(self.directory.glob("[0-9]*.parquet"))


def _read_part(path: Path) -> pa.Table | None:
    """None where the file is not what was written."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None  # another process finished the unit and cleared its journal
    if path.stem.rpartition("-")[2] != _digest(content):
        print(f"nnbench: {path}: damaged; its episodes are run again", file=sys.stderr)
        return None
    return conform(parse_parquet(content), ROLLOUT_SCHEMA, str(path))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
