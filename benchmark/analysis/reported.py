"""What the NNiT paper printed in its tables; nothing in here was measured by nnbench.

Kim, Mehta, Hsu, Ryu, Liu, Pajic: NNiT: Width-Agnostic Neural Network Generation with Structurally Aligned Weight
Spaces. The numbers are facts of a task, `Task.reported`. What they are, and what the paper leaves undefined:

1. 35 policies of hidden widths 256-256-256 on PickCube-v1, written by GHNs or trained directly (SGD). `nearest_l2` and
   `nearest_cosine` are to the nearest other of the 35. The paper does not say how either side was trained, nor on how
   many episodes it was scored.
2. Mean return and success of the top 10 of 100 generated policies, each evaluated over 50 episodes. The paper does not
   say what its ± is: neither over what (policies, architectures, episodes, seeds) nor which statistic. It prints no
   partition for the Dataset row, which is filed under `train`, the architectures that its dataset is made of. Success
   is printed in whole percent.
3. As table 2, the method choosing the architecture too. The text says 99-100 % for the first two tasks.
4. Functional networks of single architectures, sampled jointly with their weights. The paper does not name the task;
   the returns are of PickCube-v1's range. Nor does it say how many networks a row is. It files 32-16-16-16 under
   unseen, which lies outside the space that it defines.
6. Mean distance and cosine similarity of each of 100 training policies to its nearest neighbour, for a fixed
   architecture that the paper does not name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from nnbench.tasks.registry import TASKS

ARXIV_ID = "2603.00180v1"
"""The version of the paper that the values are from."""

CLAIMED_UNSEEN = 0.85
"""Of the abstract: the success that the paper's method exceeds on architectures that it was not trained on."""

_KEYS = ("method", "partition", "arch")


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
    """The paper's cells of one table and task, in the paper's order; none for a task that does not ship."""
    rows = TASKS[task].reported.get(table, ()) if task in TASKS else ()
    return tuple(_cell(table, task, row) for row in rows)


def tasks_of(table: int) -> list[str]:
    """The tasks that the paper prints a table for."""
    return [name for name, task in TASKS.items() if table in task.reported]


def _only_method(table: int, partition: str | None = None) -> str:
    rows = (row for task in TASKS.values() for row in task.reported.get(table, ()))
    (name,) = {str(row["method"]) for row in rows if partition in (None, row["partition"])}
    return name


def _cell(table: int, task: str, row: Mapping[str, str | float]) -> Reported:
    method, partition, arch = (str(row[key]) if key in row else None for key in _KEYS)
    values = {name: float(value) for name, value in row.items() if name not in _KEYS}
    return Reported(table, task, method, partition, arch, values)


SUBJECT = _only_method(3)
"""The method that the paper proposes: the only one of its table 3."""

TRAINING_POLICIES = _only_method(2, "train")
"""What the paper's tables call the policies that methods learn from."""
