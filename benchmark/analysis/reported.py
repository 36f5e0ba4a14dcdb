"""What the NNiT paper printed in its tables, as data; nothing in here was measured by nnbench.

`reported.json` holds the transcription and notes on what the paper leaves undefined.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "reported.json"

ARXIV_ID: str = json.loads(_FILE.read_text("utf-8"))["arxiv"]
"""The version of the paper that the values are from."""


@dataclass(frozen=True)
class Reported:
    """One cell of the paper. What a table does not distinguish is None."""

    table: int
    task: str
    method: str | None
    """`dataset`, `sane`, `d2nwg`, `nnit`; in table 1 `ghn` and `sgd`."""
    partition: str | None
    """`seen`, `unseen`, `joint`, or `train` for the paper's Dataset row."""
    arch: str | None
    values: Mapping[str, float]
    """`return`, `plus_minus` (the number behind the paper's ±, which it does not define), `success` as a fraction,
    `nearest_l2`, `nearest_cosine`: those that the table has."""


def reported(
    table: int, task: str, *, method: str | None = None, partition: str | None = None, arch: str | None = None
) -> Reported | None:
    """The paper's cell, None where it has none."""
    asked = (method, partition, arch)
    for cell in reported_cells(table, task):
        if (cell.method, cell.partition, cell.arch) == asked:
            return cell
    return None


@cache
def reported_cells(table: int, task: str) -> tuple[Reported, ...]:
    """The paper's cells of one table and task, in the paper's order."""
    found: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))["tables"][str(table)]
    return tuple(
        Reported(
            table,
            task,
            row.get("method"),
            row.get("partition"),
            row.get("arch"),
            dict(zip(found["columns"], row["cells"][task], strict=True)),
        )
        for row in found["rows"]
        if task in row["cells"]
    )
