"""Which of a zoo's policies are in the training set."""

from typing import Any

from nnbench.tasks.policies.architectures import Splits, parse_architecture
from nnbench.tasks.task import Filter

_HELD_OUT = {"unseen": "held out", "outside": "outside the space"}


def keep_best(rows: list[dict[str, Any]], policy_filter: Filter, splits: Splits) -> list[dict[str, Any]]:
    """Add `valid`, whether a policy is in the training set, and `reason`, why not; `splits` are those of a track."""
    kept: dict[str, int] = {}
    judged = []
    for row in sorted(rows, key=lambda row: -row["return"]):
        arch, reason = row["arch"], ""
        if row["return"] < policy_filter.min_return:
            reason = f"return {row['return']:.2f} < {policy_filter.min_return:g}"
        elif row["success_at_end"] < policy_filter.min_success:
            reason = f"success {row['success_at_end']:.3f} < {policy_filter.min_success:g}"
        elif (partition := splits.partition(parse_architecture(arch))) != "train":
            reason = _HELD_OUT.get(partition, "not trained on")
        elif kept.get(arch, 0) == policy_filter.best:
            reason = f"not among the best {policy_filter.best}"
        else:
            kept[arch] = kept.get(arch, 0) + 1
        judged.append(row | {"valid": reason == "", "reason": reason})
    order = {(row["arch"], row["ghn_seed"]): position for position, row in enumerate(rows)}
    return sorted(judged, key=lambda row: order[row["arch"], row["ghn_seed"]])
