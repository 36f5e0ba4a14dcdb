"""The zoo: an ensemble of GHNs, the policies they write, and each policy's validation score.

On disk are the GHNs (bfloat16), the expert they were distilled from, states to compare policies on, an index of scores
and a manifest with the hash of every file. Policies are not stored: the GHNs write them when first asked for.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import load_file, save, save_file
from tqdm import tqdm

from nnbench.errors import NnbenchError
from nnbench.tasks.files import file_sha256, read_rows, write_atomically, write_json, write_rows
from nnbench.tasks.policies.architectures import Architecture, architecture_name, load_splits, parse_architecture
from nnbench.tasks.policies.mlp import PolicyActor, Weights, flatten_weights, nearest_neighbours, weights_sha256
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.episodes import join_episodes
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator
from nnbench.tasks.task import Filter, Task
from nnbench.tasks.zoo.distillation import DistillationConfig, build_pool, distil, sample_states
from nnbench.tasks.zoo.expert import load_expert
from nnbench.tasks.zoo.ghn import GHNConfig, GHNEnsemble

SHIPPED = Path(__file__).parents[1] / "zoos"
"""The zoos that come with the package, one folder a task."""

_SPREAD = {"return": 1.7, "success_once": 0.13, "success_at_end": 0.13}
"""Standard deviation of an episode's score where a rounding error makes it another one. PhysX takes reciprocals and
square roots from instructions that every make of processor approximates in its own way, and contacts amplify the last
bit: of 96 policies validated on one make none scored on another exactly the same, by up to .51 and .047 over 64
episodes, yet by .028 and .002 at most in a task's mean of 32 policies."""

_STATES = 1024
_FILES = ("ghns.safetensors", "expert.safetensors", "states.safetensors", "index.parquet")


class ZooError(NnbenchError, ValueError):
    """A zoo that is missing, damaged or of another version."""


class Zoo:
    """An opened zoo; its files were checked against the manifest."""

    def __init__(
        self,
        task: Task,
        directory: Path,
        ensemble: GHNEnsemble,
        valid: dict[Architecture, set[int]],
        states: torch.Tensor,
        manifest_sha256: str,
    ) -> None:
        self.task = task
        self.directory = directory
        self.sha256 = manifest_sha256
        self.states = states
        """To compare policies by what they do in them, (1024, O), standardised."""
        self._ensemble = ensemble
        self._valid = valid
        self._written: dict[Architecture, dict[int, Weights]] = {}
        self._digests: dict[Architecture, list[str]] = {}

    @classmethod
    def open(cls, task_name: str, directory: Path | None = None) -> Self:
        """Open the zoo in `directory`, or the one that ships with the package. Raises ZooError."""
        task = load_task(task_name)
        directory = directory or SHIPPED / task.name
        manifest = verify(directory, task.name)
        ghn = GHNConfig(**manifest["distillation"]["ghn"])
        ensemble = GHNEnsemble(manifest["ghn_seeds"], task.observation_dim, task.action_dim, ghn)
        ensemble.load_state_dict(load_file(directory / "ghns.safetensors"))  # bfloat16 values in float32 arithmetic
        valid: dict[Architecture, set[int]] = {}
        for row in read_index(directory):
            if row["valid"]:
                valid.setdefault(parse_architecture(row["arch"]), set()).add(row["ghn_seed"])
        states = load_file(directory / "states.safetensors")["observations"]
        return cls(task, directory, ensemble, valid, states, file_sha256(directory / "manifest.json"))

    def hypernetwork_policies(self, arch: Architecture) -> dict[int, Weights]:
        """GHN seed to what that GHN writes for this architecture, held out or not: for metrics and floors."""
        if arch not in self._written:
            self._written[arch] = self._ensemble.policies(arch)
            self._digests[arch] = [weights_sha256(weights) for weights in self._written[arch].values()]
        return self._written[arch]

    def changed(self) -> list[Architecture]:
        """Architectures whose policies were written into since they were handed out."""
        return [
            arch
            for arch, policies in self._written.items()
            if [weights_sha256(weights) for weights in policies.values()] != self._digests[arch]
        ]

    def training_set(self, *, reads: Collection[str] = ("weights",)) -> TrainingSet:
        """The view that a generator gets; with the hypernetworks if `reads` names them (see `nnbench.facts.Facts`)."""

        def networks(arch: Architecture) -> dict[int, Weights]:
            valid = self._valid.get(arch, set())
            return {seed: weights for seed, weights in self.hypernetwork_policies(arch).items() if seed in valid}

        hypernetworks = self.hypernetwork_policies if "hypernetworks" in reads else None
        return TrainingSet(self.task, self.sha256, load_splits().train, networks, hypernetworks, self.changed)


def list_architectures(directory: Path, task_name: str) -> list[dict[str, Any]]:
    """What a zoo holds of each architecture: policies, how many are trained on, their mean return and success.

    Raises ZooError as `verify` does.
    """
    verify(directory, task_name)
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in read_index(directory):
        groups.setdefault(row["arch"], []).append(row)
    splits = load_splits()
    return [
        {
            "arch": arch,
            "partition": splits.partition(parse_architecture(arch)),
            "policies": len(rows),
            "valid": sum(row["valid"] for row in rows),
            "return": float(np.mean([row["return"] for row in rows])),
            "success_at_end": float(np.mean([row["success_at_end"] for row in rows])),
        }
        for arch, rows in groups.items()
    ]


def verify(directory: Path, task_name: str) -> dict[str, Any]:
    """The manifest of a whole and unchanged zoo. Raises ZooError naming the file and the remedy."""
    path = directory / "manifest.json"
    if not path.exists():
        raise ZooError(f"{directory}: no zoo of {task_name} here; `nnbench zoo build --task {task_name}` makes one")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        recorded, task, splits = dict(manifest["files"]), manifest["task"], manifest["splits_sha256"]
        standardiser = manifest["standardiser_sha256"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ZooError(f"{path}: not a zoo's manifest ({error!r}); restore the file or build the zoo anew") from error
    if task != task_name:
        raise ZooError(f"{path}: a zoo of {task}, expected {task_name}; choose the folder of that task")
    if splits != load_splits().sha256:
        raise ZooError(f"{path}: built for another split of the architectures; build the zoo anew")
    if standardiser != load_task(task).standardiser.sha256:
        raise ZooError(f"{path}: its policies read observations standardised by other constants; build the zoo anew")
    for name in {*_FILES, *recorded}:
        if not (directory / name).exists() or file_sha256(directory / name) != recorded.get(name):
            raise ZooError(f"{directory / name}: missing or changed since the zoo was built; restore it or build anew")
    return manifest


@dataclass(frozen=True)
class Repetition:
    """How policies scored that were rolled out once more."""

    policies: int
    exact: int
    """Of these as many to the last episode as recorded."""
    return_difference: float
    """The largest of a policy, of its mean return over the validation episodes."""
    success_difference: float
    """The same of its success at end."""
    return_mean: float
    """How much more all of them scored than recorded, on average."""
    success_mean: float


def expert_file(runs: Path, task_name: str) -> Path:
    """The expert that a zoo is built from: the one that `nnbench expert train` wrote, else the one that ships."""
    trained = runs / "expert" / task_name / "expert.safetensors"
    return trained if trained.exists() else SHIPPED / task_name / "expert.safetensors"


def roll_out_again(simulator: Simulator, directory: Path, count: int) -> Repetition:
    """Roll out `count` policies, spread over the index, once more.

    Raises ZooError where the record of one, or the mean of all, differs by more than what a rounding error does.
    """
    task = simulator.task
    zoo, manifest = Zoo.open(task.name, directory), verify(directory, task.name)
    index = read_index(directory)
    rows = [index[i] for i in np.linspace(0, len(index) - 1, count).round().astype(int)]
    policies = [zoo.hypernetwork_policies(parse_architecture(row["arch"]))[row["ghn_seed"]] for row in rows]
    policy_filter = Filter(**manifest["filter"])
    scores = score_policies(simulator, policies, policy_filter)
    differences = np.array(
        [[score[name] - row[name] for name in _SPREAD] for row, score in zip(rows, scores, strict=True)]
    )  # (N, 3)

    limits = 5 * np.array(list(_SPREAD.values())) / np.sqrt(policy_filter.episodes)
    remedy = f"use the versions of the manifest, {manifest['versions']}"
    for row, score, difference in zip(rows, scores, differences, strict=True):
        if np.any(np.abs(difference) > limits):
            recorded = {name: row[name] for name in score}
            raise ZooError(
                f"{directory / 'index.parquet'}: GHN {row['ghn_seed']} on {row['arch']} scored {score}, recorded is "
                f"{recorded}; {remedy}"
            )
    mean = differences.mean(axis=0)
    if np.any(np.abs(mean) > limits / np.sqrt(count)):
        raise ZooError(
            f"{directory / 'index.parquet'}: {count} policies scored {dict(zip(_SPREAD, mean.tolist(), strict=True))} "
            f"more than recorded in the mean; {remedy}"
        )
    largest = np.abs(differences).max(axis=0)
    exact = np.all(np.abs(differences) < 1e-4, axis=1)  # the last bits of a reward are the machine's
    return Repetition(count, int(exact.sum()), *map(float, (largest[0], largest[2], mean[0], mean[2])))


def build_zoo(
    simulator: Simulator,
    expert_path: Path,
    work: Path,
    out: Path,
    ghn_seeds: Sequence[int],
    config: DistillationConfig | None = None,
    policy_filter: Filter | None = None,
) -> None:
    """Expert to zoo: GHNs, then the validation of what they write. Finished stages in `work` are not made again.

    Raises ZooError where they were made from another expert or with other numbers.
    """
    task, expert = simulator.task, load_expert(expert_path)
    config, policy_filter = config or DistillationConfig(), policy_filter or task.filter
    ensemble = build_ghns(simulator, expert_path, work, ghn_seeds, config)
    # What ships is rounded to bfloat16, so that is what is validated.
    tensors = {key: value.to(torch.bfloat16).contiguous() for key, value in ensemble.state_dict().items()}
    ensemble.load_state_dict(tensors)
    judged = hashlib.sha256(save(tensors) + json.dumps(asdict(policy_filter)).encode()).hexdigest()
    validation = work / f"validation-{judged[:12]}"
    rows = _keep_best(_validate(simulator, ensemble, validation, policy_filter), policy_filter)
    _add_neighbours(rows, ensemble)

    write_atomically(out / "ghns.safetensors", lambda temporary: save_file(tensors, temporary))
    write_atomically(out / "expert.safetensors", lambda temporary: temporary.write_bytes(expert_path.read_bytes()))
    states = sample_states(simulator, expert, ensemble, _STATES)
    write_atomically(out / "states.safetensors", lambda temporary: save_file({"observations": states}, temporary))
    write_rows(out / "index.parquet", rows)
    write_json(
        out / "manifest.json",
        {
            "task": task.name,
            "ghn_seeds": list(ghn_seeds),
            "distillation": asdict(config),
            "filter": asdict(policy_filter),
            "policies": sum(row["partition"] == "train" for row in rows),
            "valid_policies": sum(row["valid"] for row in rows),
            "splits_sha256": load_splits().sha256,
            "standardiser_sha256": task.standardiser.sha256,
            "files": {name: file_sha256(out / name) for name in _FILES},
            "versions": used_versions(),
        },
    )


def build_ghns(
    simulator: Simulator, expert_path: Path, work: Path, ghn_seeds: Sequence[int], config: DistillationConfig
) -> GHNEnsemble:
    """The first stage of `build_zoo`. Without a pool, several processes may make other seeds in the same `work`.

    Raises ZooError where what is in `work` was made from another expert or with other numbers.
    """
    claim_work(work, simulator.task, expert_path, config)
    return distil(simulator, load_expert(expert_path), ghn_seeds, work, config)


def gather_pool(simulator: Simulator, expert_path: Path, work: Path) -> None:
    """The states of the preset `cpu`, which GHNs and direct training learn from, where `work` does not have them.

    Raises ZooError where `work` was made from another expert or with other numbers.
    """
    config = DistillationConfig()
    claim_work(work, simulator.task, expert_path, config)
    build_pool(simulator, load_expert(expert_path), work, config)


def claim_work(work: Path, task: Task, expert_path: Path, config: DistillationConfig) -> None:
    """Remember that the states and GHNs in a folder are made so. Raises ZooError where they were made otherwise."""
    made_with = {
        "expert_sha256": file_sha256(expert_path),
        "standardiser_sha256": task.standardiser.sha256,
        "distillation": asdict(config),
    }
    refuse_other_work(work, made_with)


def refuse_other_work(work: Path, made_with: dict[str, Any]) -> None:
    """Remember what the files in a folder are made with. Raises ZooError where that was something else."""
    path = work / "made-with.json"
    made_with = json.loads(json.dumps(made_with))  # as it reads back: tuples are lists
    if not path.exists() and not any(work.glob("[!.]*")):  # another process may be about to write the same
        write_json(path, made_with)
    elif not path.exists() or json.loads(path.read_text()) != made_with:
        raise ZooError(
            f"{work}: holds work of another expert or with other numbers; delete it, or choose another --work"
        )


def _validate(
    simulator: Simulator, ensemble: GHNEnsemble, directory: Path, policy_filter: Filter
) -> list[dict[str, Any]]:
    """Roll out every policy of all 81 architectures; one file each in `directory`, finished ones are kept."""
    rows: list[dict[str, Any]] = []
    splits = load_splits()
    archs = splits.train + splits.unseen + splits.outside
    for arch in tqdm(archs, desc=f"validate {simulator.task.name}", unit="arch", disable=None):
        path = directory / f"{architecture_name(arch)}.json"
        if not path.exists():
            policies = ensemble.policies(arch)
            scores = score_policies(simulator, list(policies.values()), policy_filter)
            described = [
                {
                    "task": simulator.task.name,
                    "ghn_seed": ghn_seed,
                    "arch": architecture_name(arch),
                    "partition": splits.partition(arch),
                    "parameters": flatten_weights(policy).numel(),
                    "episodes": policy_filter.episodes,
                }
                for ghn_seed, policy in policies.items()
            ]
            write_json(path, [row | score for row, score in zip(described, scores, strict=True)])
        rows += json.loads(path.read_text())
    return rows


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


def _keep_best(rows: list[dict[str, Any]], policy_filter: Filter) -> list[dict[str, Any]]:
    """Add `valid`, whether a policy is in the training set, and `reason`, why it is not."""
    kept: dict[str, int] = {}
    judged = []
    for row in sorted(rows, key=lambda row: -row["return"]):
        arch, reason = row["arch"], ""
        if row["return"] < policy_filter.min_return:
            reason = f"return {row['return']:.2f} < {policy_filter.min_return:g}"
        elif row["success_at_end"] < policy_filter.min_success:
            reason = f"success {row['success_at_end']:.3f} < {policy_filter.min_success:g}"
        elif row["partition"] != "train":
            reason = "held out" if row["partition"] == "unseen" else "outside the space"
        elif kept.get(arch, 0) == policy_filter.best:
            reason = f"not among the best {policy_filter.best}"
        else:
            kept[arch] = kept.get(arch, 0) + 1
        judged.append(row | {"valid": reason == "", "reason": reason, "nearest_l2": None, "nearest_cosine": None})
    order = {(row["arch"], row["ghn_seed"]): position for position, row in enumerate(rows)}
    return sorted(judged, key=lambda row: order[row["arch"], row["ghn_seed"]])


def _add_neighbours(rows: list[dict[str, Any]], ensemble: GHNEnsemble) -> None:
    """How far the nearest other training policy of the architecture is, for the paper's table 6."""
    for arch in load_splits().train:
        mine = [row for row in rows if row["valid"] and row["arch"] == architecture_name(arch)]
        if mine:
            policies = ensemble.policies(arch)
            distances, cosines = nearest_neighbours([policies[row["ghn_seed"]] for row in mine])
            for row, distance, cosine in zip(mine, distances.tolist(), cosines.tolist(), strict=True):
                row |= {"nearest_l2": distance, "nearest_cosine": cosine}


def used_versions() -> dict[str, str]:
    """Of the packages that decide the numbers."""
    return {name: version(name) for name in ("mani_skill", "sapien", "torch", "numpy")}


def read_index(directory: Path) -> list[dict[str, Any]]:
    """One row a policy of the zoo in this folder."""
    return read_rows(directory / "index.parquet")
