"""What this machine can do, found by trying, and what to install for what is missing."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Check = Callable[[], tuple[bool, str]]
"""Tries one ability: whether it works, and what was found."""


_GB = 2**30
_OTHERS = int(1.2 * _GB)
"""What nnbench and the process of a method hold at most in a run; docs/simulator.md says how it was measured."""


@dataclass(frozen=True)
class Finding:
    """One ability of the machine, found or missing."""

    ability: str
    works: bool
    detail: str
    """What was found; for a missing ability also what is lost without it, and what to install."""


def _cpu_physics() -> tuple[bool, str]:
    import numpy as np

    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.engine import Engine
    from nnbench.tasks.simulation.processors import count_processors

    task = load_task("PickCube-v1")
    engine = Engine(task, 1)
    engine.reset(engine.capture_initial_states([0]))
    began = time.perf_counter()
    for _ in range(task.horizon):
        engine.step(np.zeros((1, task.action_dim), np.float32))
    rate = task.horizon / (time.perf_counter() - began)
    return (
        True,
        f"{task.name} steps; one scene makes {rate:,.0f} control steps/s on one processor. This process may use "
        f"{count_processors()} of {os.cpu_count()}, and as many workers start by default",
    )


def _memory() -> tuple[bool, str]:
    import numpy as np

    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.memory import memory_left
    from nnbench.tasks.simulation.processors import count_processors
    from nnbench.tasks.simulation.speed import wild_actor
    from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator

    task, workers, left = load_task("PickCube-v1"), count_processors(), memory_left()
    with Simulator(task, 1) as simulator:
        simulator.episodes([Rollout(wild_actor(task, 0), np.arange(SCENES_PER_WORKER))])
        each = simulator.peak_memory()
    return describe_memory(each, workers, left)


def describe_memory(each: int, workers: int, left: int) -> tuple[bool, str]:
    """Whether so many workers fit beside nnbench and a method, and a sentence on it; all in bytes."""
    found = (
        f"a worker took {each / _GB:.2f} GB, nnbench and a method take about {_OTHERS / _GB:.1f} GB besides: "
        f"{(_OTHERS + workers * each) / _GB:.1f} GB with {workers} workers. This process may take {left / _GB:.1f} GB"
    )
    if _OTHERS + workers * each <= left:
        return True, found
    fitting = (left - _OTHERS) // each
    remedy = f"run with --workers {fitting}" if fitting >= 1 else "ask for more memory"
    return False, f"{found}, so processes will be killed: {remedy}"


def _gpu() -> tuple[bool, str]:
    import torch

    if torch.cuda.is_available():
        return True, f"generators train on {torch.cuda.get_device_name()}; physics runs on the CPU all the same"
    build = f"a build for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
    return False, (
        f"torch {torch.__version__} ({build}) finds no GPU. Nothing needs one; to use one, install NVIDIA's driver "
        "and a torch built for CUDA"
    )


def _rendering() -> tuple[bool, str]:
    from nnbench.tasks.simulation.vulkan import RenderError, find_driver

    try:
        driver = find_driver()
    except RenderError as error:
        return False, f"{error}. Only `nnbench render` needs one"
    where = f", {driver.files}" if driver.files else ""
    return True, f"`nnbench render` takes pictures through {driver.device}{where}"


def _bfloat16() -> tuple[bool, str]:
    import torch

    from nnbench.methods._machine import computes_bfloat16, pick_device

    if computes_bfloat16(pick_device()):
        where = torch.cuda.get_device_name() if torch.cuda.is_available() else "this CPU"
        return True, f"{where} computes in bfloat16, and generators train in it"
    return False, (
        "neither a GPU nor a CPU that computes in bfloat16 (AMX or AVX512-BF16: Intel Sapphire Rapids, AMD Zen 4 or "
        "later): generators train in float32, up to several times slower. Nothing to install"
    )


def _fused_kernels() -> tuple[bool, str]:
    from nnbench.methods._machine import can_compile

    if can_compile():
        return True, "d2nwg trains in kernels that are compiled for this machine"
    return False, (
        "no C++ compiler (`g++`, or what CXX names) or no headers of Python: d2nwg trains a third slower. "
        "Install g++ and python3-dev"
    )


def _slurm() -> tuple[bool, str]:
    if shutil.which("sbatch") is None:
        return False, "no `sbatch` on the PATH. Nothing needs it; on a cluster, run nnbench on a login node"
    done = subprocess.run(["sinfo", "--noheader", "--format=%P"], capture_output=True, text=True, timeout=20)
    if done.returncode == 0:
        return True, "partitions: " + (", ".join(done.stdout.split()) or "none")
    return False, f"`sbatch` is here but no controller answers: {_last_line(done.stderr)}; ask your administrators"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it ended without a message"


CHECKS: dict[str, Check] = {
    "physics on CPU": _cpu_physics,
    "memory": _memory,
    "GPU": _gpu,
    "rendering": _rendering,
    "bfloat16": _bfloat16,
    "fused kernels": _fused_kernels,
    "SLURM": _slurm,
}
"""By ability."""


def examine(checks: Mapping[str, Check] = CHECKS) -> list[Finding]:
    """Try everything that nnbench can use; takes some seconds. A failed trial is a finding, never an exception."""
    findings = []
    for ability, check in checks.items():
        try:
            works, detail = check()
        except Exception as error:  # a broken installation may raise anything
            works, detail = False, f"{type(error).__name__}: {error}"
        findings.append(Finding(ability, works, detail))
    return findings
