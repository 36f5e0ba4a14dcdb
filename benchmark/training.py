"""Trained methods: where they are kept, how one is trained, and which one a run uses.

A trained method is a folder with what its `save` wrote and a manifest with the hash of every file. It is looked for
in the user's own folder first, then among those that ship with the package.
"""

import hashlib
import json
import shutil
import time
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nnbench.methods
from nnbench.api import Generator
from nnbench.tasks.files import file_sha256, write_json
from nnbench.tasks.zoo import SHIPPED as SHIPPED_ZOOS
from nnbench.tasks.zoo import TrainingSet, Zoo

SHIPPED = Path(nnbench.methods.__path__[0]) / "checkpoints"
TRAINED = Path("runs") / "methods"
"""Where `nnbench train` writes, below the current folder."""


class CheckpointError(ValueError):
    """A trained method that is damaged or was trained on something else."""


@dataclass(frozen=True)
class Trained:
    """A method that can be opened."""

    sha256: str
    """Identity of the trained method; every row carries it."""
    folder: Path


def obtain(method: type[Generator], zoo: Zoo, seed: int) -> Trained:
    """The trained method: the user's own, else the one that ships, else trained now."""
    return find(method.name, zoo.task.name, zoo.sha256, seed) or train(method, zoo, seed)


def find(method: str, task: str, zoo_sha256: str, seed: int) -> Trained | None:
    """What `obtain` need not train. Raises CheckpointError."""
    own, shipped = _folders(method, task, seed)
    its_zoo = SHIPPED_ZOOS / task / "manifest.json"
    of_shipped_zoo = its_zoo.exists() and file_sha256(its_zoo) == zoo_sha256
    for folder in (own, shipped) if of_shipped_zoo else (own,):
        if (folder / "manifest.json").exists():
            return _check(method, task, zoo_sha256, folder)
    return None


def open_generator(method: type[Generator], training: TrainingSet, folder: Path) -> Generator:
    """Load what `obtain` found."""
    return method.load(folder, training)


def train(method: type[Generator], zoo: Zoo, seed: int) -> Trained:
    """Fit and keep a method, going on where a killed run left off.

    Where another process finishes the same training first, its result stands.
    """
    own, _ = _folders(method.name, zoo.task.name, seed)
    trained_anew = own.exists()
    progress = own.with_name(own.name + "-progress")
    progress.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    generator = method.fit(zoo.training_set(reads_ghn=method.reads_ghn), seed=seed, directory=progress)
    # Beside its place first: a folder that is there is whole.
    unfinished = own.with_name(f"{own.name}-unfinished-{uuid.uuid4().hex[:8]}")
    unfinished.mkdir(parents=True)
    generator.save(unfinished)
    manifest = {
        "method": method.name,
        "task": zoo.task.name,
        "seed": seed,
        "zoo_sha256": zoo.sha256,
        "files": {path.name: file_sha256(path) for path in sorted(unfinished.iterdir())},
        "wall_s": time.perf_counter() - began,
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
    return _check(method.name, zoo.task.name, zoo.sha256, own)


def _folders(method: str, task: str, seed: int) -> tuple[Path, Path]:
    return TRAINED / method / task / f"seed-{seed}", SHIPPED / method / task / f"seed-{seed}"


def _check(method: str, task: str, zoo_sha256: str, folder: Path) -> Trained:
    path = folder / "manifest.json"
    remedy = f"restore it, or delete {folder} and run `nnbench train --method {method} --task {task}`"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        files, trained_on = manifest["files"], manifest["zoo_sha256"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a trained method's manifest ({error!r}); {remedy}") from error
    if trained_on != zoo_sha256:
        theirs, ours = trained_on[:12], zoo_sha256[:12]
        raise CheckpointError(f"{path}: trained on another zoo ({theirs}, this is {ours}); {remedy}")
    for name, recorded in files.items():
        if not (folder / name).exists() or file_sha256(folder / name) != recorded:
            raise CheckpointError(f"{folder / name}: missing or changed since training; {remedy}")
    identity = {"method": manifest["method"], "zoo": zoo_sha256, "files": files}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Trained(digest, folder)
