"""Training that a killed run goes on from, to the bit: AdamW, and an average of the weights.

A method says what its loss is; what is common to all of them is here.
"""

import copy
import csv
import json
import math
import os
import shutil
import sysconfig
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nnbench.tasks.files import write_atomically
from nnbench.tasks.training_state import load_training_state, save_training_state

CHECKPOINT_EVERY = 250
_COMPILE_FROM = 2_000
"""Compiling takes one to three minutes."""
_FIRST_PACE = 20
"""Steps after which it is first said how long training will take."""

Built = TypeVar("Built")
Model = TypeVar("Model", bound=nn.Module)


class Schedule(Protocol):
    """What a method's configuration says of its training."""

    @property
    def steps(self) -> int: ...

    @property
    def peak_lr(self) -> float: ...

    @property
    def min_lr(self) -> float: ...

    @property
    def warmup(self) -> int:
        """Steps in which the learning rate rises linearly."""
        ...

    @property
    def ema(self) -> float:
        """Share of the averaged weights that a step keeps."""
        ...


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast here; a CPU without instructions for it emulates it many times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def compiled(model: Model, schedule: Schedule) -> Model:
    """The same model in fused kernels, where there is what compiles them and the training is long enough to pay it.

    Parameters are shared. Losses differ from the plain model's by rounding.
    """
    if schedule.steps < _COMPILE_FROM or not can_compile():
        return model
    return torch.compile(model)  # type: ignore[return-value]


def can_compile() -> bool:
    """Whether there is a C++ compiler, the one that `CXX` names or g++, and Python's headers."""
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which(os.environ.get("CXX", "g++")) is not None and headers.exists()


def seeded(build: Callable[[], Built], seed: int) -> Built:
    """What `build` makes with random numbers of this seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):  # layers' initialisers and torch's algorithms know only the global one
        torch.default_generator.manual_seed(seed)
        return build()


def learning_rate(step: int, schedule: Schedule) -> float:
    """Cosine from `peak_lr` to `min_lr` with a linear warm-up; `step` counts from 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
    return min(1.0, step / schedule.warmup) * (schedule.min_lr + (schedule.peak_lr - schedule.min_lr) * cosine)


def optimise(
    name: str,
    model: Model,
    loss_of: Callable[[torch.Generator], Tensor],
    schedule: Schedule,
    run: Mapping[str, Any],
    seed: int,
    directory: Path,
    look: Callable[[Model], dict[str, float]] | None = None,
) -> tuple[Model, float, float]:
    """The averaged model, the last loss and the seconds it took; `<name>.csv` has a line each checkpoint.

    `loss_of` draws a batch with the generator it is given, which is on the CPU, and returns the loss of `model` on it.
    `look` is asked at a tenth, two tenths, ... of the steps what the averaged model is worth. Goes on from
    `<name>.safetensors` in the directory as if it had never stopped. Raises ValueError if that state belongs to another
    `run` and FloatingPointError if the loss diverges.
    """
    path, log = directory / f"{name}.safetensors", directory / f"{name}.csv"
    run = json.loads(json.dumps(dict(run)))  # as it reads back: tuples are lists
    ema = copy.deepcopy(model).requires_grad_(False)
    parts = {"model": model, "ema": ema}
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0, fused=True)
    rng = torch.Generator().manual_seed(seed)  # on the CPU: equal draws on every device
    progress: dict[str, Any] = {"run": run, "step": 0, "loss": 0.0, "seconds": 0.0, "log": []}
    if path.exists():
        progress = load_training_state(path, parts, optimizer, rng)
        if progress["run"] != run:
            raise ValueError(f"{path}: expected the state of {run}, found {progress['run']}; delete it to start anew")
    first, mean_loss, began = progress["step"], progress["loss"], time.perf_counter()
    looks = {schedule.steps * tenth // 10 for tenth in range(1, 11)}
    with tqdm(total=schedule.steps, initial=first, desc=name, unit="step", disable=None) as bar:
        for step in range(first + 1, schedule.steps + 1):
            loss = loss_of(rng)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, schedule)
            optimizer.step()
            _update_ema(ema, model, schedule.ema, step)

            if not math.isfinite(loss.item()):
                raise FloatingPointError(f"{name}: the loss is {loss.item()} at step {step}; lower peak_lr")
            mean_loss += (loss.item() - mean_loss) / min(step, 100)
            bar.set_postfix(loss=f"{mean_loss:.4f}", refresh=False)
            bar.update()
            if step == _FIRST_PACE < schedule.steps:
                tqdm.write(f"{name} {_time_left(1000 * (time.perf_counter() - began) / step, step, schedule.steps)}")
            if step % CHECKPOINT_EVERY == 0 or step == schedule.steps or step in looks:
                elapsed = time.perf_counter() - began
                pace, first, began = 1000 * elapsed / (step - first), step, began + elapsed
                row = {"step": step, "loss": mean_loss, "lr": learning_rate(step, schedule), "ms_per_step": pace}
                if look is not None and step in looks:
                    row |= look(ema)
                    began = time.perf_counter()
                said = [*(f"{key} {value:.4g}" for key, value in row.items()), _time_left(pace, step, schedule.steps)]
                tqdm.write(f"{name} " + "  ".join(said))
                progress |= {"step": step, "loss": mean_loss, "seconds": progress["seconds"] + elapsed}
                progress["log"].append(row)
                save_training_state(path, parts, optimizer, rng, progress)
                _write_log(log, progress["log"])
    return ema, progress["loss"], progress["seconds"]


def _time_left(ms_per_step: float, step: int, steps: int) -> str:
    return f"{(steps - step) * ms_per_step / 60_000:.0f} of {steps * ms_per_step / 60_000:.0f} minutes left"


@torch.no_grad()
def _update_ema(ema: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    decay = min(decay, (1 + step) / (10 + step))  # early on the average would still be mostly initialisation
    for average, current in zip(ema.parameters(), model.parameters(), strict=True):
        average.lerp_(current, 1 - decay)


def _write_log(path: Path, rows: list[dict[str, float]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)
