"""A zoo's files: where they are, whether they are whole, and what they say. Tables read them without torch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nnbench.errors import NnbenchError
from nnbench.tasks.files import parse_rows
from nnbench.tasks.integrity import DamagedError, read_manifest, read_stored
from nnbench.tasks.policies.architectures import load_splits, parse_architecture
from nnbench.tasks.policies.tracks import SourceName
from nnbench.tasks.task import Task

SHIPPED = Path(__file__).parents[1] / "zoos"
"""The zoos that come with the package, one folder per task."""

POLICIES: dict[SourceName, str] = {"hypernetworks": "ghns.safetensors", "sgd": "policies.safetensors"}
"""By source, the file that the policies come from."""

BANK = "bank.safetensors"
"""States for methods that learn from states. Manifests of the zoos that ship are older and do not name it: it carries
its own checksum."""

_STATED = {
    "task": str,
    "filter": dict,
    "splits_sha256": str,
    "standardiser_sha256": str,
    "files": dict,
    "versions": dict,
}
"""What a manifest states, and its type."""
_STATED_BY: dict[SourceName, dict[str, type]] = {
    "hypernetworks": {"ghn_seeds": list, "distillation": dict},
    "sgd": {"seeds": list, "training": dict},
}
"""The same, of the manifests of one source: how many seeds, and how they were made."""
_REMEDY = "restore it, or build the zoo anew"

T = TypeVar("T")


def shipped_folder(task: str, source: SourceName) -> Path:
    """Where the zoo of a task and source would lie that ships."""
    return SHIPPED / (task if source == "hypernetworks" else f"{task}-{source}")


def files_of(source: SourceName) -> tuple[str, ...]:
    """What a zoo's folder holds beside the manifest."""
    return (POLICIES[source], "expert.safetensors", "states.safetensors", "index.parquet")


def source_of(manifest: Mapping[str, Any]) -> SourceName:
    """What the zoo's policies come from; manifests of hypernetworks need not say it."""
    source: SourceName = manifest.get("source", "hypernetworks")
    return source


def seeds_of(manifest: Mapping[str, Any]) -> list[int]:
    """One per hypernetwork, or per policy of an architecture."""
    seeds: list[int] = manifest["ghn_seeds" if source_of(manifest) == "hypernetworks" else "seeds"]
    return seeds


class ZooError(NnbenchError, ValueError):
    """A zoo that is missing, of another task or of another version."""


def list_architectures(directory: Path, task: Task) -> list[dict[str, Any]]:
    """What a zoo holds for each architecture: policies, how many are trained on, their mean return and success.

    Raises as `verify` does.
    """
    verify(directory, task)
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in read_index(directory):
        groups.setdefault(row["arch"], []).append(row)
    splits = load_splits()
    return [
        {
            "arch": arch,
            "partition": splits.partition(parse_architecture(arch)),
            "policies": len(rows),
            "valid": sum(row["valid"] for row in rows),
            "return": float(np.mean([row["return"] for row in rows])),
            "success_at_end": float(np.mean([row["success_at_end"] for row in rows])),
        }
        for arch, rows in groups.items()
    ]


def verify(directory: Path, task: Task) -> dict[str, Any]:
    """The manifest of a whole and unchanged zoo. Raises ZooError, and DamagedError naming the file and the remedy."""
    manifest, path = read_zoo_manifest(directory, task), directory / "manifest.json"
    if manifest["task"] != task.name:
        raise ZooError(f"{path}: a zoo of {manifest['task']}, expected {task.name}; choose the folder of that task")
    if manifest["splits_sha256"] != load_splits().sha256:
        raise ZooError(f"{path}: built for another split of the architectures; build the zoo anew")
    if manifest["standardiser_sha256"] != task.standardiser.sha256:
        raise ZooError(f"{path}: its policies read observations standardised by other constants; build the zoo anew")
    if manifest.get("task_code_sha256") != task.code_sha256:
        raise ZooError(
            f"{path}: built by other code of {task.name} than {task.file or 'what ships'} is now; restore the task's "
            "file, or build the zoo anew"
        )
    for file in {*files_of(source_of(manifest)), *manifest["files"]}:
        read_zoo_file(directory, manifest, file, len)
    return manifest


def read_zoo_manifest(directory: Path, task: Task | None = None) -> dict[str, Any]:
    """What a zoo's manifest says; its files are not looked at. Raises ZooError where there is none, and DamagedError.

    `task` is whose zoo is looked for, for the error.
    """
    path = directory / "manifest.json"
    if not path.exists():
        name, source = (task.name, task.source) if task else ("any task", "TASK")
        raise ZooError(
            f"{directory}: no zoo of {name} here; `nnbench zoo build --task {source}` builds one, and --zoo "
            f"runs/zoo/{name} uses it"
        )
    manifest = read_manifest(path, _REMEDY, sums=SHIPPED)
    if source_of(manifest) not in [*POLICIES]:  # it may be any JSON
        known = ", ".join(POLICIES)
        raise DamagedError(path, f"a zoo of the source {source_of(manifest)!r}, expected one of {known}", _REMEDY)
    stated = _STATED_BY[source_of(manifest)] | _STATED
    if wrong := [name for name, kind in stated.items() if not isinstance(manifest.get(name), kind)]:
        raise DamagedError(path, f"not a zoo's manifest: {', '.join(wrong)} missing or of another type", _REMEDY)
    if strange := [name for name in manifest["files"] if Path(name).name != name]:
        raise DamagedError(path, f"not a zoo's manifest: it names {', '.join(strange)}, no files beside it", _REMEDY)
    return manifest


def read_zoo_file(directory: Path, manifest: Mapping[str, Any], name: str, parse: Callable[[bytes], T]) -> T:
    """What `parse` makes of one of a zoo's files. Raises DamagedError where it is not what the manifest says."""
    return read_stored(directory / name, parse, _REMEDY, sha256=manifest["files"].get(name, "none"))


def read_bank(directory: Path, manifest: Mapping[str, Any], parse: Callable[[bytes], T]) -> T:
    """What `parse` makes of a zoo's bank of states. Raises DamagedError."""
    return read_stored(directory / BANK, parse, _REMEDY, sha256=manifest["files"].get(BANK))


def read_index(directory: Path) -> list[dict[str, Any]]:
    """One row per policy of the zoo in this folder. Raises as `read_zoo_manifest`."""
    return read_zoo_file(directory, read_zoo_manifest(directory), "index.parquet", parse_rows)
