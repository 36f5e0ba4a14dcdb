"""Trains methods and stores what they learned."""

import math
import shutil
import time
import uuid
from importlib.metadata import version
from pathlib import Path

from safetensors import safe_open

from nnbench.registry import MethodSource
from nnbench.store.checkpoints import Trained, find, own_folder, read_checkpoint
from nnbench.store.provenance import this_machine
from nnbench.tasks.files import file_sha256, write_json
from nnbench.tasks.zoo.zoo import Zoo


def obtain(source: MethodSource, zoo: Zoo, seed: int) -> Trained:
    """The trained method: the user's own, else the one that ships, else trained now. Raises CheckpointError."""
    found = find(source.name, zoo.task.name, zoo.sha256, seed, source.code_sha256)
    return found or train(source, zoo, seed)


def train(source: MethodSource, zoo: Zoo, seed: int) -> Trained:
    """Fit and store a method, going on where a killed training stopped.

    Where another process finishes the same training first, its result is kept and returned.
    """
    method, code_sha256, task = source.load(), source.code_sha256, zoo.task.name
    own = own_folder(method.name, task, seed, zoo.sha256, code_sha256)
    trained_before = own.exists()
    progress = own.with_name(f"{own.name}-progress")
    progress.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    generator = method.fit(zoo.training_set(reads=method.reads), seed=seed, directory=progress)
    # Written elsewhere and then moved, so that a folder which exists is whole.
    unfinished = own.with_name(f"{own.name}-unfinished-{uuid.uuid4().hex[:8]}")
    unfinished.mkdir(parents=True)
    generator.save(unfinished)
    manifest = {
        "method": method.name,
        "task": task,
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
    if trained_before:
        shutil.rmtree(own, ignore_errors=True)
    _move(unfinished, own)
    shutil.rmtree(progress, ignore_errors=True)
    trained, _ = read_checkpoint(method.name, task, own)
    return trained


def _move(unfinished: Path, own: Path) -> None:
    try:
        unfinished.rename(own)
    except OSError:  # another process was first
        if not (own / "manifest.json").exists():
            raise
        shutil.rmtree(unfinished)


def _count_parameters(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
    return total
