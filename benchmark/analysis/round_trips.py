"""From stored round trips to means per architecture, and their mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbench.analysis.scores import TableError

COLUMNS = {
    "return": "return",
    "reconstructed_return": "reconstructed_return",
    "success": "success_at_end",
    "reconstructed_success": "reconstructed_success_at_end",
    "relative_l2": "relative_l2",
}
"""Metric to the column of the rows."""


@dataclass(frozen=True)
class RoundTrip:
    """What a method's autoencoder leaves of the policies of one architecture, or of all that were measured."""

    method: str
    generator_seed: int
    arch: str | None
    """None for the mean over architectures."""
    archs: int
    """How many were measured."""
    policies: int
    episodes: int
    numbers: Mapping[str, float]
    """The metrics of `COLUMNS`."""


def average(rows: Sequence[Mapping[str, Any]], task: str) -> list[RoundTrip]:
    """Of each method and generator seed the mean, then its architectures; rows as of `store.read_round_trips`.

    Raises TableError where rows of one method and seed are of several trainings or numbers of episodes.
    """
    table: list[RoundTrip] = []
    for method, seed in sorted({(row["method"], row["generator_seed"]) for row in rows}):
        mine = [row for row in rows if (row["method"], row["generator_seed"]) == (method, seed)]
        _refuse_mixed(mine, task)
        episodes = mine[0]["episodes"]
        by_arch: list[RoundTrip] = []
        archs = sorted({row["arch"] for row in mine})
        for arch in archs:
            here = [row for row in mine if row["arch"] == arch]
            means = {name: float(np.mean([row[column] for row in here])) for name, column in COLUMNS.items()}
            by_arch.append(RoundTrip(method, seed, arch, len(archs), len(here), episodes, means))
        mean = {name: float(np.mean([found.numbers[name] for found in by_arch])) for name in COLUMNS}
        table += [RoundTrip(method, seed, None, len(archs), len(mine), episodes, mean), *by_arch]
    return table


def _refuse_mixed(rows: Sequence[Mapping[str, Any]], task: str) -> None:
    kinds = {(row["method_sha256"][:12], row["episodes"]) for row in rows}
    if len(kinds) > 1:
        found = " and ".join(f"{sha} on {episodes} episodes" for sha, episodes in sorted(kinds))
        method, seed = rows[0]["method"], rows[0]["generator_seed"]
        raise TableError(
            f"round trips of {method} on {task}, generator seed {seed}, are of {found}: they do not average; "
            "choose a folder of one with --results, or delete the files of the others"
        )
