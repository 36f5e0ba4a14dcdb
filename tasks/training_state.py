"""Training state that a killed run resumes from: one safetensors file, no pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from nnbench.errors import NnbenchError
from nnbench.tasks.files import write_atomically


class TrainingStateError(NnbenchError, ValueError):
    """A file that is no training state, or that of another configuration."""


def save_training_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    progress: Mapping[str, Any],
) -> None:
    """One safetensors file with parameters, optimizer moments, random state and `progress` (plain JSON values)."""
    tensors: dict[str, Tensor] = {"generator": generator.get_state()}
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": torch.as_tensor(value) for key, value in moments.items()}
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    text = json.dumps(dict(progress))
    metadata = {"progress": text, "sha256": _digest(tensors, text)}
    write_atomically(path, lambda temporary: temporary.write_bytes(save(tensors, metadata)))


def load_training_state(
    path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> dict[str, Any]:
    """Restore what `save_training_state` wrote, in place; returns `progress`.

    Raises TrainingStateError where the file is no such state or was written with another configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            metadata = file.metadata()
        if metadata["sha256"] != _digest(tensors, metadata["progress"]):
            raise ValueError("its content is not what was written")
        progress: dict[str, Any] = json.loads(metadata["progress"])
        for name, module in modules.items():
            prefix = f"{name}/"
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, index, moment = key.split("/")
                state.setdefault(int(index), {})[moment] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        generator.set_state(tensors["generator"])
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise TrainingStateError(
            f"{path}: not the training state of this configuration ({error}); delete it to start anew, or run with the "
            "configuration it was written with"
        ) from error
    return progress


def _digest(tensors: Mapping[str, Tensor], progress: str) -> str:
    digest = hashlib.sha256(progress.encode())
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
