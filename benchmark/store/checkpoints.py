"""Trained methods on disk: where they are, whether they are whole, and what they cost.

A trained method is a folder with what its `save` wrote and a manifest with the hash of every file. The user's own
folder is searched first, then what ships with the package.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from nnbench.errors import NnbenchError
from nnbench.folders import RUNS
from nnbench.tasks.files import file_sha256
from nnbench.tasks.integrity import DamagedError, read_manifest, read_stored
from nnbench.tasks.zoo.manifest import SHIPPED as SHIPPED_ZOOS

SHIPPED = Path(str(files("nnbench.methods"))) / "checkpoints"
TRAINED = RUNS / "methods"
"""Where `nnbench train` writes, below the current folder."""

_KEYS = {
    "method": str,
    "task": str,
    "seed": int,
    "zoo_sha256": str,
    "files": dict,
    "parameters": int,
    "wall_s": int | float,
    "machine": dict,
    "versions": dict,
}
"""What a manifest states, and its type."""


class CheckpointError(NnbenchError, ValueError):
    """A trained method that is another one, or was trained on something else."""


@dataclass(frozen=True)
class Trained:
    """A trained method that is whole and unchanged."""

    sha256: str
    """Identity of the trained method, of its checkpoint and of the code that reads it; every row carries it."""
    folder: Path
    other_code: bool = False
    """True if other code trained it than the method's code is now."""


@dataclass(frozen=True)
class Budget:
    """The size of a trained method and the cost of its training."""

    method: str
    task: str
    seed: int
    parameters: int
    """In all saved tensors, also those that training does not change (principal components, means)."""
    seconds: float
    """Of training; with those of killed runs where the method counts them (`seconds` in its config.json)."""
    machine: dict[str, Any]
    config: dict[str, Any]
    """Its config.json, empty where it has none."""


def own_folder(method: str, task: str, seed: int, zoo_sha256: str, code_sha256: str | None = None) -> Path:
    """Where `train` writes: one folder per method, task and seed, and per zoo where the zoo does not ship.

    With `code_sha256`, where a checkpoint is kept whose place that of other code took.
    """
    code = f"-code-{code_sha256[:12]}" if code_sha256 else ""
    return TRAINED / method / task / f"seed-{seed}{_zoo_suffix(task, zoo_sha256)}{code}"


def seed_folders(root: Path, task: str, zoo_sha256: str) -> dict[tuple[str, int], Path]:
    """By method and seed the folders of a zoo below `root`, which are named as below `TRAINED`; those of the methods'
    code as it is now. What is in them is not looked at."""
    name = re.compile(rf"seed-(\d+){_zoo_suffix(task, zoo_sha256)}")
    return {
        (folder.parents[1].name, int(found[1])): folder
        for folder in sorted(root.glob("*/*/seed-*"))
        if folder.parent.name == task and (found := name.fullmatch(folder.name))
    }


def find(method: str, task: str, zoo_sha256: str, seed: int, code_sha256: str | None = None) -> Trained | None:
    """The trained method of this zoo: the user's own, else the one that ships, else None.

    `code_sha256` is that of the method's code now (`nnbench.code.hash_code`). What this code trained goes before what
    other code did; of other code, what ships or learned nothing is of no use. Raises DamagedError where files changed,
    and CheckpointError where the user's folder for the zoo that ships is of another zoo.
    """
    own = own_folder(method, task, seed, zoo_sha256)
    kept = [own_folder(method, task, seed, zoo_sha256, code_sha256)] if code_sha256 else []
    shipped = [SHIPPED / method / task / f"seed-{seed}"] if _ships(task, zoo_sha256) else []
    found = []
    for folder in (own, *kept, *shipped):
        if not (folder / "manifest.json").exists():
            continue
        trained, manifest = read_checkpoint(method, task, folder, code_sha256)
        if manifest["seed"] != seed:
            raise CheckpointError(
                f"{folder / 'manifest.json'}: trained with seed {manifest['seed']}, not {seed}; "
                f"{_remedy(method, task, folder)}"
            )
        if manifest["zoo_sha256"] != zoo_sha256:
            theirs, ours = manifest["zoo_sha256"][:12], zoo_sha256[:12]
            raise CheckpointError(
                f"{folder / 'manifest.json'}: trained on another zoo ({theirs}, this is {ours}); "
                f"{_remedy(method, task, folder)}"
            )
        useless = folder in shipped or not manifest["parameters"]
        if not (trained.other_code and useless):
            found.append(trained)
    return min(found, key=lambda trained: trained.other_code, default=None)  # of equals the first


def read_checkpoint(
    method: str, task: str, folder: Path, code_sha256: str | None = None
) -> tuple[Trained, dict[str, Any]]:
    """The trained method in a folder, as code of this identity reads it, and its manifest.

    Raises DamagedError where a file is not what was stored, and CheckpointError where it is another method's.
    """
    path, remedy = folder / "manifest.json", _remedy(method, task, folder)
    manifest = read_manifest(path, remedy)
    if wrong := [name for name, kind in _KEYS.items() if not isinstance(manifest.get(name), kind)]:
        raise DamagedError(
            path, f"not a trained method's manifest: {', '.join(wrong)} missing or of another type", remedy
        )
    if (manifest["method"], manifest["task"]) != (method, task):
        raise CheckpointError(f"{path}: of {manifest['method']} on {manifest['task']}, not of {method}; {remedy}")
    for name, sha256 in manifest["files"].items():
        if Path(name).name != name:
            raise DamagedError(path, f"names {name!r}, which is no file beside it", remedy)
        read_stored(folder / name, len, remedy, sha256=sha256)
    identity = {"method": manifest["method"], "zoo": manifest["zoo_sha256"], "files": manifest["files"]}
    identity |= {"code": code_sha256} if code_sha256 else {}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Trained(digest, folder, manifest.get("code_sha256") != code_sha256), manifest


def find_budget(unit: Mapping[str, Any]) -> Budget | None:
    """The budget of the trained method that a unit's rows name; None where it is no longer stored.

    `unit` has the fields of a `Unit`, as in a manifest. Raises DamagedError and CheckpointError.
    """
    method, task, seed = unit["method"], unit["task"], unit["generator_seed"]
    own, shipped, name = TRAINED / method / task, SHIPPED / method / task, f"seed-{seed}"
    kept = (own / name, *sorted(own.glob(f"{name}-zoo-*")), *sorted(own.glob(f"{name}-code-*")), shipped / name)
    for folder in kept:
        if not (folder / "manifest.json").exists():
            continue
        trained, _ = read_checkpoint(method, task, folder, code_of(folder))
        if trained.sha256 == unit["method_sha256"]:
            return read_budget(folder)
    return None


def read_budget(folder: Path) -> Budget:
    """The budget of the trained method in a folder. Raises DamagedError."""
    manifest = read_manifest(folder / "manifest.json", f"restore it, or delete {folder} and train again")
    seconds, config = _described(folder, manifest)
    method, task, seed = manifest["method"], manifest["task"], manifest["seed"]
    return Budget(method, task, seed, manifest["parameters"], seconds, manifest["machine"], config)


def code_of(folder: Path) -> str | None:
    """What code trained a checkpoint; None also where the manifest cannot be read, which `read_checkpoint` says."""
    try:
        found = read_manifest(folder / "manifest.json", "").get("code_sha256")
    except DamagedError:
        return None
    return found if isinstance(found, str) else None


def _described(folder: Path, manifest: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    """The seconds of training and the configuration in config.json, whose form is the method's own affair."""
    sha256, path = manifest["files"].get("config.json"), folder / "config.json"
    remedy = _remedy(manifest["method"], manifest["task"], folder)
    found = {} if sha256 is None else read_stored(path, json.loads, remedy, sha256=sha256)
    found = found if isinstance(found, dict) else {}
    seconds, config = found.get("seconds"), found.get("config")
    return (
        float(seconds if isinstance(seconds, int | float) else manifest["wall_s"]),
        config if isinstance(config, dict) else {},
    )


def _zoo_suffix(task: str, zoo_sha256: str) -> str:
    """What tells a zoo's folders from those of the zoo that ships."""
    return "" if _ships(task, zoo_sha256) else f"-zoo-{zoo_sha256[:12]}"


def _ships(task: str, zoo_sha256: str) -> bool:
    manifest = SHIPPED_ZOOS / task / "manifest.json"
    return manifest.exists() and file_sha256(manifest) == zoo_sha256


def _remedy(method: str, task: str, folder: Path) -> str:
    return f"restore it, or delete {folder} and run `nnbench train --method {method} --task {task}`"
