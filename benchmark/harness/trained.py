"""Trains methods and stores what they learned."""

import fcntl
import os
import shutil
import sys
import time
import uuid
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from nnbench.harness.isolation import method_at_fault, require_own, unchanged_surroundings
from nnbench.harness.process import MethodError, MethodProcess
from nnbench.harness.saved import count_parameters, files_saved
from nnbench.registry import MethodSource
from nnbench.store.checkpoints import Trained, code_of, find, own_folder, read_checkpoint
from nnbench.store.learning import keep_logs
from nnbench.store.provenance import this_machine
from nnbench.tasks.files import file_sha256, make_folder, write_bytes, write_json
from nnbench.tasks.integrity import read_manifest, seal
from nnbench.tasks.policies.architectures import architecture_name
from nnbench.tasks.zoo.zoo import Zoo


def obtain(source: MethodSource, zoo: Zoo, seed: int, *, retrain: bool = False) -> Trained:
    """The trained method: the user's own, else the one that ships, else trained now, or with `retrain` in any case.

    One that other code trained is used, and said to be so. One that uses another method's training is a copy of that
    method's checkpoint. Raises MethodError where the training fails, and CheckpointError.
    """
    found = None if retrain else find(source.name, zoo.task.name, zoo.sha256, seed, source.code_sha256)
    if source.trainer is not None and (found is None or found.other_code):
        return _copy(source, obtain(source.trainer, zoo, seed), zoo, seed)
    if found is None:
        return train(source, zoo, seed)
    if found.other_code:
        print(
            f"nnbench: method {source.name}: {found.folder} was trained by other code than the method's is now, and is "
            "used as it is; --retrain trains it anew",
            file=sys.stderr,
        )
    return found


def train(source: MethodSource, zoo: Zoo, seed: int) -> Trained:
    """Fit and store a method in a process of its own, going on where a killed training stopped.

    The logs of the training are kept with it. A checkpoint that other code trained is kept beside the new one. Where
    another process finishes the same training first, its result is kept and returned. Raises MethodError where the
    method fails.
    """
    name, code_sha256, task = source.name, source.code_sha256, zoo.task.name
    own = own_folder(name, task, seed, zoo.sha256).absolute()
    trained_before = own.exists()
    progress = own.with_name(f"{own.name}-progress" + (f"-{code_sha256[:12]}" if code_sha256 else ""))
    make_folder(progress)
    began = time.perf_counter()
    # Written elsewhere and then moved, so that a folder which exists is whole.
    unfinished, lock = _begin(own)
    try:
        with MethodProcess() as process:
            asked = source, zoo.opened_from, seed, progress, unfinished
            process.call(f"method {name}: fit", _fit_and_save, *asked)
        manifest = {
            "method": name,
            "task": task,
            "seed": seed,
            "zoo_sha256": zoo.sha256,
            **({"code_sha256": code_sha256} if code_sha256 else {}),
            "files": {path.name: file_sha256(path) for path in files_saved(f"method {name}: save", unfinished)},
            "parameters": count_parameters(f"method {name}: save", unfinished),
            "wall_s": time.perf_counter() - began,
            "machine": this_machine(),
            "versions": {package: version(package) for package in ("nnbench", "torch", "numpy")},
        }
        write_json(unfinished / "manifest.json", seal(manifest))
        keep_logs(progress, unfinished)  # not in the manifest's files: they hold times, and the identity must not
        if trained_before:
            _set_aside(name, task, seed, zoo.sha256, own, code_sha256)
        _move(unfinished, own)
    finally:
        os.close(lock)
        shutil.rmtree(unfinished, ignore_errors=True)
        for folder in (progress, own.parent, own.parent.parent):  # a training that kept nothing leaves nothing
            with suppress(OSError):
                folder.rmdir()
    shutil.rmtree(progress, ignore_errors=True)
    trained, _ = read_checkpoint(name, task, own, code_sha256)
    return trained


def _copy(source: MethodSource, trained: Trained, zoo: Zoo, seed: int) -> Trained:
    """What another method learned, as this one's own: the same files, and what they cost."""
    name, code_sha256, task = source.name, source.code_sha256, zoo.task.name
    own = own_folder(name, task, seed, zoo.sha256).absolute()
    manifest = read_manifest(trained.folder / "manifest.json", f"restore it, or delete {trained.folder}")
    manifest.pop("code_sha256", None)
    manifest |= {"method": name, "trained_as": manifest["method"]}
    manifest |= {"code_sha256": code_sha256} if code_sha256 else {}
    unfinished, lock = _begin(own)
    try:
        for file in manifest["files"]:
            write_bytes(unfinished / file, (trained.folder / file).read_bytes())
        write_json(unfinished / "manifest.json", seal(manifest))
        if own.exists():
            _set_aside(name, task, seed, zoo.sha256, own, code_sha256)
        _move(unfinished, own)
    finally:
        os.close(lock)
        shutil.rmtree(unfinished, ignore_errors=True)
    return read_checkpoint(name, task, own, code_sha256)[0]


def _begin(own: Path) -> tuple[Path, int]:
    """A new folder to write into, and its lock; removes those that killed trainings left, whose locks are free."""
    for left in own.parent.glob(f"{own.name}-unfinished-*"):
        with suppress(OSError):  # another process is at work there, or removed it
            lock = _lock(left)
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
    while True:
        unfinished = own.with_name(f"{own.name}-unfinished-{uuid.uuid4().hex[:8]}")
        make_folder(unfinished)
        try:
            lock = _lock(unfinished)
        except (BlockingIOError, FileNotFoundError):  # another process took it for one that was left
            continue
        except OSError:  # a file system without locks, where nothing that is left is removed
            return unfinished, os.open(unfinished, os.O_RDONLY)
        if unfinished.exists():
            return unfinished, lock
        os.close(lock)


def _lock(folder: Path) -> int:
    """Raises OSError where another process has it. The lock is free when the file is closed, or the process killed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _fit_and_save(
    source: MethodSource, learned: tuple[str, Path, str], seed: int, progress: Path, unfinished: Path
) -> bytes:
    """`learned` are the arguments of `Zoo.open`."""
    who = f"method {source.name}"
    method = source.load()
    with method_at_fault(f"{who}: fit"), unchanged_surroundings(f"{who}: fit", random_state=False):
        training = Zoo.open(*learned).training_set(reads=method.reads)
        generator = method.fit(training, seed=seed, directory=progress)
    require_own(f"{who}: fit", generator, method)
    if archs := training.changed():
        names = ", ".join(map(architecture_name, archs))
        raise MethodError(f"{who}: fit wrote into the training networks of {names}; clone what you change")
    with method_at_fault(f"{who}: save"), unchanged_surroundings(f"{who}: save", random_state=False):
        generator.save(unfinished)
    return b""


def _set_aside(method: str, task: str, seed: int, zoo_sha256: str, own: Path, code_sha256: str | None) -> None:
    """Make room for a new checkpoint: one that other code trained is kept under the name of that code."""
    theirs = code_of(own)  # a damaged one too must make room: the training that is done must not be lost
    if theirs is not None and theirs != code_sha256:
        kept = own_folder(method, task, seed, zoo_sha256, theirs)
        shutil.rmtree(kept, ignore_errors=True)
        own.rename(kept)
    else:
        shutil.rmtree(own, ignore_errors=True)


def _move(unfinished: Path, own: Path) -> None:
    try:
        unfinished.rename(own)
    except OSError:  # another process was first
        if not (own / "manifest.json").exists():
            raise
        shutil.rmtree(unfinished)
