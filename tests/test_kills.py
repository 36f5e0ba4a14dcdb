"""Killed at any moment and asked again, a command ends with what an unbroken one ends with, to the byte.

`NNBENCH_SUITE=full` kills many times as often, and a training on the zoo that ships too. `test_slurm_clusters.py` kills
the jobs of sweeps.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest
from helpers import command

import nnbench
from nnbench.protocol import Protocol
from nnbench.tasks.zoo.manifest import SHIPPED

pytestmark = pytest.mark.slow

FULL = os.environ.get("NNBENCH_SUITE") == "full"
SEED = 0
"""Of the moments."""
WORK_S = 12.0 if FULL else 3.0
"""A kill comes so long after the work began, or earlier."""
PROTOCOL = Protocol(samples=8, top=2, selection_episodes=8, screening_episodes=8, test_episodes=8)
SCALE = ("--n", "8", "--top-k", "2", "--episodes", "8", "--test-episodes", "8", "--workers", "1")
MINE = """
from dataclasses import replace
from nnbench.methods import nnit
from nnbench.methods.nnit.config import REHEARSAL

nnit.can_validate = lambda training: False  # rollouts on the way take longer than the training itself

class Method(nnit.Method):
    name = "mine"
    config = replace(REHEARSAL, steps=400)
"""
BUILD = """
import sys
from pathlib import Path
from conftest import LENIENT, TINY
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.build import build_zoo

if __name__ == "__main__":
    with Simulator(load_task("PickCube-v1"), 2) as simulator:
        build_zoo(simulator, Path(sys.argv[1]), Path("work"), Path("zoo"), [0, 1], TINY, LENIENT)
"""

TRAIN = """
import sys
from pathlib import Path
import torch
from nnbench.tasks.registry import load_task
from nnbench.tasks.tensors import save_tensors
from nnbench.tasks.zoo.direct import train_policies
from nnbench.tasks.zoo.presets import DirectConfig
from nnbench.tasks.zoo.states import LabelledStates

ARCHS = [(16, 16, 16, 32), (16, 32, 16, 64), (32, 16, 32, 32)]

if __name__ == "__main__":
    draws = torch.Generator().manual_seed(0)
    pool = Path("pool.safetensors")
    LabelledStates(torch.randn(300, 42, generator=draws), torch.randn(300, 8, generator=draws)).save(pool)
    config, workers = DirectConfig(updates=200, batch=32), int(sys.argv[1])
    work = Path("out/building")
    policies = train_policies(load_task("PickCube-v1"), pool, work, ARCHS, range(16), config, workers=workers)
    save_tensors(Path("out/result/policies.safetensors"), policies.tensors)
"""


def kill_often(arguments: list[str], folder: Path, blows: list[signal.Signals], work: str, output: str) -> None:
    """Run a command in a folder, ended by each blow in turn at a random moment, and at last to its end.

    `work` matches what is there once it is at work, `output` what it leaves; one that ends before its blow begins anew.
    """
    rng, waiting = random.Random(SEED), list(blows)
    while waiting:
        if _end_after(arguments, folder, waiting[0], work, rng.uniform(0, WORK_S)):
            del waiting[0]
        else:  # it was quicker
            _remove(folder, output)
    with (folder / "stderr").open("w") as stderr:
        assert _start(arguments, folder, stderr).wait(600) == 0, (folder / "stderr").read_text()


def _end_after(arguments: list[str], folder: Path, blow: signal.Signals, work: str, seconds: float) -> bool:
    """Whether the blow ended the command, so many seconds after it was at work; else that ended well before."""
    with (folder / "stderr").open("w") as stderr:
        process = _start(arguments, folder, stderr)
        _wait(lambda: process.poll() is not None or any(folder.glob(work)))
        time.sleep(seconds)
        if ended := process.poll() is None:
            os.killpg(process.pid, blow)
        code = process.wait(60)
    said = (folder / "stderr").read_text()
    if not ended:
        assert code == 0, said
    elif blow == signal.SIGKILL:
        assert code == -blow
    else:
        assert code == 128 + blow and "Traceback" not in said, said
        assert said.splitlines()[-1].startswith("nnbench: ") and said.count("nnbench: ") == 1, said
    _wait(lambda: not _living_in(folder))
    return ended


def _start(arguments: list[str], folder: Path, stderr: TextIO) -> "subprocess.Popen[bytes]":
    def interruptible() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts with & ignores it

    return subprocess.Popen(
        arguments,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=interruptible,
    )


def _wait(until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _living_in(folder: Path) -> list[str]:
    """The processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                Path(os.readlink(process / "cwd")) == folder
                and "Z" not in (process / "stat").read_text().split(")")[-1]
            ):
                found.append(process.name)
        except OSError:
            continue
    return found


def _remove(folder: Path, output: str) -> None:
    for path in folder.glob(output):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _contents(folder: Path, pattern: str) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(pattern) if path.is_file()}
    assert found and not list(folder.rglob("*.tmp"))
    return found


def _kills(few: int, many: int) -> list[signal.Signals]:
    return [signal.SIGKILL] * (many if FULL else few)


def test_a_run_ends_with_the_rows_and_weights_of_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    monkeypatch.chdir(whole)
    archs = "16-16-16-32"
    assert all(outcome.error is None for outcome in nnbench.run("random", archs=archs, protocol=PROTOCOL, workers=1))
    arguments = command("run", "--method", "random", "--archs", archs, *SCALE)
    blows = [signal.SIGINT, signal.SIGTERM, *_kills(1, 15)]
    kill_often(arguments, broken, blows, "results/runs/partial/*/*.parquet", "results/runs/*.*")
    for pattern in ("*.parquet", "*.safetensors"):
        assert _contents(broken / "results", pattern) == _contents(whole / "results", pattern)


def test_a_training_ends_with_the_weights_of_an_unbroken_one(
    tmp_path: Path, tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_trainings(tmp_path, tiny_zoo, monkeypatch, _kills(2, 15))


@pytest.mark.skipif(not FULL, reason="takes minutes: NNBENCH_SUITE=full runs it")
def test_a_training_on_the_zoo_that_ships_does_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _kill_trainings(tmp_path, SHIPPED / "PickCube-v1", monkeypatch, _kills(0, 5))


def _kill_trainings(folder: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch, blows: list[signal.Signals]) -> None:
    (folder / "mine.py").write_text(MINE)
    for name in ("whole", "broken"):
        (folder / name).mkdir()
    monkeypatch.chdir(folder / "whole")
    nnbench.train("mine", zoo=zoo, plugins=["../mine.py"])
    arguments = command("train", "--method", "mine", "--plugin", "../mine.py", "--zoo", str(zoo))
    progress, output = "runs/methods/mine/*/*-progress*/*.safetensors", "runs/methods/mine/*/*[0-9]"
    kill_often(arguments, folder / "broken", blows, progress, output)
    trained = _contents(folder / "whole" / "runs", "model.safetensors")
    assert len(trained) == 1 and _contents(folder / "broken" / "runs", "model.safetensors") == trained


def test_policies_trained_one_by_one_are_those_of_an_unbroken_training(tmp_path: Path) -> None:
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.py").write_text(TRAIN)
    kill_often([sys.executable, "train.py", "1"], tmp_path / "whole", [], "out/building/*", "out")
    kill_often([sys.executable, "train.py", "2"], tmp_path / "broken", _kills(2, 20), "out/building/*", "out")
    whole, broken = (_contents(tmp_path / name / "out" / "result", "*") for name in ("whole", "broken"))
    assert broken == whole


@pytest.mark.skipif(not FULL, reason="takes minutes: NNBENCH_SUITE=full runs it; test_build.py kills a build twice")
def test_a_zoo_is_built_as_an_unbroken_one(tmp_path: Path, tiny_zoo: Path) -> None:
    environment = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    (tmp_path / "build.py").write_text(environment + BUILD)
    arguments = [sys.executable, "build.py", str(SHIPPED / "PickCube-v1" / "expert.safetensors")]
    kill_often(arguments, tmp_path, _kills(0, 10), "work/*", "zoo")
    assert _contents(tmp_path / "zoo", "*") == _contents(tiny_zoo, "*")
