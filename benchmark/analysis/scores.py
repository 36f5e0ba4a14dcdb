"""From stored rows to the numbers of one unit: one method on one architecture.

S samples, K selected, E test episodes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nnbench.errors import NnbenchError
from nnbench.protocol import JOINT, Protocol
from nnbench.store.schemas import COMPARISON, FAR
from nnbench.tasks.task import Filter

Columns = Mapping[str, np.ndarray]

_READ = 2
"""The oldest comparison whose distances are read."""

_UNIT = ["task", "method", "generator_seed", "asked_for"]
"""The columns that the rows of one unit agree on."""


class TableError(NnbenchError, ValueError):
    """Rows that must not be put into one table. Names what differs and the remedy."""


@dataclass(frozen=True)
class UnitName:
    """What the rows of one unit agree on."""

    task: str
    method: str
    generator_seed: int
    arch: str
    """`joint` where the method chose."""

    def __str__(self) -> str:
        return f"{self.method} on {self.task}, {self.arch}, generator seed {self.generator_seed}"


@dataclass(frozen=True)
class Scores:
    """The numbers of one unit. The selected are in the order of their rank."""

    returns: np.ndarray  # (K, E)
    success: np.ndarray  # (K, E) bool, by the protocol's headline
    networks: list[str]  # (K,) equal for equal weights
    selection_returns: np.ndarray  # (S, selection episodes), NaN where a sample had left the race
    selection_success: np.ndarray  # the same
    selected_success: float
    """Of the selected on the episodes that chose them, which is higher than on test episodes: they were lucky there."""
    screening_success: np.ndarray  # (S, screening episodes), of all samples, nothing selected
    works: np.ndarray | None  # (S,) bool: meets the task's filter on the screening episodes; None without a filter
    distinct: float
    """Share of distinct networks among the samples."""
    diverged: int
    """Samples that diverged in some episode: an action was not finite, and the episode counts as failed."""
    policies: Mapping[str, np.ndarray]
    """The columns of `store.POLICY_SCHEMA` from `partition` on, (S,) each, by sample number."""
    top: np.ndarray  # (K,) sample numbers

    @property
    def passing(self) -> float:
        """Share of the samples that work; NaN without a filter."""
        return math.nan if self.works is None else float(self.works.mean())

    @property
    def new_and_working(self) -> np.ndarray | None:
        """(S,) bool: works, and is copied from nothing in the zoo; None where rows, older ones, do not say it.

        At least half as far from every policy of the zoo as these are from one another, by its weights and by its
        actions, and without its silent neurons as far from every training policy, also padded. What there is no policy
        to compare its weights with is no copy of one by them.
        """
        if self.works is None or (self.policies["comparison"] < _READ).any():
            return None
        columns = ("ghn_distance", "ghn_spread", "trained_ratio", "action_distance", "action_spread")
        distance, spread, ratio, acts, acts_spread = (self.policies[name].astype(float) for name in columns)
        copied = (distance < FAR * spread) | (ratio < FAR) | (acts < FAR * acts_spread)
        found: np.ndarray = self.works & ~copied
        return found

    @property
    def new_at_most(self) -> bool:
        """Whether some that `new_and_working` counts may be padded copies: the rows are of an older comparison."""
        found = self.new_and_working
        return found is not None and bool(found[self.policies["comparison"] < COMPARISON].any())

    def of_top(self, column: str) -> np.ndarray:
        """A column of the policies, of the selected."""
        return self.policies[column][self.top]


def episode_columns(protocol: Protocol) -> list[str]:
    """The columns of `store.EPISODE_SCHEMA` that `read_scores` needs."""
    return ["protocol", "task", "method", "generator_seed", "joint", "arch", *_values(protocol)]


def read_scores(
    rows: pa.Table, policies: pa.Table, protocol: Protocol, filters: Mapping[str, Filter]
) -> dict[UnitName, Scores]:
    """The units in `rows` (`episode_columns`, or all) and `policies` (`store.POLICY_SCHEMA`); `filters` are by task.

    Raises TableError where rows are of another protocol, of two trained methods of one name, or not whole units.
    """
    _refuse_mixed(rows, policies, protocol)
    episodes = _group_by_unit(rows, _values(protocol), ["rank", "sample", "episode_seed"])
    described = _group_by_unit(policies, policies.column_names, ["sample"])
    if episodes.keys() != described.keys():
        some = next(iter(episodes.keys() ^ described.keys()))
        raise TableError(
            f"{some}: there are rows of its episodes or of its policies, but not of both; delete this unit's files and "
            "run it again"
        )
    return {unit: _score(unit, episodes[unit], described[unit], protocol, filters.get(unit.task)) for unit in episodes}


def _values(protocol: Protocol) -> list[str]:
    return ["sample", "stage", "episode_seed", "return", protocol.headline, "selected", "rank", "diverged"]


def _refuse_mixed(rows: pa.Table, policies: pa.Table, protocol: Protocol) -> None:
    foreign = sorted(set(pc.unique(rows["protocol"]).to_pylist()) - {protocol.short})
    if foreign:
        raise TableError(
            f"rows of protocol {', '.join(foreign)} and a table of protocol {protocol.short}: they do not compare; "
            "choose a folder of one protocol with --results, or delete the files of the other"
        )
    trained = policies.select(["task", "method", "generator_seed", "method_sha256"]).to_pandas()
    for (task, method, seed), hashes in trained.groupby(["task", "method", "generator_seed"])["method_sha256"]:
        if hashes.nunique() > 1:
            raise TableError(
                f"rows of {method} on {task}, generator seed {seed}, are of differently trained methods "
                f"{' and '.join(sorted(hashes.unique()))}: they do not average; choose a folder of one with --results, "
                "or delete the files of the others"
            )


def _group_by_unit(rows: pa.Table, columns: Sequence[str], order: list[str]) -> dict[UnitName, Columns]:
    """The columns of each unit, its rows in this order."""
    named = rows.select(["task", "method", "generator_seed"])
    named = named.append_column("asked_for", pc.if_else(rows["joint"], JOINT, rows["arch"]))
    sorting = rows.select([name for name in order if name != "generator_seed"])
    frame = pd.concat([named.to_pandas(strings_to_categorical=True), sorting.to_pandas()], axis=1).sort_values(order)
    values = {name: _to_numpy(rows[name])[frame.index] for name in columns}
    units = frame.reset_index(drop=True).groupby(_UNIT, observed=True).indices
    return {
        UnitName(str(task), str(method), int(seed), str(arch)): {name: array[mine] for name, array in values.items()}
        for (task, method, seed, arch), mine in units.items()
    }


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    found: np.ndarray = column.to_numpy(zero_copy_only=False)
    return found


def _score(unit: UnitName, episodes: Columns, policies: Columns, protocol: Protocol, wanted: Filter | None) -> Scores:
    """Raises TableError unless the rows hold every episode of the unit once."""
    is_test = episodes["stage"] == "test"
    testing, choosing = _where(episodes, is_test), _where(episodes, ~is_test)
    top = _check_whole(unit, testing, choosing, protocol)

    shape = protocol.samples, protocol.selection_episodes
    selection_returns, selection_success = np.full(shape, math.nan), np.full(shape, math.nan)
    place = choosing["sample"], choosing["episode_seed"] - protocol.selection_seeds[0]
    selection_returns[place] = choosing["return"]
    selection_success[place] = choosing[protocol.headline]
    screened = slice(protocol.screening_episodes)
    works = None
    if wanted is not None:
        returns, success = (table[:, screened].mean(axis=1) for table in (selection_returns, selection_success))
        works = (returns >= wanted.min_return) & (success >= wanted.min_success)
    tested = protocol.top, protocol.test_episodes
    networks = policies["weights_sha256"]
    return Scores(
        returns=testing["return"].reshape(tested),
        success=testing[protocol.headline].astype(bool).reshape(tested),
        networks=networks[top].tolist(),
        selection_returns=selection_returns,
        selection_success=selection_success,
        selected_success=float(selection_success[top].mean()),
        screening_success=selection_success[:, screened],
        works=works,
        distinct=len(set(networks)) / protocol.samples,
        diverged=len(set(episodes["sample"][episodes["diverged"].astype(bool)].tolist())),
        policies=policies,
        top=top,
    )


def _check_whole(unit: UnitName, testing: Columns, choosing: Columns, protocol: Protocol) -> np.ndarray:
    """The selected samples, best first. Raises TableError unless every episode is there once and no other is."""
    seeds, selection = choosing["episode_seed"], protocol.selection_seeds
    if ((seeds < selection.start) | (seeds >= selection.stop)).any():
        raise TableError(f"{unit}: rows of episodes that are not the protocol's; delete this unit's files")
    chosen = _where(choosing, choosing["selected"].astype(bool))
    top = chosen["sample"][chosen["episode_seed"] == protocol.selection_seeds[0]]
    screening = _where(choosing, seeds < protocol.screening_seeds.stop)
    by_sample = np.argsort(screening["sample"], kind="stable")
    screening = {name: values[by_sample] for name, values in screening.items()}
    for stage, rows, samples, count, expected in (
        ("screening", screening, np.arange(protocol.samples), protocol.samples, protocol.screening_seeds),
        ("selection", chosen, top, protocol.top, protocol.selection_seeds),
        ("test", testing, top, protocol.top, protocol.test_seeds),
    ):
        whole = len(samples) == count and np.array_equal(rows["sample"], np.repeat(samples, len(expected)))
        if not whole or not np.array_equal(rows["episode_seed"], np.tile(expected, count)):
            raise TableError(
                f"{unit}: {len(rows['sample'])} {stage} episodes, expected {count} policies on the same "
                f"{len(expected)} seeds; delete this unit's files and run it again"
            )
    return top


def _where(columns: Columns, mask: np.ndarray) -> Columns:
    return {name: values[mask] for name, values in columns.items()}
