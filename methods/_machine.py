"""What this machine computes with."""

import os
import shutil
import sysconfig
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

_COMPILE_FROM = 2_000
"""Steps; compiling takes one to three minutes."""

Model = TypeVar("Model", bound=nn.Module)


def pick_device() -> torch.device:
    """The GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast here. A CPU without instructions for it emulates it, many times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def can_compile() -> bool:
    """Whether there is a C++ compiler, the one that `CXX` names or g++, and Python's headers."""
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which(os.environ.get("CXX", "g++")) is not None and headers.exists()


def compiled(model: Model, steps: int) -> Model:
    """The same model in fused kernels, where there is a compiler and the training has steps enough to pay for it.

    Parameters are shared. Losses differ from the plain model's by rounding.
    """
    if steps < _COMPILE_FROM or not can_compile():
        return model
    # With more threads it leaves a pool of them running, and a method is to leave none.
    return torch.compile(model, options={"compile_threads": 1})  # type: ignore[return-value]
