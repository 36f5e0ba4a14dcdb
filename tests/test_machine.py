"""What is compiled, and where."""

import pytest
import torch

from nnbench.methods._machine import compiled


def test_without_a_compiler_or_for_few_steps_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Linear(1, 1)
    assert compiled(model, steps=10) is model
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiled(model, steps=100_000) is model
