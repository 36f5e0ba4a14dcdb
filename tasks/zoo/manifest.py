"""A zoo's files: where they are, whether they are whole, and what they say. Tables read them without torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from nnbench.errors import NnbenchError
from nnbench.tasks.files import file_sha256, read_rows
from nnbench.tasks.policies.architectures import load_splits, parse_architecture
from nnbench.tasks.task import Task

SHIPPED = Path(__file__).parents[1] / "zoos"
"""The zoos that come with the package, one folder per task."""

FILES = ("ghns.safetensors", "expert.safetensors", "states.safetensors", "index.parquet")
"""What a zoo's folder holds beside the manifest."""


class ZooError(NnbenchError, ValueError):
    """A zoo that is missing, damaged or of another version."""


def list_architectures(directory: Path, task: Task) -> list[dict[str, Any]]:
    """What a zoo holds for each architecture: policies, how many are trained on, their mean return and success.

    Raises ZooError as `verify` does.
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
    """The manifest of a whole and unchanged zoo. Raises ZooError naming the file and the remedy."""
    path = directory / "manifest.json"
    if not path.exists():
        raise ZooError(
            f"{directory}: no zoo of {task.name} here; `nnbench zoo build --task {task.source}` builds one, and --zoo "
            f"runs/zoo/{task.name} uses it"
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        recorded, name, splits = dict(manifest["files"]), manifest["task"], manifest["splits_sha256"]
        standardiser = manifest["standardiser_sha256"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ZooError(f"{path}: not a zoo's manifest ({error!r}); restore the file or build the zoo anew") from error
    if name != task.name:
        raise ZooError(f"{path}: a zoo of {name}, expected {task.name}; choose the folder of that task")
    if splits != load_splits().sha256:
        raise ZooError(f"{path}: built for another split of the architectures; build the zoo anew")
    if standardiser != task.standardiser.sha256:
        raise ZooError(f"{path}: its policies read observations standardised by other constants; build the zoo anew")
    if manifest.get("task_code_sha256") != task.code_sha256:
        raise ZooError(
            f"{path}: built by other code of {task.name} than {task.file or 'what ships'} is now; restore the task's "
            "file, or build the zoo anew"
        )
    for file in {*FILES, *recorded}:
        if not (directory / file).exists() or file_sha256(directory / file) != recorded.get(file):
            raise ZooError(f"{directory / file}: missing or changed since the zoo was built; restore it or build anew")
    return manifest


def read_index(directory: Path) -> list[dict[str, Any]]:
    """One row per policy of the zoo in this folder."""
    return read_rows(directory / "index.parquet")
