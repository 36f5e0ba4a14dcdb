"""Trained methods: where they are kept, how one is trained, and which one a run uses.

A trained method is a folder with what its `save` wrote and a manifest with the hash of every file. It is looked for
in the user's own folder first, then among those that ship with the package.
"""

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nnbench.methods
from nnbench.api import Generator
from nnbench.tasks.files import file_sha256, write_json
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
    own, shipped = _folders(method, zoo, seed)
    for folder in (own, shipped):
        if (folder / "manifest.json").exists():
            return _check(method, zoo, folder)
    return train(method, zoo, seed)


def open_generator(method: type[Generator], training: TrainingSet, folder: Path) -> Generator:
    """Load what `obtain` found."""
    return method.load(folder, training)


def train(method: type[Generator], zoo: Zoo, seed: int) -> Trained:
    """Fit and keep a method, going on where a killed run left off."""
    own, _ = _folders(method, zoo, seed)
    progress = own.with_name(own.name + "-progress")
    progress.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    generator = method.fit(zoo.training_set(reads_ghn=method.reads_ghn), seed=seed, directory=progress)
    # Beside its place first: a folder that is there is whole.
    unfinished = own.with_name(own.name + "-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
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
    shutil.rmtree(own, ignore_errors=True)
    unfinished.rename(own)
    shutil.rmtree(progress)
    return _check(method, zoo, own)


def _folders(method: type[Generator], zoo: Zoo, seed: int) -> tuple[Path, Path]:
    return tuple(root / method.name / zoo.task.name / f"seed-{seed}" for root in (TRAINED, SHIPPED))  # type: ignore[return-value]


def _check(method: type[Generator], zoo: Zoo, folder: Path) -> Trained:
    path = folder / "manifest.json"
    remedy = f"restore it, or delete {folder} and run `nnbench train --method {method.name} --task {zoo.task.name}`"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        files, zoo_sha256 = manifest["files"], manifest["zoo_sha256"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a trained method's manifest ({error!r}); {remedy}") from error
    if zoo_sha256 != zoo.sha256:
        theirs, ours = zoo_sha256[:12], zoo.sha256[:12]
        raise CheckpointError(f"{path}: trained on another zoo ({theirs}, this is {ours}); {remedy}")
    for name, recorded in files.items():
        if not (folder / name).exists() or file_sha256(folder / name) != recorded:
            raise CheckpointError(f"{folder / name}: missing or changed since training; {remedy}")
    identity = {"method": manifest["method"], "zoo": zoo_sha256, "files": files}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Trained(digest, folder)
