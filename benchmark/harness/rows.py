"""Makes the rows of a unit: what was rolled out, and how near each policy is to the zoo's."""

from collections.abc import Sequence

import pyarrow as pa

from nnbench.harness.novelty import Novelty
from nnbench.harness.race import Race, Stage
from nnbench.protocol import Unit
from nnbench.store.schemas import EPISODE_SCHEMA, POLICY_SCHEMA, unit_columns
from nnbench.tasks.policies.architectures import Splits, architecture_name
from nnbench.tasks.policies.mlp import Weights, architecture_of, weights_sha256


def episode_rows(unit: Unit, samples: Sequence[Weights], race: Race, chosen: Sequence[int], splits: Splits) -> pa.Table:
    """All episodes of all samples, as `EPISODE_SCHEMA`; `chosen` are the selected samples, best first.

    `splits` are those of the track.
    """
    rows = []
    for sample, weights in enumerate(samples):
        rank = _rank(sample, chosen)
        constants = _sample_columns(unit, sample, weights, splits) | {"selected": rank >= 0, "rank": rank}
        # The network of a sample that was not chosen may have test episodes, because an equal sample was chosen.
        stages: tuple[Stage, ...] = ("selection", "test") if rank >= 0 else ("selection",)
        for stage in stages:
            for seed, result in race.results(stage, sample):
                rows.append(
                    constants
                    | {
                        "stage": stage,
                        "episode_seed": seed,
                        "return": result.total,
                        "success_once": result.success_once,
                        "success_at_end": result.success_at_end,
                        "diverged": result.diverged,
                    }
                )
    return pa.Table.from_pylist(rows, EPISODE_SCHEMA)


def policy_rows(unit: Unit, samples: Sequence[Weights], chosen: Sequence[int], novelty: Novelty) -> pa.Table:
    """One row per sample, as `POLICY_SCHEMA`."""
    rows = [
        _sample_columns(unit, sample, weights, novelty.splits) | {"rank": _rank(sample, chosen)} | columns
        for sample, (weights, columns) in enumerate(zip(samples, novelty.columns(samples, chosen), strict=True))
    ]
    return pa.Table.from_pylist(rows, POLICY_SCHEMA)


def _rank(sample: int, chosen: Sequence[int]) -> int:
    return chosen.index(sample) if sample in chosen else -1


def _sample_columns(unit: Unit, sample: int, weights: Weights, splits: Splits) -> dict[str, object]:
    arch = architecture_of(weights)
    return unit_columns(unit) | {
        "arch": architecture_name(arch),
        "partition": splits.partition(arch),
        "sample": sample,
        "weights_sha256": weights_sha256(weights),
    }
