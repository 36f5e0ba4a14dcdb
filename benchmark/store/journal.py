"""Episodes of units under way, kept so that a killed run goes on where it was."""

import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from nnbench.store.errors import StoreError, remedy
from nnbench.store.schemas import ROLLOUT_SCHEMA, conform, parquet_bytes
from nnbench.tasks.files import parse_parquet, write_atomically

_PROCESS = uuid.uuid4().hex[:8]
"""In the names of this process's parts: two processes at the same unit never overwrite one another's."""


@dataclass(frozen=True)
class Journal:
    """Episodes of one unit, in numbered parts."""

    directory: Path
    process: str = _PROCESS

    def append(self, episodes: pa.Table) -> None:
        """Keep these episodes (ROLLOUT_SCHEMA). Raises WriteError on a full disk."""
        parts = self._parts()
        number = int(parts[-1].stem.split("-")[0]) + 1 if parts else 0
        path = self.directory / f"{number:06d}-{self.process}.parquet"
        content = parquet_bytes(conform(episodes, ROLLOUT_SCHEMA, str(path)))
        write_atomically(path, partial(Path.write_bytes, data=content))

    def read(self) -> pa.Table | None:
        """All episodes kept so far in the order they came (ROLLOUT_SCHEMA), None if there are none.

        Raises StoreError where a part is damaged.
        """
        tables = [conform(_parse(path), ROLLOUT_SCHEMA, str(path)) for path in self._parts()]
        return pa.concat_tables(tables).combine_chunks() if tables else None

    def clear(self) -> None:
        """Remove all parts, once the unit is finished."""
        if self.directory.exists():
            for path in self.directory.iterdir():
                path.unlink()
            self.directory.rmdir()

    def _parts(self) -> list[Path]:
        return sorted(self.directory.glob("[0-9]*.parquet"))


def _parse(path: Path) -> pa.Table:
    try:
        return parse_parquet(path.read_bytes())
    except pa.ArrowException as error:
        raise StoreError(f"{path}: corrupt, no readable parquet ({error}); {remedy(path.name)}") from error
