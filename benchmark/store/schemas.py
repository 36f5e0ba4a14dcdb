"""The columns of stored rows, and how they lie in parquet files."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nnbench.protocol import Protocol, Unit
from nnbench.store.errors import StoreError
from nnbench.tasks.policies.architectures import architecture_name, load_splits


def _required(name: str, kind: Any) -> Any:
    return pa.field(name, kind, nullable=False)


NO_SEED = -1
"""The `ghn_seed` of a sample whose architecture the zoo has no policy of; its distance and spread are NaN."""

COMPARISON = 3
"""How the weights of two policies are compared: after balancing their neurons (`tasks.policies.balancing`) and matching
them; samples also with padded training policies. In rows of comparison 1 they were only matched; what such rows say of
distances is not read. In those of comparison 2 none was padded: what they call a copy is one, not the reverse."""

FAR = 0.5
"""Of the distance between two of the zoo's policies: what is nearer to one of them is counted as a copy."""

_STAGE = pa.dictionary(pa.int8(), pa.string())

ROLLOUT_SCHEMA = pa.schema(
    [
        _required("weights_sha256", pa.string()),
        _required("stage", _STAGE),
        _required("episode_seed", pa.int64()),
        _required("return", pa.float32()),
        _required("success_once", pa.bool_()),
        _required("success_at_end", pa.bool_()),
        _required("diverged", pa.bool_()),
    ]
)
"""A finished episode of a unit under way, before its samples are ranked."""

_SAMPLE = [
    _required("protocol", pa.string()),  # Protocol.short
    _required("task", pa.string()),
    _required("method", pa.string()),
    _required("method_sha256", pa.string()),
    _required("generator_seed", pa.int32()),
    _required("track", pa.string()),  # Track.label
    _required("joint", pa.bool_()),  # the method chose the architecture too
    _required("arch", pa.string()),  # 32-16-64-32
    _required("partition", pa.string()),  # train, unseen, outside, widths, depths or other
    _required("sample", pa.int16()),  # 0 to samples - 1
    _required("weights_sha256", pa.string()),
]
SAMPLE_COLUMNS = tuple(field.name for field in _SAMPLE)
"""The columns that say which sample a row is about. Both schemas below begin with them."""

EPISODE_SCHEMA = pa.schema(
    [
        *_SAMPLE,
        _required("stage", _STAGE),  # selection or test
        _required("episode_seed", pa.int64()),
        _required("return", pa.float32()),  # sum of the normalised dense reward
        _required("success_once", pa.bool_()),
        _required("success_at_end", pa.bool_()),
        _required("selected", pa.bool_()),  # among the top by mean return on the selection episodes
        _required("rank", pa.int16()),  # among the selected, the best has 0; -1 for the others
        _required("diverged", pa.bool_()),  # an action was not finite: the return is 0
    ]
)
"""One row per policy and episode. Samples with equal weights have their own rows each."""

POLICY_SCHEMA = pa.schema(
    [
        *_SAMPLE,
        _required("rank", pa.int16()),
        _required("ghn_seed", pa.int32()),  # of the zoo's policy of this architecture that is nearest, NO_SEED if none
        _required("comparison", pa.int8()),  # COMPARISON, of the distances of weights that say so
        _required("ghn_distance", pa.float32()),  # L2 to that policy, by `comparison`
        _required("ghn_spread", pa.float32()),  # how far the zoo's policies are from their nearest
        _required("other_l2", pa.float32()),  # to the nearest other sample of this architecture, NaN if there is none
        _required("other_cosine", pa.float32()),  # of the most similar other sample
        _required("action_arch", pa.string()),  # training policy whose actions are the most similar
        _required("action_seed", pa.int32()),
        _required("action_distance", pa.float32()),  # mean L2 distance of the actions
        _required("action_spread", pa.float32()),  # the same between training policies of different hypernetworks
        _required("effective_arch", pa.string()),  # that of the policy without its silent neurons; "" in older rows
        # L2 from that policy to the nearest training policy of its architecture, by `comparison`, over the spread of
        # the zoo's policies there; where it is less, and less than FAR, to one of a narrower architecture, padded, over
        # the spread there; null where there is neither
        pa.field("trained_ratio", pa.float32()),
        # Of the first 32 samples of an architecture, to the nearest other of them; null for the others.
        pa.field("mutual_distance", pa.float32()),  # L2, by `comparison`
        pa.field("mutual_actions", pa.float32()),  # mean L2 distance of the actions
        pa.field("top_l2", pa.list_(pa.float32())),  # of a selected policy to each of the selected, best first
        pa.field("top_cosine", pa.list_(pa.float32())),
    ]
)
"""One row per policy: how near it is to the zoo's policies and to the other samples."""


RARE: dict[str, Any] = {
    "diverged": False,
    "track": "paper",
    "comparison": 1,
    "effective_arch": "",
    "trained_ratio": None,
    "mutual_distance": None,
    "mutual_actions": None,
}
"""Columns that a file leaves out where all of its rows have this value."""


_COMPARED: dict[str, Any] = {
    "ghn_distance": float("nan"),
    "ghn_spread": float("nan"),
    "trained_ratio": None,
    "mutual_distance": None,
}
"""The columns that depend on how weights are compared, with what they hold where they cannot be read."""


def unit_columns(unit: Unit) -> dict[str, Any]:
    """The columns that are equal in all rows of a unit, with their values."""
    columns: dict[str, Any] = {
        "protocol": unit.protocol.short,
        "task": unit.task,
        "method": unit.method,
        "method_sha256": unit.method_sha256,
        "generator_seed": unit.generator_seed,
        "track": unit.track,
        "joint": unit.arch is None,
    }
    if unit.arch is not None:
        partition = unit.partition or load_splits().partition(unit.arch)
        columns |= {"arch": architecture_name(unit.arch), "partition": partition}
    return columns


def most_rows(protocol: Protocol) -> int:
    """So many rows a unit can have: no file of it is read that says to have more."""
    tested = protocol.top * protocol.test_episodes
    return protocol.samples * protocol.selection_episodes + tested


def conform(table: pa.Table, schema: pa.Schema, owner: str) -> pa.Table:
    """The table's columns in the order and types of the schema. Raises StoreError where that loses anything."""
    if "comparison" in schema.names and "comparison" not in table.column_names:
        table = forget_distances(table)
    table = fill_rare(table, schema)
    check_names(table.column_names, schema, owner)
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise StoreError(f"{owner}: rows do not fit the schema: {error}") from error


def fill_rare(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """With the columns of the schema that the file left out."""
    for name, value in RARE.items():
        if name in schema.names and name not in table.column_names:
            field = schema.field(name)
            table = table.append_column(field, pa.repeat(pa.scalar(value, field.type), table.num_rows))
    return table


def forget_distances(table: pa.Table) -> pa.Table:
    """Without what older rows say of distances of weights, which cannot be put beside `COMPARISON`."""
    for name, value in _COMPARED.items():
        if name in table.column_names:
            place, kind = table.column_names.index(name), POLICY_SCHEMA.field(name).type
            table = table.set_column(place, name, pa.repeat(pa.scalar(value, kind), table.num_rows))
    return table


def check_names(names: list[str], schema: pa.Schema, owner: str) -> None:
    """Raise StoreError unless these are the columns of the schema, in any order."""
    missing, surplus = set(schema.names) - set(names), set(names) - set(schema.names)
    if missing or surplus:
        raise StoreError(f"{owner}: rows lack {sorted(missing)} and have unknown {sorted(surplus)} columns")


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as the content of a parquet file. Equal tables have equal bytes.

    Dictionaries, statistics and the Arrow schema, most of a file of a thousand rows, are left out: `conform` knows the
    types when it reads.
    """
    for name, value in RARE.items():
        if name in table.column_names and set(table[name].unique().to_pylist()) <= {value}:
            table = table.drop_columns(name)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False, write_statistics=False, store_schema=False)
    return bytes(buffer.getvalue())
