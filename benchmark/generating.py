"""Ask a trained generator for policies and keep them: what `nnbench generate` does, from Python."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from nnbench.errors import InputError
from nnbench.folders import require_usable
from nnbench.harness.isolation import Isolated
from nnbench.harness.trained import obtain
from nnbench.preparing import MethodName, check_architecture, check_numbers, check_source, sources_of
from nnbench.store.checkpoints import TRAINED
from nnbench.tasks.files import write_bytes, write_folder, write_json
from nnbench.tasks.policies.architectures import Architecture, architecture_name, parse_architecture
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.task import Task
from nnbench.tasks.tensors import save_tensors
from nnbench.zoos import ZooFolder, open_zoo


def generate(
    method: MethodName,
    arch: str | Architecture,
    n: int = 1,
    *,
    task: str = "PickCube-v1",
    out: str | Path | None = None,
    seed: int = 0,
    sample_seed: int = 0,
    track: str = "paper",
    zoo: ZooFolder = None,
    plugins: Sequence[str | Path] = (),
) -> list[Weights]:
    """n policies of an architecture, nothing selected, as state dicts of `nn.Sequential(Linear, ReLU, ..., Linear)`.

    A policy reads observations that the task has standardised, `(observation - mean) / scale`, and its outputs are
    clamped to [-1, 1]. Trains the method first where it has no checkpoint.

    Args:
        method: A method, by name or as a class.
        arch: Hidden widths, as in `"24-48-24-48"` or `(24, 48, 24, 48)`.
        n: How many.
        task: ManiSkill environment, or a Python file that defines a task.
        out: A folder, new or empty, to write them to: `0.safetensors` and so on, `policies.json` with what they read,
            and `load.py`, which loads one without nnbench.
        seed: Of the method's training.
        sample_seed: Of the policies.
        track: What is learned from: a name that `nnbench tracks` lists, or the path of a track's file.
        zoo: Folder of a zoo that you built; default the one that ships.
        plugins: Paths of Python files with further methods.

    Raises InputError, and MethodError where the method fails.
    """
    (source,) = sources_of(method, plugins).values()
    check_numbers(seed)
    if type(n) is not int or n < 1:
        raise InputError(f"--n {n}: expected 1 or more policies")
    if type(sample_seed) is not int or not 0 <= sample_seed < 2**31:
        raise InputError(f"--sample-seed {sample_seed}: expected 0 to {2**31 - 1}")
    widths = parse_architecture(arch if isinstance(arch, str) else architecture_name(arch))
    folder = None if out is None else Path(out)
    require_usable(TRAINED)
    if folder is not None:
        require_usable(folder)
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder}: is not empty; name a folder that is, or a new one")
    opened = open_zoo(task, zoo, track=track)
    check_source(source.facts, opened.track)
    check_architecture(source.facts, opened.track, widths)
    trained = obtain(source, opened, seed)
    with Isolated(source, trained.folder, opened.opened_from) as generator:
        policies = generator.generate(widths, n, seed=sample_seed)
    if folder is not None:
        origin = {
            "method": source.name,
            "method_sha256": trained.sha256,
            "seed": seed,
            "sample_seed": sample_seed,
            "policies": n,
            "track": opened.track.label,
            "zoo_sha256": opened.sha256,
        }
        write_folder(folder, partial(_fill, policies=policies, origin=origin, task=opened.task, arch=widths))
    return policies


def _fill(folder: Path, policies: Sequence[Weights], origin: Mapping[str, Any], task: Task, arch: Architecture) -> None:
    for position, policy in enumerate(policies):
        save_tensors(folder / f"{position}.safetensors", policy)
    standardiser = task.standardiser
    facts = {
        **origin,
        "task": task.name,
        "arch": list(arch),
        "observation_dim": task.observation_dim,
        "action_dim": task.action_dim,
        "observation_mean": standardiser.mean.tolist(),
        "observation_scale": standardiser.scale.tolist(),
    }
    write_bytes(folder / "load.py", files("nnbench").joinpath("load_policy.py").read_bytes())
    write_json(folder / "policies.json", facts)
