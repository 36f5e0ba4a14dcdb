"""What training took and what a network takes, beside what the networks solve."""

import math
from collections.abc import Sequence

from nnbench.analysis.measured import Estimate
from nnbench.analysis.rows import Row
from nnbench.presentation.tables.generation import entry_of, name_with_seeds, read_cost, read_measured
from nnbench.presentation.tables.table import MISSING, Label, Number, Table, point


def cost_table(rows: Sequence[Row]) -> Table[Row]:
    """Of measured rows of tables 2 and 3, of all tasks."""
    return Table(
        "cost",
        "Cost of networks",
        "reads: what a method may use of the zoo. saved: numbers in all tensors of the trained method. training s: "
        "wall seconds, as the trained method states them, mean over generator seeds; 0 for what trains nothing. "
        "trained on: the machine; how many of its threads worked is not stored, so these are no seconds of a core. "
        "s per network: wall seconds of `generate` divided by the networks "
        "asked for. break even: so many networks take as long to train one by one, by the baseline that does so, as "
        "training and writing take the method; by that baseline's mean over its rows of the same folder, task and "
        f"track; 0 for what trains nothing. What the zoo took is nobody's here. {MISSING}: a number is not kept, or "
        "the method takes longer per network than to train one, which is then cheaper however many are asked for.",
        [
            Label("task", lambda row: row.task, once=True),
            Label("split", lambda row: row.partition, once=True),
            Label("method", name_with_seeds),
            Label("reads", lambda row: ", ".join(row.reads) if row.reads else "nothing"),
            Label("trained on", _machines),
            Number("success\n%", "success", read_measured(lambda found: found.success.mean), point(1, 100)),
            Number("saved", "parameters", read_cost(lambda cost: cost.parameters), _whole),
            Number("training\ns", "training_s", read_cost(lambda cost: cost.training_s), _whole),
            Number("s per\nnetwork", "generation_s", read_cost(lambda cost: cost.generation_s), _short),
            Number("break\neven", "break_even", read_cost(lambda cost: cost.break_even), _whole),
        ],
        [entry_of(row) for row in rows],
        section=lambda row: (row.task, row.partition),
    )


def _machines(row: Row) -> str:
    """What the manifests of the trained methods name; empty where nothing is trained."""
    budgets = row.cost.budgets if row.cost else None
    if budgets is None:
        return MISSING
    return ", ".join(dict.fromkeys(str(one.machine.get("gpu", one.machine.get("processor"))) for one in budgets))


def _whole(estimate: Estimate) -> str:
    """Rounded up: a part of a network does not pay."""
    return f"{math.ceil(estimate.mean):,}"


def _short(estimate: Estimate) -> str:
    return f"{estimate.mean:.2g}"
