from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nnbench.tasks.integrity import DamagedError
from nnbench.tasks.training_state import load_training_state, save_training_state


class _Run:
    def __init__(self, width: int = 5) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Linear(3, width)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 0.1)
        self.generator = torch.Generator().manual_seed(0)

    def steps(self, count: int) -> None:
        for _ in range(count):
            loss = (self.model(torch.randn(4, 3, generator=self.generator)) - 1).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def test_a_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    whole, first, second = _Run(), _Run(), _Run()
    whole.steps(6)
    first.steps(3)
    save_training_state(path, {"model": first.model}, first.optimizer, first.generator, {"iteration": 3})
    assert load_training_state(path, {"model": second.model}, second.optimizer, second.generator) == {"iteration": 3}
    second.steps(3)
    assert torch.equal(second.model.weight, whole.model.weight)


def test_a_state_of_something_else_is_named(tmp_path: Path) -> None:
    path, run, other = tmp_path / "state.safetensors", _Run(), _Run(width=6)
    run.steps(1)
    save_training_state(path, {"model": run.model}, run.optimizer, run.generator, {})
    with pytest.raises(ValueError, match="state.safetensors: not the training state of this configuration"):
        load_training_state(path, {"model": other.model}, other.optimizer, other.generator)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DamagedError, match="state.safetensors: not what was written .*; delete it to start anew"):
        load_training_state(path, {"model": run.model}, run.optimizer, run.generator)


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_a_flipped_bit_is_never_resumed_from(place: int, bit: int) -> None:
    with TemporaryDirectory() as folder:
        path, run, other = Path(folder) / "state.safetensors", _Run(), _Run()
        run.steps(1)
        save_training_state(path, {"model": run.model}, run.optimizer, run.generator, {"iteration": 1})
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= 1 << bit
        path.write_bytes(content)
        try:
            progress = load_training_state(path, {"model": other.model}, other.optimizer, other.generator)
        except DamagedError:
            return
        # What is left are bits that say nothing, such as a space of the header.
        assert progress == {"iteration": 1} and torch.equal(other.model.weight, run.model.weight)
