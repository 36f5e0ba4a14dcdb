"""Training state that a killed run resumes from: one safetensors file, no pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnbench.errors import NnbenchError
from nnbench.tasks.integrity import read_stored
from nnbench.tasks.tensors import parse_tensors, save_tensors


class TrainingStateError(NnbenchError, ValueError):
    """A training state of another configuration."""


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
    save_tensors(path, tensors, {"progress": json.dumps(dict(progress))})


def load_training_state(
    path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> dict[str, Any]:
    """Restore what `save_training_state` wrote, in place; returns `progress`.

    Raises DamagedError where the file is not what was written, or TrainingStateError where another configuration wrote
    it.
    """
    tensors, metadata = read_stored(path, parse_tensors, "delete it to start anew")
    try:
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
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TrainingStateError(
            f"{path}: not the training state of this configuration ({reason}); delete it to start anew, or run with "
            "the configuration it was written with"
        ) from error
    return progress
