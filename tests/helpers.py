"""What tests of several modules share: the command, comparing policies, small zoos, and a training that is killed."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nnbench.methods import _optimisation
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import Weights, flatten_weights, random_policy
from nnbench.tasks.policies.training_set import TrainingSet

OBSERVATION_DIM, ACTION_DIM = 42, 8
NARROW, WIDE = TRAINED = ((16, 16, 16, 32), (16, 32, 16, 16))
NEVER_VALID = (16, 16, 32, 16)


def command(*arguments: str) -> list[str]:
    """`nnbench` with these arguments, as `subprocess` takes it; no installed script is needed."""
    code = "import sys; from nnbench.commands.main import main; sys.argv[0] = 'nnbench'; main()"
    return [sys.executable, "-c", code, *arguments]


def run_command(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """`nnbench` in a process of its own, with what it printed."""
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True)


def same(first: Weights, second: Weights) -> bool:
    """Whether two state dicts are equal, bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def distance(first: Weights, second: Weights) -> float:
    """L2, over all weights."""
    return float((flatten_weights(first) - flatten_weights(second)).norm())


def two_networks(arch: Architecture) -> dict[int, Weights]:
    """By seed, as unlike as random ones are."""
    return {
        seed: random_policy(arch, OBSERVATION_DIM, ACTION_DIM, torch.Generator().manual_seed(seed)) for seed in (0, 1)
    }


class _ToyTask:
    name = "pick_cube"

    def __init__(self, observation_dim: int) -> None:
        self.observation_dim, self.action_dim = observation_dim, ACTION_DIM


def toy_zoo(
    policy: Callable[[Architecture, int, int], Weights],
    observation_dim: int = OBSERVATION_DIM,
    sha256: str = "a" * 64,
) -> TrainingSet:
    """Two policies, `policy(arch, seed, observation_dim)`, for each architecture of TRAINED; none for NEVER_VALID."""
    task: Any = _ToyTask(observation_dim)

    def networks(arch: Architecture) -> dict[int, Weights]:
        return {} if arch == NEVER_VALID else {seed: policy(arch, seed, observation_dim) for seed in (0, 1)}

    return TrainingSet(task, sha256, (NEVER_VALID, *TRAINED), networks, None, rehearsal=True)


def check_that_load_names_misfits(
    fitted: Any, directory: Path, zoo: TrainingSet, other: TrainingSet, misfit: str
) -> None:
    """Loading says what is missing, of another task (`other`, `misfit`) or zoo, or damaged, and what helps."""
    kind = type(fitted)
    with pytest.raises(ValueError, match=rf"config\.json.*a model of {kind.name}.*train"):
        kind.load(directory, zoo)
    fitted.save(directory)
    with pytest.raises(ValueError, match=rf"config\.json: {misfit}; train again"):
        kind.load(directory, other)
    with pytest.raises(ValueError, match=rf"zoo_sha256 '{zoo.sha256[:3]}.*expected 'bbb.*train again"):
        kind.load(directory, replace(zoo, sha256="b" * 64))
    (directory / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(ValueError, match=rf"model\.safetensors.*train again: nnbench train --method {kind.name}"):
        kind.load(directory, zoo)


def check_that_a_training_validates_what_it_writes(
    module: Any, method: Any, zoo: TrainingSet, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times in each stage what the model writes is scored, which no training on a toy zoo does by itself."""
    scored: list[Weights] = []

    def validate(training: TrainingSet, generate: Callable[[Architecture, int], list[Weights]]) -> dict[str, float]:
        scored.extend(generate(training.architectures[0], 2))
        return {"return": 1.0, "success_at_end": 0.5}

    monkeypatch.setattr(module, "can_validate", lambda training: True)
    monkeypatch.setattr(module, "validate", validate)
    method.fit(zoo, seed=0, directory=directory)
    logs = [path.read_text().splitlines() for path in directory.glob("*.csv")]
    assert logs and all(sum(line.endswith(",1.0,0.5") for line in lines) == 10 for lines in logs)
    assert len(scored) == 20 * len(logs) and all(flatten_weights(one).isfinite().all() for one in scored)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int, schedule: Any = None) -> None:
    """Kill training at a step; where a schedule is given, only the training that follows it."""
    learning_rate = _optimisation.learning_rate

    def interrupting(now: int, of: _optimisation.Schedule) -> float:
        if now == step and (schedule is None or of is schedule):
            raise KeyboardInterrupt
        return learning_rate(now, of)

    monkeypatch.setattr(_optimisation, "learning_rate", interrupting)


def check_that_a_killed_run_ends_the_same(
    fit: Callable[[Path], Any], state: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that is killed in its twelfth step and run again ends in the same state, bit for bit."""
    monkeypatch.setattr(_optimisation, "CHECKPOINT_EVERY", 5)
    straight, broken = directory / "straight", directory / "broken"
    fit(straight)
    with monkeypatch.context() as patched:
        interrupt_at(patched, 12)
        with pytest.raises(KeyboardInterrupt):
            fit(broken)
    fit(broken)
    assert same(load_file(straight / state), load_file(broken / state))
