"""What the NNiT paper printed in its tables, as data; nothing in here was measured by nnbench.

`reported.json` holds the transcription and notes on what the paper leaves undefined.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "reported.json"

ARXIV_ID: str = json.loads(_FILE.read_text("utf-8"))["arxiv"]
"""The version of the paper that the values are from."""


@dataclass(frozen=True)
class Reported:
    """One cell of the paper."""

    table: int
    method: str
    partition: str
    """`seen`, `unseen`, or `train` for the paper's Dataset row."""
    task: str
    mean_return: float
    plus_minus: float
    """The number behind the paper's ±, which it does not define."""
    success: float
    """A fraction; the paper prints whole percent."""


def reported(table: int, method: str, partition: str, task: str) -> Reported | None:
    """The paper's cell, None where it has none. Methods are `dataset`, `sane`, `d2nwg` and `nnit`."""
    return _cells().get((table, method, partition, task))


def reported_rows(table: int, task: str) -> list[Reported]:
    """The paper's cells of one table and task, in the paper's order."""
    return [cell for cell in _cells().values() if cell.table == table and cell.task == task]


@cache
def _cells() -> dict[tuple[int, str, str, str], Reported]:
    cells = {}
    for number, table in json.loads(_FILE.read_text("utf-8"))["tables"].items():
        for row in table["rows"]:
            for task, values in row["cells"].items():
                cell = Reported(int(number), row["method"], row["partition"], task, *values)
                cells[cell.table, cell.method, cell.partition, task] = cell
    return cells
