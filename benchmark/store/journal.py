"""Episodes of units under way, kept so that a killed run goes on where it was."""

import hashlib
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from nnbench.store.schemas import ROLLOUT_SCHEMA, conform, parquet_bytes
from nnbench.tasks.files import parse_parquet, remove_file, write_bytes
from nnbench.tasks.integrity import DamagedError, read_stored

_PROCESS = uuid.uuid4().hex[:8]
"""In the names of this process's parts: two processes at the same unit never overwrite one another's."""


@dataclass(frozen=True)
class Journal:
    """Episodes of one unit, in numbered parts. A part's name ends in the hash of its content and of the unit's key."""

    directory: Path
    process: str = _PROCESS

    def append(self, episodes: pa.Table) -> None:
        """Keep these episodes (ROLLOUT_SCHEMA). Raises WriteError on a full disk."""
        parts = self._parts()
        number = int(parts[-1].name[:6]) + 1 if parts else 0
        content = parquet_bytes(conform(episodes, ROLLOUT_SCHEMA, str(self.directory)))
        write_bytes(self.directory / f"{number:06d}-{self.process}-{self._digest(content)}.parquet", content)

    def read(self) -> pa.Table | None:
        """All episodes kept so far in the order they came (ROLLOUT_SCHEMA), None if there are none.

        A damaged part is left out and said to be: its episodes run again.
        """
        tables = [table for path in self._parts() if (table := self._read_part(path)) is not None]
        return pa.concat_tables(tables).combine_chunks() if tables else None

    def clear(self) -> None:
        """Remove all parts, once the unit is finished."""
        if self.directory.exists():
            for path in self.directory.iterdir():
                remove_file(path)
            self.directory.rmdir()

    def _parts(self) -> list[Path]:
        return sorted(self.directory.glob(f"{'[0-9]' * 6}-*.parquet"))

    def _read_part(self, path: Path) -> pa.Table | None:
        """None where the file is not what was written, or another process cleared the journal meanwhile."""

        def parse(content: bytes) -> pa.Table:
            if path.stem.rpartition("-")[2] != self._digest(content):
                raise ValueError("the hash in its name is of other content")
            return conform(parse_parquet(content), ROLLOUT_SCHEMA, path.name)

        try:
            return read_stored(path, parse, "its episodes are run again")
        except DamagedError as error:
            if path.exists():
                print(f"nnbench: {error}", file=sys.stderr)
            return None

    def _digest(self, content: bytes) -> str:
        """A part of another unit is damage too."""
        return hashlib.sha256(self.directory.name.encode() + content).hexdigest()[:16]
