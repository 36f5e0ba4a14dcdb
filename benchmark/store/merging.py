"""Copies finished units from one folder to another, or into its archives."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from nnbench.store.archive import read_archive, write_archive
from nnbench.store.errors import StoreError
from nnbench.store.folder import Folder, Manifest, manifest_bytes
from nnbench.store.reading import read_rows
from nnbench.store.schemas import POLICY_SCHEMA
from nnbench.store.weights import ALL, TESTED, select_weights
from nnbench.tasks.files import write_bytes
from nnbench.tasks.integrity import content_sha256, parse_sealed


def merge(source: Folder, target: Folder) -> tuple[int, int]:
    """Copy units that are new; returns how many were new and how many were there already.

    Raises StoreError where a unit is in both with different rows or weights, before anything is copied.
    """
    new = _new_units(source, target)
    for manifest in new:
        for name in [*source.files(manifest), manifest.name]:  # the manifest last
            write_bytes(target.root / name, source.read(name))
    return len(new), len(source.keys()) - len(new)


def publish(source: Folder, target: Folder, *, weights: bool = False) -> tuple[int, int]:
    """Add units that are new to the target's archives, one per method and task.

    Of the weights only those of tested networks go along, and only with `weights`; units that are there without them
    get them then, and count as new. Returns and raises as `merge`; raises StoreError too where weights are asked for
    that are not stored.
    """
    new = _new_units(source, target)
    if weights:
        known = {manifest.key for manifest in new}
        lacking = [one for one in source.manifests() if one.key not in known and not target.has(_tested_name(one))]
        new += lacking
    archives: dict[Path, dict[str, bytes]] = {}
    for manifest in new:
        path = target.root / f"{manifest.unit['method']}-{manifest.unit['task']}.tar.xz"
        files = archives.setdefault(path, dict(read_archive(path)) if path.exists() else {})
        names = [name for name in source.files(manifest) if not name.endswith(ALL)]
        there = files.get(manifest.name, source.read(manifest.name))
        files |= {name: source.read(name) for name in names} | {manifest.name: there}
        if weights:
            tested = _tested_weights(source, manifest)
            files |= {_tested_name(manifest): tested, manifest.name: _with_hash(there, _tested_name(manifest), tested)}
    for path, files in archives.items():
        write_archive(path, files)
    return len(new), len(source.keys()) - len(new)


def _tested_name(manifest: Manifest) -> str:
    return f"{manifest.key}.{TESTED}"


def _tested_weights(source: Folder, manifest: Manifest) -> bytes:
    """The content of the file that holds the weights of the unit's tested networks."""
    name, tested = f"{manifest.key}.{ALL}", _tested_name(manifest)
    if source.has(tested):
        return source.read_verified(tested, manifest)
    if not source.has(name):
        raise StoreError(
            f"{source.root / name}: no weights are stored for this unit; run it again, or publish without the weights"
        )
    policies = read_rows(source, [manifest], "policies.parquet", POLICY_SCHEMA, ["sample", "rank"]).to_pylist()
    chosen = {row["sample"] for row in policies if row["rank"] >= 0}
    return source.parse_verified(name, manifest, partial(select_weights, manifest.unit, samples=chosen))


def _with_hash(manifest: bytes, name: str, content: bytes) -> bytes:
    """The manifest with one more file."""
    fields = parse_sealed(manifest)
    return manifest_bytes(fields | {"sha256": fields["sha256"] | {name: content_sha256(content)}})


def _new_units(source: Folder, target: Folder) -> list[Manifest]:
    """The manifests of the source's units that the target lacks; all its files are as their manifests say."""
    new, there = [], set(target.keys())
    for manifest in source.manifests():
        for name in source.files(manifest):
            source.read_verified(name, manifest)
        if manifest.key not in there:
            new.append(manifest)
        elif _contradict(target.manifest(manifest.key).sha256, manifest.sha256):
            raise StoreError(
                f"{source.root / manifest.name} and {target.root / manifest.name} are the same unit with different "
                "results; equal code gives equal results: delete the one that other versions made (both name theirs)"
            )
    return new


def _contradict(first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    """Whether a file that both manifests name has two hashes; only one of them may name the tested weights."""
    return any(first[name] != second[name] for name in first.keys() & second.keys())
