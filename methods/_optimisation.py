"""The training loop of all learned methods: AdamW, an average of the weights, and a state that a killed run resumes
from, to the bit.

A method says what its loss is; what is common to all of them is here.
"""

import copy
import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nnbench.errors import NnbenchError
from nnbench.tasks.files import write_atomically
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.training_state import TrainingStateError, load_training_state, save_training_state

CHECKPOINT_EVERY = 250
_FIRST_PACE = 20
"""Steps after which the first estimate of the time left is printed."""

Built = TypeVar("Built")
Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


class TrainingError(NnbenchError, FloatingPointError):
    """The loss diverged, or its gradient."""


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


@dataclass(frozen=True)
class Run(Generic[Config]):
    """One training of a method."""

    name: str
    """That of its files: `<name>.safetensors` is its state, `<name>.csv` its log."""
    training: TrainingSet
    config: Config
    """The method's own dataclass."""
    seed: int
    directory: Path

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to resume, as JSON reads it back."""
        raw = {"config": asdict(self.config), "seed": self.seed, "zoo_sha256": self.training.sha256}  # type: ignore[call-overload]
        read: dict[str, Any] = json.loads(json.dumps(raw))
        return read


@dataclass(frozen=True)
class Optimised(Generic[Model]):
    """What a training ends with."""

    model: Model
    """With averaged weights."""
    loss: float
    """Mean over about the last 100 steps."""
    seconds: float
    """Of the steps, with those of killed runs; without validation and without what comes before the first step."""


def seeded(build: Callable[[], Built], seed: int) -> Built:
    """What `build` makes with random numbers of this seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):  # layers' initialisers and torch's algorithms know only the global one
        torch.default_generator.manual_seed(seed)
        return build()


def learning_rate(step: int, schedule: Schedule) -> float:
    """Cosine from `peak_lr` to `min_lr` with a linear warm-up; `step` counts from 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
    return min(1.0, step / max(1, schedule.warmup)) * (schedule.min_lr + (schedule.peak_lr - schedule.min_lr) * cosine)


def optimise(
    run: Run[Any],
    model: Model,
    loss_of: Callable[[torch.Generator], Tensor],
    schedule: Schedule,
    validate: Callable[[Model], dict[str, float]] | None = None,
) -> Optimised[Model]:
    """Minimise a loss, resuming from the state in the run's directory as if it had never stopped.

    `loss_of` draws a batch with the generator it is given, which is on the CPU, and returns the loss of `model` on it.
    `validate` scores the averaged model at a tenth, two tenths, ... of the steps. Raises TrainingStateError if the
    state belongs to another run, TrainingError if the loss diverges, and WriteError where the disk is full.
    """
    state = _State(run, model)
    clock = _Clock(state.step)
    tenths = {schedule.steps * tenth // 10 for tenth in range(1, 11)}
    with tqdm(total=schedule.steps, initial=state.step, desc=run.name, unit="step", disable=None) as bar:
        while state.step < schedule.steps:
            state.take_step(loss_of, schedule)
            bar.set_postfix(loss=f"{state.loss:.4f}", refresh=False)
            bar.update()
            if state.step == _FIRST_PACE < schedule.steps:
                tqdm.write(f"{run.name} {_time_left(clock.pace(state.step), state.step, schedule.steps)}")
            if state.step % CHECKPOINT_EVERY == 0 or state.step == schedule.steps or state.step in tenths:
                pace = clock.pace(state.step)
                state.seconds += clock.lap(state.step)
                row = {"step": state.step, "loss": state.loss}
                row |= {"lr": learning_rate(state.step, schedule), "ms_per_step": pace}
                if validate is not None and state.step in tenths:
                    row |= validate(state.ema)
                    clock.skip()
                values = "  ".join(f"{key} {value:.4g}" for key, value in row.items())
                tqdm.write(f"{run.name} {values}  {_time_left(pace, state.step, schedule.steps)}")
                state.log.append(row)
                state.keep()
    return Optimised(state.ema, state.loss, state.seconds)


class _State(Generic[Model]):
    """All that a killed run resumes from; read from its file where there is one."""

    def __init__(self, run: Run[Any], model: Model) -> None:
        self.model, self.ema = model, copy.deepcopy(model).requires_grad_(False)
        self.step, self.loss, self.seconds = 0, 0.0, 0.0
        self.log: list[dict[str, float]] = []
        self._name, self._identity = run.name, run.identity
        self._path = run.directory / f"{run.name}.safetensors"
        self._parts = {"model": self.model, "ema": self.ema}
        self._optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0, fused=True)
        self._rng = torch.Generator().manual_seed(run.seed)  # on the CPU: equal draws on every device
        if self._path.exists():
            self._resume()

    def _resume(self) -> None:
        progress = load_training_state(self._path, self._parts, self._optimizer, self._rng)
        if (found := progress["run"]) != self._identity:
            raise TrainingStateError(
                f"{self._path}: expected the state of {self._identity}, found {found}; delete it to start anew"
            )
        self.step, self.loss, self.seconds = progress["step"], progress["loss"], progress["seconds"]
        self.log = progress["log"]

    def take_step(self, loss_of: Callable[[torch.Generator], Tensor], schedule: Schedule) -> None:
        """One step of AdamW. Raises TrainingError where the loss or its gradient is not finite."""
        self.step += 1
        loss = loss_of(self._rng)
        self._optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
            raise TrainingError(
                f"{self._name}: the loss is {loss.item()} and its gradient {norm.item()} long at step {self.step}; "
                "lower peak_lr"
            )
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, schedule)
        self._optimizer.step()
        self._update_ema(schedule.ema)
        self.loss += (loss.item() - self.loss) / min(self.step, 100)

    @torch.no_grad()
    def _update_ema(self, decay: float) -> None:
        decay = min(decay, (1 + self.step) / (10 + self.step))  # early on it would still be mostly initialisation
        for average, current in zip(self.ema.parameters(), self.model.parameters(), strict=True):
            average.lerp_(current, 1 - decay)

    def keep(self) -> None:
        """Write the state and the log. Raises WriteError."""
        progress = {"run": self._identity, "step": self.step, "loss": self.loss, "seconds": self.seconds}
        progress["log"] = self.log
        save_training_state(self._path, self._parts, self._optimizer, self._rng, progress)
        _write_log(self._path.with_suffix(".csv"), self.log)


class _Clock:
    """Time by steps, but for what is skipped."""

    def __init__(self, step: int) -> None:
        self._step, self._began = step, time.perf_counter()

    def pace(self, step: int) -> float:
        """Milliseconds per step since the last lap."""
        return 1000 * (time.perf_counter() - self._began) / (step - self._step)

    def lap(self, step: int) -> float:
        """Seconds since the last lap; another begins."""
        now = time.perf_counter()
        elapsed = now - self._began
        self._step, self._began = step, now
        return elapsed

    def skip(self) -> None:
        """The lap begins only now."""
        self._began = time.perf_counter()


def _time_left(ms_per_step: float, step: int, steps: int) -> str:
    return f"{(steps - step) * ms_per_step / 60_000:.0f} of {steps * ms_per_step / 60_000:.0f} minutes left"


def _write_log(path: Path, rows: list[dict[str, float]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)
