"""Copies finished units from one folder to another, or into its archives."""

from functools import partial
from pathlib import Path

from nnbench.store.archive import read_archive, write_archive
from nnbench.store.errors import StoreError
from nnbench.store.folder import Folder, Manifest
from nnbench.tasks.files import write_atomically


def merge(source: Folder, target: Folder) -> tuple[int, int]:
    """Copy units that are new; returns how many were new and how many were there already.

    Raises StoreError where a unit is in both with different rows or weights, before anything is copied.
    """
    new = _new_units(source, target)
    for manifest in new:
        for name in [*source.files(manifest), manifest.name]:  # the manifest last
            write_atomically(target.root / name, partial(Path.write_bytes, data=source.read(name)))
    return len(new), len(source.keys()) - len(new)


def publish(source: Folder, target: Folder) -> tuple[int, int]:
    """Add units that are new, without their weights, to the target's archives, one per method and task.

    Returns and raises as `merge`.
    """
    new = _new_units(source, target)
    archives: dict[Path, dict[str, bytes]] = {}
    for manifest in new:
        path = target.root / f"{manifest.unit['method']}-{manifest.unit['task']}.tar.xz"
        files = archives.setdefault(path, dict(read_archive(path)) if path.exists() else {})
        names = [name for name in source.files(manifest) if not name.endswith(".safetensors")]
        files |= {name: source.read(name) for name in [*names, manifest.name]}
    for path, files in archives.items():
        write_archive(path, files)
    return len(new), len(source.keys()) - len(new)


def _new_units(source: Folder, target: Folder) -> list[Manifest]:
    """The manifests of the source's units that the target lacks; all its files are as their manifests say."""
    new, there = [], set(target.keys())
    for manifest in source.manifests():
        for name in source.files(manifest):
            source.read_verified(name, manifest)
        if manifest.key not in there:
            new.append(manifest)
        elif target.manifest(manifest.key).sha256 != manifest.sha256:
            raise StoreError(
                f"{source.root / manifest.name} and {target.root / manifest.name} are the same unit with different "
                "results; equal code gives equal results: delete the one that other versions made (both name theirs)"
            )
    return new
