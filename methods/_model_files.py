"""The files of a trained model: `model.safetensors`, in float16, and `config.json`, what it was trained on and how."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import torch
from torch import nn

from nnbench.errors import NnbenchError
from nnbench.methods._machine import pick_device
from nnbench.methods._optimisation import Optimised, Run
from nnbench.tasks.files import write_json
from nnbench.tasks.integrity import parse_sealed, read_stored, seal
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.tensors import parse_tensors, save_tensors

Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


class ModelFileError(NnbenchError, ValueError):
    """A trained model of another zoo."""


@dataclass(frozen=True)
class Manifest(Generic[Config]):
    """What a model was trained on and how; `Config` is the method's own dataclass."""

    config: Config
    task: str
    observation_dim: int
    action_dim: int
    zoo_sha256: str
    scale: float
    """That of the zoo (`TrainingSet.scale`), which the method may use."""
    seed: int
    final_loss: float
    seconds: float
    """Of training."""
    torch: str
    """Its version."""

    def after(self, *stages: Optimised[Any]) -> Self:
        """The same of the trained model: the loss of the last stage, the seconds of all."""
        return replace(self, final_loss=stages[-1].loss, seconds=sum(stage.seconds for stage in stages))


def describe(run: Run[Config]) -> Manifest[Config]:
    """The manifest of a model that is yet to be trained."""
    training = run.training
    return Manifest(
        config=run.config,
        task=training.task.name,
        observation_dim=training.task.observation_dim,
        action_dim=training.task.action_dim,
        zoo_sha256=training.sha256,
        scale=training.scale,
        seed=run.seed,
        final_loss=math.nan,
        seconds=math.nan,
        torch=torch.__version__,
    )


@torch.no_grad()
def round_as_saved(model: nn.Module) -> None:
    """Round to what `save_model` keeps, so that saving changes no policy.

    Float16, not bfloat16: policies bear errors of no more than a few percent of their weights, and float16 rounds
    eight times as finely."""
    for value in model.state_dict().values():
        value.copy_(value.half())


def save_model(directory: Path, model: nn.Module, manifest: Manifest[Any]) -> None:
    """Write both files into an existing directory. Raises WriteError."""
    tensors = {key: value.to("cpu", torch.float16) for key, value in model.state_dict().items()}
    save_tensors(directory / "model.safetensors", tensors)
    write_json(directory / "config.json", seal(asdict(manifest)))


def load_model(
    name: str,
    directory: Path,
    training: TrainingSet,
    read_config: Callable[[dict[str, Any]], Config],
    build: Callable[[Manifest[Config]], Model],
) -> tuple[Model, Manifest[Config]]:
    """What `save_model` wrote, for the method of this name.

    Raises DamagedError where a file is not what was written, ModelFileError where it does not fit the zoo. That both
    belong together the manifest of the checkpoint says, which was checked before.
    """
    path, remedy = directory / "config.json", f"train again: nnbench train --method {name}"

    def parse_config(content: bytes) -> Manifest[Config]:
        raw = parse_sealed(content)
        return Manifest(**{**raw, "config": read_config(raw["config"])})

    manifest = read_stored(path, parse_config, f"expected the manifest of a model of {name}; {remedy}")
    task = training.task
    expected = {"task": task.name, "observation_dim": task.observation_dim, "action_dim": task.action_dim}
    for key, value in {**expected, "zoo_sha256": training.sha256}.items():
        if (found := getattr(manifest, key)) != value:
            raise ModelFileError(f"{path}: trained for {key} {found!r}, expected {value!r}; {remedy}")

    def parse_model(content: bytes) -> Model:
        with torch.device("meta"):  # initial values would be drawn from the global generator and thrown away
            model = build(manifest)
        model.load_state_dict({key: value.float() for key, value in parse_tensors(content)[0].items()}, assign=True)
        return model

    model = read_stored(
        directory / "model.safetensors", parse_model, f"expected the weights that config.json describes; {remedy}"
    )
    return model.to(pick_device()), manifest
