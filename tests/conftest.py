"""Fixtures that take long to build: simulation workers, the zoo that ships, a camera, and a SLURM on this machine."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread per process: several processes test at once

from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.camera import Camera
from nnbench.tasks.simulation.vulkan import RenderError, find_driver
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.task import Filter
from nnbench.tasks.zoo.build import build_zoo
from nnbench.tasks.zoo.ghn import GHNConfig
from nnbench.tasks.zoo.manifest import SHIPPED
from nnbench.tasks.zoo.presets import DaggerConfig, DistillationConfig, PoolConfig
from nnbench.tasks.zoo.zoo import Zoo

SLURM = Path(__file__).parent / "slurm" / "slurm_local.sh"

TINY = DistillationConfig(
    dagger=DaggerConfig(iterations=1, episodes=10, updates=2, batch=8),
    pool=PoolConfig(episodes=9, updates=4, batch=8, architectures=4),
    ghn=GHNConfig(channels=16),
    bank=512,
)
LENIENT = Filter(min_return=0.0, min_success=0.0, episodes=1)
"""With these two a zoo is built in seconds."""


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator(load_task("PickCube-v1"), workers=2) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def zoo() -> Zoo:
    return Zoo.open("PickCube-v1")


@pytest.fixture(scope="session")
def tiny_numbers() -> tuple[DistillationConfig, Filter]:
    return TINY, LENIENT


@pytest.fixture(scope="session")
def tiny_zoo(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of two hypernetworks that learned next to nothing; what it was built with is in `work` beside it."""
    folder = tmp_path_factory.mktemp("tiny")
    expert = SHIPPED / simulator.task.name / "expert.safetensors"
    build_zoo(simulator, expert, folder / "work", folder / "zoo", [0, 1], TINY, LENIENT)
    return folder / "zoo"


@pytest.fixture(scope="session")
def camera() -> Iterator[Camera]:
    """Its tests are skipped, with the reason, where no Vulkan device takes pictures."""
    try:
        driver = find_driver()
    except RenderError as error:
        pytest.skip(str(error))  # a Vulkan device is no part of the README's installation
    with Camera(load_task("PickCube-v1"), driver, 200) as camera:
        yield camera


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """A SLURM on this machine, of Debian's packages slurm-wlm and munge, until the session ends.

    Its tests take a quarter of an hour: without NNBENCH_SLURM=1 they are skipped, with it they fail where none starts.
    """
    if os.environ.get("NNBENCH_SLURM") != "1":
        pytest.skip("tests on a SLURM take a quarter of an hour: NNBENCH_SLURM=1 runs them")  # as .ci/run does
    directory = tempfile.mkdtemp(prefix="slm-", dir="/tmp")  # short: paths of unix sockets are limited
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SRUN_"))]:
        del os.environ[name]  # never the cluster that these tests may be running on
    environment = dict(os.environ, LSLURM_CPUS="4", LSLURM_MEM="8000", LSLURM_ARRAY="3", LSLURM_WATCH=str(os.getpid()))
    started = subprocess.run([SLURM, "start", directory], env=environment, capture_output=True, text=True)
    try:
        if started.returncode != 0:
            pytest.fail(f"no SLURM could be started: {started.stderr.strip()}")
        os.environ["SLURM_CONF"] = f"{directory}/slurm.conf"
        yield
    finally:
        os.environ.pop("SLURM_CONF", None)
        subprocess.run([SLURM, "stop", directory], check=False)
        shutil.rmtree(directory, ignore_errors=True)
