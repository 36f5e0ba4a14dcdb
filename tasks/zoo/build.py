"""How a zoo is built: from the expert to hypernetworks or policies to scores, in stages that are kept."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from nnbench.tasks.files import file_sha256, write_bytes, write_json, write_rows
from nnbench.tasks.integrity import read_manifest, seal
from nnbench.tasks.policies.architectures import architecture_name, load_splits
from nnbench.tasks.policies.mlp import nearest_neighbours
from nnbench.tasks.policies.tracks import SourceName
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.task import Filter, Task
from nnbench.tasks.zoo.direct import train_policies
from nnbench.tasks.zoo.distillation import build_pool, distil, pool_file_of
from nnbench.tasks.zoo.expert import load_expert
from nnbench.tasks.zoo.filtering import keep_best
from nnbench.tasks.zoo.ghn import GHNEnsemble
from nnbench.tasks.zoo.manifest import BANK, POLICIES, SHIPPED, ZooError, files_of
from nnbench.tasks.zoo.presets import DirectConfig, DistillationConfig
from nnbench.tasks.zoo.sources import Source
from nnbench.tasks.zoo.states import sample_states, save_bank
from nnbench.tasks.zoo.validation import validate

_STATES, _STATES_EPISODES = 1_024, 64
_BANK_EPISODE = 32
"""So many states of the bank there are for every episode that is rolled out for it, of 50 steps."""


def expert_file(runs: Path, task_name: str) -> Path:
    """The expert that a zoo is built from: the one that `nnbench expert train` wrote, else the one that ships."""
    trained = runs / "expert" / task_name / "expert.safetensors"
    return trained if trained.exists() else SHIPPED / task_name / "expert.safetensors"


def build_zoo(
    simulator: Simulator,
    expert_path: Path,
    work: Path,
    out: Path,
    seeds: Sequence[int],
    config: DistillationConfig | DirectConfig | None = None,
    policy_filter: Filter | None = None,
) -> None:
    """From the expert to a zoo in `out`: hypernetworks or policies, then the validation of the policies.

    The kind of `config` says which. Finished stages in `work` are kept. The filter is by default the task's. Raises
    ZooError where `work` was made from another expert or with other numbers or code.
    """
    task, expert = simulator.task, load_expert(expert_path)
    config, policy_filter = config or DistillationConfig(), policy_filter or task.filter
    if isinstance(config, DirectConfig):
        made = _train_policies(simulator, expert_path, work, seeds, config)
    else:
        made = _make_ghns(simulator, expert_path, work, seeds, config)
    judged = hashlib.sha256(save(made.tensors) + json.dumps(asdict(policy_filter)).encode()).hexdigest()
    validation = work / f"validation-{judged[:12]}"
    rows = keep_best(validate(simulator, made.source, validation, policy_filter), policy_filter, load_splits())
    _add_neighbours(rows, made.source)

    write_bytes(out / POLICIES[made.source_name], save(made.tensors))
    write_bytes(out / "expert.safetensors", expert_path.read_bytes())
    states = sample_states(simulator, expert, made.source, _STATES, _STATES_EPISODES, stream=2)
    write_bytes(out / "states.safetensors", save({"observations": states}))
    bank = config.states.bank if isinstance(config, DirectConfig) else config.bank
    save_bank(out / BANK, sample_states(simulator, expert, made.source, bank, bank // _BANK_EPISODE, stream=3))
    write_rows(out / "index.parquet", rows)
    manifest = {
        "task": task.name,
        **made.stated,
        "filter": asdict(policy_filter),
        "policies": sum(row["partition"] == "train" for row in rows),
        "valid_policies": sum(row["valid"] for row in rows),
        "splits_sha256": load_splits().sha256,
        "standardiser_sha256": task.standardiser.sha256,
        **code_of_file(task),
        "files": {name: file_sha256(out / name) for name in (*files_of(made.source_name), BANK)},
        "versions": used_versions(),
    }
    write_json(out / "manifest.json", seal(manifest))


@dataclass(frozen=True)
class _Made:
    """What the policies come from, before any is validated."""

    source_name: SourceName
    source: Source
    """Of the rounded tensors: what is stored is what is validated."""
    tensors: dict[str, Tensor]
    """As they are stored."""
    stated: dict[str, Any]
    """What the manifest says of how they were made."""


def _make_ghns(
    simulator: Simulator, expert_path: Path, work: Path, seeds: Sequence[int], config: DistillationConfig
) -> _Made:
    ensemble = build_ghns(simulator, expert_path, work, seeds, config)
    tensors = {key: value.to(torch.bfloat16).contiguous() for key, value in ensemble.state_dict().items()}
    ensemble.load_state_dict(tensors)
    stated = {"ghn_seeds": list(seeds), "distillation": asdict(config)}
    return _Made("hypernetworks", ensemble, tensors, stated)


def _train_policies(
    simulator: Simulator, expert_path: Path, work: Path, seeds: Sequence[int], config: DirectConfig
) -> _Made:
    pool_file, directory = gather_pool(simulator, expert_path, work, config.states), work / "policies"
    refuse_other_work(directory, {"pool_sha256": file_sha256(pool_file), "training": asdict(config)})
    splits = load_splits()
    archs = splits.train + splits.unseen + splits.outside
    policies = train_policies(simulator.task, pool_file, directory, archs, seeds, config, workers=simulator.workers)
    stated = {"source": "sgd", "seeds": list(seeds), "training": asdict(config)}
    return _Made("sgd", policies, policies.tensors, stated)


def build_ghns(
    simulator: Simulator, expert_path: Path, work: Path, ghn_seeds: Sequence[int], config: DistillationConfig
) -> GHNEnsemble:
    """The first stage of `build_zoo`. Without a pool, several processes may make other seeds in the same `work`.

    Raises ZooError where what is in `work` was made from another expert or with other numbers.
    """
    claim_work(work, simulator.task, expert_path, config)
    return distil(simulator, load_expert(expert_path), ghn_seeds, work, config)


def gather_pool(simulator: Simulator, expert_path: Path, work: Path, config: DistillationConfig | None = None) -> Path:
    """The file of the states that GHNs and direct training learn from, gathered where `work` does not have them.

    The numbers are by default the preset's `cpu`. Raises ZooError where `work` was made from another expert or with
    other numbers.
    """
    config = config or DistillationConfig()
    claim_work(work, simulator.task, expert_path, config)
    build_pool(simulator, load_expert(expert_path), work, config)
    return pool_file_of(work)


def claim_work(work: Path, task: Task, expert_path: Path, config: DistillationConfig) -> None:
    """Remember that the states and GHNs in a folder are made so. Raises ZooError where they were made otherwise."""
    made_with = {
        "expert_sha256": file_sha256(expert_path),
        "standardiser_sha256": task.standardiser.sha256,
        "distillation": asdict(config),
        **code_of_file(task),
    }
    refuse_other_work(work, made_with)


def code_of_file(task: Task) -> dict[str, str]:
    """What manifests say of the code of a task that a file defines; nothing of one that ships."""
    return {"task_code_sha256": task.code_sha256} if task.code_sha256 else {}


def refuse_other_work(work: Path, made_with: dict[str, Any]) -> None:
    """Remember what the files in a folder are made with. Raises ZooError where that was something else."""
    path = work / "made-with.json"
    made_with = json.loads(json.dumps(made_with))  # as it reads back: tuples are lists
    if not path.exists() and not any(work.glob("[!.]*")):  # another process may be about to write the same
        write_json(path, seal(made_with))
    elif not path.exists() or read_manifest(path, f"delete {work}, or choose another --work") != made_with:
        raise ZooError(
            f"{work}: holds work of another expert or with other numbers or code; delete it, or choose another --work"
        )


def _add_neighbours(rows: list[dict[str, Any]], source: Source) -> None:
    """How far the nearest other training policy of the architecture is, for the paper's table 6."""
    for row in rows:
        row |= {"nearest_l2": None, "nearest_cosine": None}
    for arch in load_splits().train:
        mine = [row for row in rows if row["valid"] and row["arch"] == architecture_name(arch)]
        if mine:
            policies = source.policies(arch)
            distances, cosines = nearest_neighbours([policies[row["ghn_seed"]] for row in mine])
            for row, distance, cosine in zip(mine, distances.tolist(), cosines.tolist(), strict=True):
                row |= {"nearest_l2": distance, "nearest_cosine": cosine}


def used_versions() -> dict[str, str]:
    """Versions of the packages that decide the numbers."""
    return {name: version(name) for name in ("mani_skill", "sapien", "torch", "numpy")}
