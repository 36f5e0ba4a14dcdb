"""Trained methods: where they are kept, how one is trained, and which one a run uses.

A trained method is a folder with what its `save` wrote and a manifest with the hash of every file. It is looked for
in the user's own folder first, then among those that ship with the package.
"""

import hashlib
import json
import math
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import safe_open

import nnbench.methods
from nnbench.harness.code import hash_code
from nnbench.registry import MethodSource
from nnbench.store.provenance import this_machine
from nnbench.tasks.files import file_sha256, write_json
from nnbench.tasks.zoo.zoo import SHIPPED as SHIPPED_ZOOS
from nnbench.tasks.zoo.zoo import Zoo

SHIPPED = Path(nnbench.methods.__path__[0]) / "checkpoints"
TRAINED = Path("runs") / "methods"
"""Where `nnbench train` writes, below the current folder."""

_MANIFEST = {"method", "task", "seed", "zoo_sha256", "files", "parameters", "wall_s", "machine", "versions"}


class CheckpointError(ValueError):
    """A trained method that is damaged or was trained on something else."""


@dataclass(frozen=True)
class Trained:
    """A method that can be opened."""

    sha256: str
    """Identity of the trained method; every row carries it."""
    folder: Path


def obtain(source: MethodSource, zoo: Zoo, seed: int) -> Trained:
    """The trained method: the user's own, else the one that ships, else trained now."""
    found = find(source.name, zoo.task.name, zoo.sha256, seed, hash_code(source))
    return found or train(source, zoo, seed)


def find(method: str, task: str, zoo_sha256: str, seed: int, code_sha256: str | None = None) -> Trained | None:
    """What `obtain` need not train. Raises CheckpointError.

    `code_sha256` is that of `hash_code`. What code of another hash trained is passed over.
    """
    own, shipped = _folders(method, task, seed)
    its_zoo = SHIPPED_ZOOS / task / "manifest.json"
    of_shipped_zoo = its_zoo.exists() and file_sha256(its_zoo) == zoo_sha256
    for folder in (own, shipped) if of_shipped_zoo else (own,):
        if (folder / "manifest.json").exists():
            trained, manifest = _read(method, task, folder)
            if manifest.get("code_sha256") == code_sha256:
                return _check(trained, manifest, zoo_sha256)
    return None


def train(source: MethodSource, zoo: Zoo, seed: int) -> Trained:
    """Fit and keep a method, going on where a killed run left off.

    Where another process finishes the same training first, its result stands.
    """
    method, code_sha256 = source.load(), hash_code(source)
    own, _ = _folders(method.name, zoo.task.name, seed)
    trained_anew = own.exists()
    progress = own.with_name("-".join([own.name, "progress", *([code_sha256[:12]] if code_sha256 else [])]))
    progress.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    generator = method.fit(zoo.training_set(reads=method.reads), seed=seed, directory=progress)
    # Beside its place first: a folder that is there is whole.
    unfinished = own.with_name(f"{own.name}-unfinished-{uuid.uuid4().hex[:8]}")
    unfinished.mkdir(parents=True)
    generator.save(unfinished)
    manifest = {
        "method": method.name,
        "task": zoo.task.name,
        "seed": seed,
        "zoo_sha256": zoo.sha256,
        **({"code_sha256": code_sha256} if code_sha256 else {}),
        "files": {path.name: file_sha256(path) for path in sorted(unfinished.iterdir())},
        "parameters": _count_parameters(unfinished),
        "wall_s": time.perf_counter() - began,
        "machine": this_machine(),
        "versions": {name: version(name) for name in ("nnbench", "torch", "numpy")},
    }
    write_json(unfinished / "manifest.json", manifest)
    if trained_anew:
        shutil.rmtree(own, ignore_errors=True)
    try:
        unfinished.rename(own)
    except OSError:
        if not (own / "manifest.json").exists():
            raise
        shutil.rmtree(unfinished)
    shutil.rmtree(progress, ignore_errors=True)
    return _check(*_read(method.name, zoo.task.name, own), zoo.sha256)


@dataclass(frozen=True)
class Budget:
    """What a trained method is and cost."""

    method: str
    task: str
    seed: int
    parameters: int
    """Of all its saved tensors, those that training does not change (principal components, means) among them."""
    seconds: float
    """Of training, those of killed runs included where the method counts them (`seconds` in its config.json)."""
    machine: dict[str, Any]
    config: dict[str, Any]
    """Its config.json, empty where it has none."""


def find_budget(unit: Mapping[str, Any]) -> Budget | None:
    """Of the trained method that a unit's rows name; None where it is kept no more. Raises CheckpointError."""
    for folder in _folders(unit["method"], unit["task"], unit["generator_seed"]):
        path = folder / "manifest.json"
        if not path.exists():
            continue
        trained, manifest = _read(unit["method"], unit["task"], folder)
        if trained.sha256 != unit["method_sha256"]:
            continue
        described = folder / "config.json"
        config = json.loads(described.read_text()) if described.exists() else {}
        seconds = config.get("seconds", manifest["wall_s"])
        identity = (unit["method"], unit["task"], unit["generator_seed"])
        return Budget(*identity, manifest["parameters"], seconds, manifest["machine"], config.get("config", {}))
    return None


def _count_parameters(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
    return total


def _folders(method: str, task: str, seed: int) -> tuple[Path, Path]:
    return TRAINED / method / task / f"seed-{seed}", SHIPPED / method / task / f"seed-{seed}"


def _check(trained: Trained, manifest: Mapping[str, Any], zoo_sha256: str) -> Trained:
    if manifest["zoo_sha256"] != zoo_sha256:
        theirs, ours = manifest["zoo_sha256"][:12], zoo_sha256[:12]
        path = trained.folder / "manifest.json"
        remedy = _remedy(manifest["method"], manifest["task"], trained.folder)
        raise CheckpointError(f"{path}: trained on another zoo ({theirs}, this is {ours}); {remedy}")
    return trained


def _read(method: str, task: str, folder: Path) -> tuple[Trained, dict[str, Any]]:
    """With the manifest, after every file was held against its hash."""
    path, remedy = folder / "manifest.json", _remedy(method, task, folder)
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        if missing := _MANIFEST - manifest.keys():
            raise KeyError(*sorted(missing))
    except (json.JSONDecodeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a trained method's manifest ({error!r}); {remedy}") from error
    for name, recorded in manifest["files"].items():
        if not (folder / name).exists() or file_sha256(folder / name) != recorded:
            raise CheckpointError(f"{folder / name}: missing or changed since training; {remedy}")
    identity = {"method": manifest["method"], "zoo": manifest["zoo_sha256"], "files": manifest["files"]}
    identity |= {"code": manifest["code_sha256"]} if "code_sha256" in manifest else {}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Trained(digest, folder), manifest


def _remedy(method: str, task: str, folder: Path) -> str:
    return f"restore it, or delete {folder} and run `nnbench train --method {method} --task {task}`"
