"""What this machine can do, tried rather than guessed, and what to install for what is missing."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One ability of the machine."""

    ability: str
    works: bool
    detail: str
    """What was found; where it does not work also what is lost and what to install."""


def examine() -> list[Finding]:
    """Try everything nnbench could use; takes some seconds. A failed trial is a finding, never an exception."""
    checks: dict[str, Callable[[], tuple[bool, str]]] = {
        "physics on CPU": _cpu_physics,
        "physics on CUDA": _cuda_physics,
        "rendering": _rendering,
        "bfloat16": _bfloat16,
        "fused kernels": _fused_kernels,
        "SLURM": _slurm,
    }
    findings = []
    for ability, check in checks.items():
        try:
            works, detail = check()
        except Exception as error:  # whatever a broken installation raises belongs into the report
            works, detail = False, f"{type(error).__name__}: {error}"
        findings.append(Finding(ability, works, detail))
    return findings


def _cpu_physics() -> tuple[bool, str]:
    import numpy as np

    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.engine import Engine

    task = load_task("PickCube-v1")
    engine = Engine(task, 1)
    engine.reset(engine.capture_initial_states([0]))
    began = time.perf_counter()
    for _ in range(task.horizon):
        engine.step(np.zeros((1, task.action_dim), np.float32))
    rate = task.horizon / (time.perf_counter() - began)
    return (
        True,
        f"{task.name} steps; {os.cpu_count()} cores, one scene makes {rate:,.0f} control steps/s on one of them",
    )


def _cuda_physics() -> tuple[bool, str]:
    import torch

    if not torch.cuda.is_available():
        build = f"a build for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
        return False, (
            f"torch {torch.__version__} ({build}) finds no GPU. Nothing needs one; to use one, install NVIDIA's driver "
            "and a torch built for CUDA"
        )
    trial = (
        "from nnbench.tasks.simulation.headless import import_mani_skill; import_mani_skill(); import gymnasium\n"
        "env = gymnasium.make('PickCube-v1', num_envs=2, obs_mode='state', sim_backend='physx_cuda',"
        " render_backend='none')\n"
        "env.reset(seed=0); env.step(env.action_space.sample())"
    )
    done = _python(trial)
    name = torch.cuda.get_device_name()
    if done.returncode == 0:
        return True, f"{name}: ManiSkill steps two environments"
    return False, f"{name}: ManiSkill cannot step on it: {_last_line(done.stderr)}"


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


def _python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it ended without a word"
