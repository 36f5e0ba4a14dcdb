"""The training loop of all learned methods: when it validates, what it writes down, and what it resumes from."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nnbench.harness.conformance import toy_training_set
from nnbench.methods import _optimisation
from nnbench.methods._optimisation import Run, TrainingError, optimise
from nnbench.methods.d2nwg.config import Stage
from nnbench.tasks.files import WriteError
from nnbench.tasks.training_state import TrainingStateError

TWENTY = Stage(batch=1, steps=20, peak_lr=0.1, warmup=2, ema=0.5)


def _train(
    directory: Path,
    validate: Callable[[nn.Linear], dict[str, float]] | None = None,
    stop: int | None = None,
    seed: int = 0,
    config: Stage = TWENTY,
) -> nn.Linear:
    directory.mkdir(exist_ok=True)
    model, step = nn.Linear(1, 1, bias=False), 0
    nn.init.zeros_(model.weight)

    def loss_of(rng: torch.Generator) -> Tensor:
        nonlocal step
        step += 1
        if step == stop:
            raise KeyboardInterrupt
        return (model.weight - torch.rand((), generator=rng)).square().sum()

    run = Run("line", toy_training_set(), config, seed, directory)
    trained = optimise(run, model, loss_of, config, validate).model
    assert trained is not model and not torch.equal(trained.weight, model.weight)
    return trained


def _rows(directory: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((directory / "line.csv").open()))
    return [{key: value for key, value in row.items() if key != "ms_per_step"} for row in rows]


def test_the_average_is_validated_after_each_tenth_also_of_a_run_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_optimisation, "CHECKPOINT_EVERY", 5)
    scored: list[float] = []

    def score(model: nn.Linear) -> dict[str, float]:
        scored.append(model.weight.item())
        return {"return": scored[-1]}

    trained = _train(tmp_path / "straight", score)
    straight = scored.copy()
    assert len(straight) == 10 and len(set(straight)) == 10 and straight[-1] == trained.weight.item()
    rows = _rows(tmp_path / "straight")
    assert [int(row["step"]) for row in rows] == [2, 4, 5, 6, 8, 10, 12, 14, 15, 16, 18, 20]
    assert [float(row["return"]) for row in rows if row["return"]] == straight
    assert [row["step"] for row in rows if not row["return"]] == ["5", "15"]

    scored.clear()
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "killed", score, stop=14)  # after the validation at 12
    _train(tmp_path / "killed", score)
    assert scored == straight and _rows(tmp_path / "killed") == rows


def test_another_run_does_not_resume_from_what_this_one_left(tmp_path: Path) -> None:
    _train(tmp_path)
    for other in ({"seed": 1}, {"config": replace(TWENTY, batch=2)}):
        with pytest.raises(
            TrainingStateError, match=r"line\.safetensors: expected the state of .*, found .*; delete it"
        ):
            _train(tmp_path, **other)


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="line: the loss is .* and its gradient .* long at step .*; lower peak_lr"):
        _train(tmp_path, config=replace(TWENTY, peak_lr=1e30, warmup=1))


def test_a_gradient_that_is_not_finite_stops_the_training_before_it_does_harm(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    before = model.weight.clone()
    with pytest.raises(TrainingError, match=r"line: the loss is 1.0 and its gradient nan long at step 1; lower"):
        optimise(
            Run("line", toy_training_set(), TWENTY, 0, tmp_path),
            model,
            lambda rng: 1 + (0 * model.weight).sqrt().sum(),
            TWENTY,
        )
    assert torch.equal(model.weight, before)


def test_a_full_disk_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match=r"line\.safetensors: could not be written \(No space left on device\)"):
        _train(tmp_path)
