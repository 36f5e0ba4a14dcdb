"""Refuses rows and weights that are not those of the whole unit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from nnbench.protocol import Unit
from nnbench.store.errors import StoreError
from nnbench.store.schemas import SAMPLE_COLUMNS, unit_columns
from nnbench.tasks.policies.architectures import architecture_name

if TYPE_CHECKING:
    from nnbench.tasks.policies.mlp import Weights


def check_unit(unit: Unit, rows: pa.Table, policies: pa.Table, weights: Sequence["Weights"]) -> None:
    """Raise StoreError unless the rows (EPISODE_SCHEMA, POLICY_SCHEMA) and weights are all of this unit, and agree."""
    check_rows(unit, rows, policies)
    if len(weights) != unit.protocol.samples:
        raise StoreError(f"{unit.key}: weights of {len(weights)} samples, expected {unit.protocol.samples}")
    check_weights(unit.key, dict(enumerate(weights)), policies)


def check_rows(unit: Unit, rows: pa.Table, policies: pa.Table) -> None:
    """Raise StoreError unless the rows (EPISODE_SCHEMA, POLICY_SCHEMA) are all of this unit, and agree."""
    _check_columns(unit, rows)
    _check_episodes(unit, rows)
    _check_policies(unit, policies, rows)


def _check_columns(unit: Unit, rows: pa.Table) -> None:
    for name, expected in unit_columns(unit).items():
        found = pc.unique(rows[name]).to_pylist()
        if found != [expected]:
            raise StoreError(f"{unit.key}: column {name} holds {found}, expected {expected!r} in every row")


def _check_episodes(unit: Unit, rows: pa.Table) -> None:
    """Every sample ran the screening episodes; the top, and they alone, ran all others."""
    protocol = unit.protocol
    top = sorted(pc.unique(rows.filter(rows["selected"])["sample"]).to_pylist())
    if len(top) != protocol.top:
        raise StoreError(f"{unit.key}: {len(top)} samples are selected, expected {protocol.top}")
    choosing = pc.equal(rows["stage"].cast(pa.string()), "selection")
    screening = pc.and_(choosing, pc.is_in(rows["episode_seed"], pa.array(protocol.screening_seeds, pa.int64())))
    for stage, mask, samples, seeds in (
        ("screening", screening, range(protocol.samples), protocol.screening_seeds),
        ("selection", pc.and_(choosing, rows["selected"]), top, protocol.selection_seeds),
        ("test", pc.invert(choosing), top, protocol.test_seeds),
    ):
        part = rows.filter(mask)
        found = sorted(zip(part["sample"].to_pylist(), part["episode_seed"].to_pylist(), strict=True))
        if found != [(sample, seed) for sample in samples for seed in seeds]:
            raise StoreError(
                f"{unit.key}: {len(found)} {stage} episodes, expected each of {len(samples)} samples once on each of "
                f"the seeds {seeds[0]} to {seeds[-1]}"
            )


def _check_policies(unit: Unit, policies: pa.Table, rows: pa.Table) -> None:
    """There is one row per sample, in order, that agrees with the episodes."""
    shared = [*SAMPLE_COLUMNS, "rank"]
    expected = rows.select(shared).group_by(shared, use_threads=False).aggregate([]).sort_by("sample")
    if not policies.select(shared).equals(expected):
        raise StoreError(f"{unit.key}: the rows of the policies are not about the samples that the episodes are about")


def check_weights(key: str, weights: Mapping[int, "Weights"], policies: pa.Table) -> None:
    """Raise StoreError unless the weights, by sample, are those that the rows (POLICY_SCHEMA) name."""
    from nnbench.tasks.policies.mlp import architecture_of, weights_sha256

    stated = {row["sample"]: row for row in policies.select(["sample", "weights_sha256", "arch"]).to_pylist()}
    for sample, found in weights.items():
        if weights_sha256(found) != stated[sample]["weights_sha256"]:
            stated_sha = stated[sample]["weights_sha256"]
            raise StoreError(f"{key}: rows of sample {sample} state weights {stated_sha}, got others")
        if architecture_name(architecture_of(found)) != stated[sample]["arch"]:
            raise StoreError(f"{key}: rows of sample {sample} state another architecture than its weights have")
