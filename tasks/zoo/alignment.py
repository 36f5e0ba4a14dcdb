"""Do weights that GHNs write agree between seeds, and directly trained weights not? (paper, section 6.1)

One architecture, one pool of the expert's states, equal batches and equal numbers of Adam steps. The weights are either
written by a GHN, or trained directly. The rows are for table 1 and figure 3.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nnbench.tasks.files import file_sha256, write_json, write_rows
from nnbench.tasks.integrity import read_manifest, seal
from nnbench.tasks.policies.architectures import Architecture, architecture_name, parameter_shapes
from nnbench.tasks.policies.mlp import Weights, nearest_neighbours
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.tensors import load_tensors, save_tensors
from nnbench.tasks.zoo.build import refuse_other_work, used_versions
from nnbench.tasks.zoo.direct import DirectPolicies
from nnbench.tasks.zoo.distillation import learn_from, pool_file_of
from nnbench.tasks.zoo.ghn import GHNConfig, GHNEnsemble
from nnbench.tasks.zoo.manifest import ZooError
from nnbench.tasks.zoo.presets import DistillationConfig, PoolConfig
from nnbench.tasks.zoo.states import LabelledStates
from nnbench.tasks.zoo.validation import score_policies

Side = Literal["conv1x1", "upsample", "sgd"]

SIDES: tuple[Side, ...] = ("conv1x1", "upsample", "sgd")
"""GHNs with either decoder, and direct training."""

_REMEDY = "delete it and run the same command again, which makes it anew"


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """The paper's 35 seeds and its architecture; the paper says nothing about the training."""

    seeds: int = 35
    upsample_seeds: int = 5
    """Seeds of the side that the paper does not have. Its convolutions take many times as long."""
    arch: Architecture = (256, 256, 256)
    updates: int = 2_000
    batch: int = 512
    learning_rate: float = 2e-3
    ghn_channels: int = 32
    side_by_side: int = 5
    episodes: int = 64


def compare(
    simulator: Simulator, distillation: Path, work: Path, out: Path, config: AlignmentConfig
) -> list[dict[str, Any]]:
    """One row per policy: its score, its nearest neighbour and statistics of its weights; also written to `out`.

    Learns from the pool of states in `distillation`; finished policies in `work` are kept. Raises
    ZooError where there is no pool of this task.
    """
    task, pool_file = simulator.task, pool_file_of(distillation)
    if not pool_file.exists():
        raise ZooError(f"{pool_file}: no states to learn from; `nnbench zoo build --task {task.name}` gathers them")
    made, remedy = distillation / "made-with.json", f"delete {distillation} and gather the states anew"
    if not made.exists() or read_manifest(made, remedy).get("standardiser_sha256") != task.standardiser.sha256:
        raise ZooError(
            f"{pool_file}: not known to be standardised as {task.name} is now; gather them anew in another folder"
        )
    made_with = {"config": asdict(config), "pool_sha256": file_sha256(pool_file)}
    refuse_other_work(work, made_with)
    pool, policy_filter = LabelledStates.load(pool_file), replace(task.filter, episodes=config.episodes)
    rows = []
    for side in SIDES:
        policies = _train(pool, side, work, config)
        scores = score_policies(simulator, list(policies.values()), policy_filter)
        for seed, score, description in zip(policies, scores, _describe(policies), strict=True):
            row = {"task": task.name, "side": side, "seed": seed, "arch": architecture_name(config.arch)}
            rows.append(row | {"episodes": config.episodes} | score | description)
    path = alignment_file(out, task.name)
    write_rows(path, rows)
    manifest = made_with | {"sha256": file_sha256(path), "versions": used_versions()}
    write_json(path.with_suffix(".json"), seal(manifest))
    return rows


def alignment_file(results: Path, task_name: str) -> Path:
    """Where the rows are in a folder of results."""
    return results / "alignment" / f"{task_name}.parquet"


def summarise(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The means of each side's columns."""
    names = ("return", "success_at_end", "nearest_l2", "nearest_cosine", "neighbour_correlation", "seed_alignment")
    return {
        side: {name: float(np.mean([row[name] for row in rows if row["side"] == side])) for name in names}
        for side in SIDES
    }


def _train(pool: LabelledStates, side: Side, directory: Path, config: AlignmentConfig) -> dict[int, Weights]:
    numbers = PoolConfig(
        updates=config.updates, batch=config.batch, architectures=1, learning_rate=config.learning_rate
    )
    observation_dim, action_dim = pool.observations.shape[1], pool.actions.shape[1]
    policies: dict[int, Weights] = {}
    count = config.upsample_seeds if side == "upsample" else config.seeds
    for start in tqdm(range(0, count, config.side_by_side), desc=f"policies {side}", disable=None):
        seeds = range(start, min(start + config.side_by_side, count))
        path = directory / f"{side}-{seeds[0]}-{seeds[-1]}.safetensors"
        if not path.exists():
            ensemble: DirectPolicies | GHNEnsemble
            if side == "sgd":
                ensemble = DirectPolicies(seeds, config.arch, observation_dim, action_dim)
            else:
                ghn = GHNConfig(decoder=side, channels=config.ghn_channels, max_width=max(config.arch))
                ensemble = GHNEnsemble(seeds, observation_dim, action_dim, ghn)
            learn_from(pool, ensemble, [config.arch], DistillationConfig(pool=numbers))
            tensors = {
                f"{seed}/{key}": value
                for seed, policy in ensemble.policies(config.arch).items()
                for key, value in policy.items()
            }
            save_tensors(path, tensors)
        for name, value in load_tensors(path, _REMEDY).items():
            seed, key = name.split("/")
            policies.setdefault(int(seed), {})[key] = value
    keys = list(parameter_shapes(config.arch, observation_dim, action_dim))
    return {seed: {key: policies[seed][key] for key in keys} for seed in sorted(policies)}


def _describe(policies: dict[int, Weights]) -> list[dict[str, Any]]:
    distances, cosines = nearest_neighbours(list(policies.values()))
    profiles = [magnitudes(policy) for policy in policies.values()]
    agreement = torch.corrcoef(torch.stack([torch.cat(profile[1:-1]) for profile in profiles])).fill_diagonal_(0)
    return [
        {
            "nearest_l2": float(distances[s]),
            "nearest_cosine": float(cosines[s]),
            "neighbour_correlation": neighbour_correlation(policy),
            "seed_alignment": float(agreement[s].sum() / (len(policies) - 1)),
            "magnitudes": torch.cat(profiles[s]).tolist(),
        }
        for s, policy in enumerate(policies.values())
    ]


def magnitudes(policy: Weights) -> list[Tensor]:
    """Mean absolute weight by input unit of each layer, (in,) each, in units of the layer's mean (paper, figure 3)."""
    columns = [value.abs().mean(dim=0) for key, value in policy.items() if key.endswith("weight")]
    return [column / column.mean() for column in columns]


def neighbour_correlation(policy: Weights) -> float:
    """Pearson correlation of neighbouring weights; mean over rows and columns of all hidden matrices."""
    matrices = [value for key, value in policy.items() if key.endswith("weight")][1:-1]
    pairs = [(w[:, 1:], w[:, :-1]) for w in matrices] + [(w[1:], w[:-1]) for w in matrices]
    found = [torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] for one, other in pairs]
    return float(torch.stack(found).mean())
