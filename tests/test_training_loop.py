"""What all generators train with: when it looks, at what, and what it writes down."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nnbench.methods import _training
from nnbench.methods.d2nwg.config import Stage

TWENTY = Stage(batch=1, steps=20, peak_lr=0.1, warmup=2, ema=0.5)


def _train(directory: Path, look: Callable[[nn.Linear], dict[str, float]], stop: int | None = None) -> nn.Linear:
    directory.mkdir(exist_ok=True)
    model, step = nn.Linear(1, 1, bias=False), 0
    nn.init.zeros_(model.weight)

    def loss_of(rng: torch.Generator) -> Tensor:
        nonlocal step
        step += 1
        if step == stop:
            raise KeyboardInterrupt
        return (model.weight - torch.rand((), generator=rng)).square().sum()

    trained, _, _ = _training.optimise("line", model, loss_of, TWENTY, {}, 0, directory, look)
    assert trained is not model and not torch.equal(trained.weight, model.weight)
    return trained


def _rows(directory: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((directory / "line.csv").open()))
    return [{key: value for key, value in row.items() if key != "ms_per_step"} for row in rows]


def test_the_average_is_looked_at_after_each_tenth_also_of_a_run_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_training, "CHECKPOINT_EVERY", 5)
    looks: list[float] = []

    def look(model: nn.Linear) -> dict[str, float]:
        looks.append(model.weight.item())
        return {"return": looks[-1]}

    trained = _train(tmp_path / "straight", look)
    straight = looks.copy()
    assert len(straight) == 10 and len(set(straight)) == 10 and straight[-1] == trained.weight.item()
    rows = _rows(tmp_path / "straight")
    assert [int(row["step"]) for row in rows] == [2, 4, 5, 6, 8, 10, 12, 14, 15, 16, 18, 20]
    assert [float(row["return"]) for row in rows if row["return"]] == straight
    assert [row["step"] for row in rows if not row["return"]] == ["5", "15"]

    looks.clear()
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "killed", look, stop=14)  # after the look at 12
    _train(tmp_path / "killed", look)
    assert looks == straight and _rows(tmp_path / "killed") == rows
