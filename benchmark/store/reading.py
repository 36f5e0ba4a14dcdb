"""Reads the rows of many units into one table."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nnbench.protocol import JOINT
from nnbench.store.folder import Folder, Manifest
from nnbench.store.schemas import RARE, check_names, conform, fill_rare, forget_distances, most_rows
from nnbench.tasks.files import open_parquet

_STATED: dict[str, Callable[[Manifest], Any]] = {
    "protocol": lambda manifest: manifest.protocol.short,
    "task": lambda manifest: manifest.unit["task"],
    "method": lambda manifest: manifest.unit["method"],
    "method_sha256": lambda manifest: manifest.unit["method_sha256"],
    "generator_seed": lambda manifest: manifest.unit["generator_seed"],
    "track": lambda manifest: manifest.unit.get("track", "paper"),
    "joint": lambda manifest: manifest.unit["arch"] == JOINT,
}
"""Columns that the manifest states too: a unit with other values is not written, so they need not be decoded."""


@dataclass(frozen=True)
class _Part:
    path: str
    manifest: Manifest
    decoded: pa.Table


def read_rows(
    folder: Folder, manifests: Sequence[Manifest], kind: str, schema: pa.Schema, columns: Collection[str] | None = None
) -> pa.Table:
    """The rows of these units, one after the other, in one chunk; all columns of the schema, or those named.

    `kind` is the suffix of the files. Raises DamagedError where rows are not what their manifest says.
    """
    wanted = pa.schema([field for field in schema if columns is None or field.name in columns])
    if not manifests:
        return wanted.empty_table()
    decoded = pa.schema([field for field in wanted if field.name not in _STATED])
    parts = [_read_part(folder, manifest, kind, schema, decoded.names) for manifest in manifests]
    table = _join(parts, decoded)
    lengths = [part.decoded.num_rows for part in parts]
    found = {
        field.name: table[field.name] if field.name in decoded.names else _repeat(field, manifests, lengths)
        for field in wanted
    }
    return pa.table(found, wanted).combine_chunks()


def _read_part(folder: Folder, manifest: Manifest, kind: str, schema: pa.Schema, columns: list[str]) -> _Part:
    name = f"{manifest.key}.{kind}"
    path = str(folder.root / name)

    def parse(content: bytes) -> _Part:
        file = open_parquet(content, most_rows(manifest.protocol))
        there = file.schema_arrow.names
        check_names([*there, *(name for name in RARE if name in schema.names and name not in there)], schema, kind)
        # In this thread: see `nnbench.tasks.files.parse_parquet`.
        decoded = file.read([name for name in columns if name in there], use_threads=False)
        if "comparison" in schema.names and "comparison" not in there:
            decoded = forget_distances(decoded)
        return _Part(path, manifest, fill_rare(decoded, pa.schema([schema.field(name) for name in columns])))

    return folder.parse_verified(name, manifest, parse)


def _join(parts: Sequence[_Part], schema: pa.Schema) -> pa.Table:
    """Cast once, unless a part does not fit: then one by one, to name the file."""
    try:
        return pa.concat_tables([part.decoded for part in parts]).select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError):
        return pa.concat_tables([conform(part.decoded, schema, part.path) for part in parts])


def _repeat(field: pa.Field, manifests: Sequence[Manifest], lengths: Sequence[int]) -> pa.Array:
    values = pa.array([_STATED[field.name](manifest) for manifest in manifests], field.type)
    return values.take(pa.array(np.repeat(np.arange(len(manifests)), lengths)))
