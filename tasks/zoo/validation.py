"""Policies of a zoo in the simulator: how they score, which of them pass, and whether they score so again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nnbench.tasks.files import write_json
from nnbench.tasks.integrity import parse_sealed, read_stored, seal
from nnbench.tasks.policies.architectures import architecture_name, load_splits, parse_architecture
from nnbench.tasks.policies.mlp import PolicyActor, Weights, flatten_weights
from nnbench.tasks.policies.tracks import WITH_PAPERS_SPLITS
from nnbench.tasks.simulation.episodes import join_episodes
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator
from nnbench.tasks.task import Filter
from nnbench.tasks.zoo.manifest import ZooError, read_index, source_of, verify
from nnbench.tasks.zoo.sources import Source
from nnbench.tasks.zoo.zoo import Zoo

SPREAD = {"return": 1.7, "success_once": 0.13, "success_at_end": 0.13}
"""Standard deviation of an episode's score where a rounding error changes the episode.

PhysX takes reciprocals and square roots from instructions that every make of processor approximates in its own way, and
contacts amplify the last bit. Of 96 policies validated on one make, none scored exactly the same on another. Over 64
episodes the return of a policy differed by up to .51 and its success by up to .047; the mean over the 32 policies of a
task differed by at most .028 and .002.
"""


def score_policies(simulator: Simulator, policies: list[Weights], policy_filter: Filter) -> list[dict[str, float]]:
    """Mean return and success of every policy on the validation episodes."""
    count = policy_filter.episodes
    # All episodes of the first policy, then of the second, ...; cut where a worker is full.
    owner = np.repeat(np.arange(len(policies)), count)
    seeds = np.tile(np.arange(policy_filter.first_seed, policy_filter.first_seed + count), len(policies))
    units = [
        Rollout(PolicyActor.stack(policies, owner[part], simulator.task.standardiser), seeds[part])
        for part in np.split(np.arange(len(owner)), range(SCENES_PER_WORKER, len(owner), SCENES_PER_WORKER))
    ]
    episodes = join_episodes(simulator.episodes(units))
    columns = {
        "return": episodes.returns,
        "success_once": episodes.success_once,
        "success_at_end": episodes.success_at_end,
    }
    return [
        {name: float(values[owner == position].mean()) for name, values in columns.items()}
        for position in range(len(policies))
    ]


def validate(simulator: Simulator, source: Source, directory: Path, policy_filter: Filter) -> list[dict[str, Any]]:
    """Roll out every policy of all 81 architectures.

    `directory` gets one file per architecture; finished files are kept.
    """
    rows: list[dict[str, Any]] = []
    splits = load_splits()
    archs = splits.train + splits.unseen + splits.outside
    for arch in tqdm(archs, desc=f"validate {simulator.task.name}", unit="arch", disable=None):
        path = directory / f"{architecture_name(arch)}.json"
        if not path.exists():
            policies = source.policies(arch)
            scores = score_policies(simulator, list(policies.values()), policy_filter)
            described = [
                {
                    "task": simulator.task.name,
                    "ghn_seed": seed,
                    "arch": architecture_name(arch),
                    "partition": splits.partition(arch),
                    "parameters": flatten_weights(policy).numel(),
                    "episodes": policy_filter.episodes,
                }
                for seed, policy in policies.items()
            ]
            write_json(path, seal({"rows": [row | score for row, score in zip(described, scores, strict=True)]}))
        rows += read_stored(path, _parse_scores, "delete it and run the same command again, which makes it anew")
    return rows


def _parse_scores(content: bytes) -> list[dict[str, Any]]:
    if content.startswith(b"["):  # of an older version
        old: list[dict[str, Any]] = json.loads(content)
        return old
    rows: list[dict[str, Any]] = parse_sealed(content)["rows"]
    return rows


@dataclass(frozen=True)
class Repetition:
    """How the scores of policies changed that were rolled out once more."""

    policies: int
    exact: int
    """How many of them scored as recorded in every episode."""
    return_difference: float
    """The largest change of a policy's mean return over the validation episodes."""
    success_difference: float
    """The largest change of a policy's success at the end."""
    return_mean: float
    """The mean change of the return over all of them."""
    success_mean: float
    """The mean change of the success at the end."""

    def __str__(self) -> str:
        return (
            f"{self.policies} policies rolled out again: {self.exact} scored to the last digit as recorded, the others "
            f"within {self.return_difference:.2g} of their return and {self.success_difference:.2g} of their success "
            f"at the end, on average by {self.return_mean:+.3f} and {self.success_mean:+.4f}"
        )


def roll_out_again(simulator: Simulator, directory: Path, count: int) -> Repetition:
    """Roll out `count` policies, spread over the index, once more.

    Raises ZooError where the record of one, or the mean of all, differs by more than rounding errors explain.
    """
    task = simulator.task
    manifest = verify(directory, task)
    zoo = Zoo.open(task.source, directory, WITH_PAPERS_SPLITS[source_of(manifest)])
    index = read_index(directory)
    rows = [index[i] for i in np.linspace(0, len(index) - 1, count).round().astype(int)]
    policies = [zoo.policies(parse_architecture(row["arch"]))[row["ghn_seed"]] for row in rows]
    policy_filter = Filter(**manifest["filter"])
    scores = score_policies(simulator, policies, policy_filter)
    differences = np.array(
        [[score[name] - row[name] for name in SPREAD] for row, score in zip(rows, scores, strict=True)]
    )  # (N, 3)

    limits = 5 * np.array(list(SPREAD.values())) / np.sqrt(policy_filter.episodes)
    remedy = f"use the versions of the manifest, {manifest['versions']}"
    for row, score, difference in zip(rows, scores, differences, strict=True):
        if np.any(np.abs(difference) > limits):
            recorded = {name: row[name] for name in score}
            raise ZooError(
                f"{directory / 'index.parquet'}: seed {row['ghn_seed']} of {row['arch']} scored {score}, recorded is "
                f"{recorded}; {remedy}"
            )
    mean = differences.mean(axis=0)
    if np.any(np.abs(mean) > limits / np.sqrt(count)):
        raise ZooError(
            f"{directory / 'index.parquet'}: {count} policies scored {dict(zip(SPREAD, mean.tolist(), strict=True))} "
            f"more than recorded in the mean; {remedy}"
        )
    largest = np.abs(differences).max(axis=0)
    exact = np.all(np.abs(differences) < 1e-4, axis=1)  # the last bits of a reward are the machine's
    return Repetition(count, int(exact.sum()), *map(float, (largest[0], largest[2], mean[0], mean[2])))
