"""What is compiled, and where."""

import os
import subprocess
import sys

import pytest
import torch

from nnbench.methods._machine import can_compile, compiled


def test_without_a_compiler_or_for_few_steps_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Linear(1, 1)
    assert compiled(model, steps=10) is model
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiled(model, steps=100_000) is model


_COMPILE = """
import threading, torch
from nnbench.methods._machine import compiled
model = compiled(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU(), torch.nn.LayerNorm(8)), steps=100_000)
model(torch.randn(3, 8)).sum().backward()
print([thread.name for thread in threading.enumerate() if not thread.daemon])
"""


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="no C++ compiler or no headers of Python, which nothing needs")
def test_compiling_leaves_no_threads() -> None:  # which the harness would refuse, after the whole training
    environment = os.environ | {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    done = subprocess.run([sys.executable, "-c", _COMPILE], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["['MainThread']"]
