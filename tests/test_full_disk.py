"""A disk that fills up in any stage that writes: one error says so, finished work stays, nothing half-written is read.

A limit on the size of files stands for the disk: it needs no rights, and processes that are started inherit it.
"""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest
import torch
from helpers import command, toy_zoo, two_networks
from test_journal import _episodes
from test_store import UNIT, _written
from torch import nn

import nnbench
from nnbench.harness.process import MethodError
from nnbench.harness.trained import train
from nnbench.methods import _optimisation
from nnbench.presentation.figures.drawing import Drawing, save
from nnbench.registry import MethodSource
from nnbench.store import checkpoints
from nnbench.store.checkpoints import find
from nnbench.store.roundtrip import read_roundtrips, roundtrip_file, write_roundtrips
from nnbench.store.store import Store
from nnbench.tasks.files import WriteError
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.task import Filter
from nnbench.tasks.zoo.build import build_zoo
from nnbench.tasks.zoo.expert import train_expert
from nnbench.tasks.zoo.manifest import SHIPPED, ZooError
from nnbench.tasks.zoo.ppo import ExpertConfig
from nnbench.tasks.zoo.presets import DistillationConfig
from nnbench.tasks.zoo.states import LabelledStates
from nnbench.tasks.zoo.zoo import Zoo

TASK = "PickCube-v1"
FULL = r"could not be written \(File too large\); free some space or choose another folder, and run the same command"


@contextmanager
def _room(size: int) -> Iterator[None]:
    """No file may become larger than `size` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run(tmp_path: Path) -> None:
    """Of a run that goes on: the unit that is finished and the journal's first part stay."""
    store, other = _written(tmp_path), replace(UNIT, method="sane")
    store.journal(other).append(_episodes(0, 3))
    kept, before = store.journal(other).read(), _files(tmp_path)
    for write in (lambda: store.journal(other).append(_episodes(3, 9)), lambda: _written(tmp_path, other)):
        with _room(100), pytest.raises(WriteError, match=FULL):
            write()
    assert _files(tmp_path) == before and store.finished(UNIT) and not store.finished(other)
    assert store.journal(other).read() == kept and store.unfinished() == {other.key: 3}
    assert _written(tmp_path, other).finished(other)


def test_a_full_disk_at_the_manifest_leaves_an_unfinished_unit(tmp_path: Path) -> None:
    other = replace(UNIT, method="sane")
    _written(tmp_path / "whole", other)
    sizes = {path.suffix: path.stat().st_size for path in (tmp_path / "whole").iterdir()}
    store = Store(tmp_path / "runs")
    for kind in (".safetensors", ".json"):
        with _room(sizes[kind] - 1), pytest.raises(WriteError, match=FULL):
            _written(store.root, other)
        assert not store.finished(other) and Store(store.root).rows().num_rows == 0


def test_publish_and_merge(tmp_path: Path) -> None:
    ours, published = _written(tmp_path / "ours"), tmp_path / "published"
    ours.publish(published)
    _written(ours.root, replace(UNIT, generator_seed=1))
    before = _files(published)
    for write in (lambda: ours.publish(published, weights=True), lambda: Store(tmp_path / "copied").merge(ours)):
        with _room(1500), pytest.raises(WriteError, match=FULL):
            write()
    assert _files(published) == before and len(Store(published).keys()) == 1
    assert Store(tmp_path / "copied").rows().num_rows == 0
    assert Store(tmp_path / "copied").merge(Store(ours.root)) == (2, 0)


def test_round_trips(tmp_path: Path) -> None:
    asked = {"task": TASK, "method": "sane", "generator_seed": 0, "arch": "16-16-16-64", "episodes": 4}
    path, rows = roundtrip_file(tmp_path, asked), [asked | {"ghn_seed": seed} for seed in range(3)]
    for size in (100, 1 << 12):
        versions = {"torch": "2" * (1 << 13)}  # the second time the rows fit, and the manifest does not
        with _room(size), pytest.raises(WriteError, match=FULL):
            write_roundtrips(path, rows, versions)
        assert read_roundtrips(tmp_path, TASK) == []


def test_report_and_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnbench.presentation.report.page", lambda shown: "x" * 10_000)
    page, picture = tmp_path / "page.html", tmp_path / "figure.svg"
    page.write_text("old")
    figure = matplotlib.figure.Figure()
    figure.subplots().plot([1, 2])
    drawing = Drawing("title", "caption", figure)
    writes: tuple[Callable[[], Any], ...] = (lambda: nnbench.report(page), lambda: save(drawing, picture))
    for write in writes:
        with _room(1000), pytest.raises(WriteError, match=FULL):
            write()
    assert _files(tmp_path) == {"page.html": b"old"}


def test_training_of_a_method_goes_on_from_its_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Schedule:
        steps, peak_lr, min_lr, warmup, ema = 20, 1e-2, 1e-3, 2, 0.9

    zoo = toy_zoo(lambda arch, seed, _: two_networks(arch)[seed])

    def trained(directory: Path) -> list[float]:
        model = _optimisation.seeded(lambda: nn.Linear(3, 3), 0)
        run = _optimisation.Run("toy", zoo, UNIT, 0, directory)
        done = _optimisation.optimise(
            run, model, lambda draw: model(torch.randn(4, 3, generator=draw)).square().mean(), Schedule()
        )
        values: list[float] = done.model.weight.flatten().tolist()
        return values

    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    expected = trained(tmp_path / "whole")
    size = (tmp_path / "whole" / "toy.safetensors").stat().st_size
    with _room(size - 200), pytest.raises(WriteError, match=rf"toy.safetensors: {FULL}"):
        trained(tmp_path / "broken")
    assert all(name in ("toy.safetensors", "toy.csv") for name in _files(tmp_path / "broken"))
    assert trained(tmp_path / "broken") == expected


PLUGIN = """
from nnbench.api import Generator
class Method(Generator):
    name = "large"
    @classmethod
    def fit(cls, training, *, seed, directory):
        return cls()
    def generate(self, arch, n, *, seed=0):
        return []
    def save(self, directory):
        (directory / "large.json").write_text('"' + "x" * 100_000 + '"')
    @classmethod
    def load(cls, directory, training):
        return cls()
"""


def test_train_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zoo: Zoo) -> None:
    monkeypatch.setattr(checkpoints, "TRAINED", tmp_path / "own")
    (tmp_path / "large.py").write_text(PLUGIN)
    method = MethodSource.of("large", [tmp_path / "large.py"])
    with _room(10_000), pytest.raises(MethodError, match=r"^method large: save raised OSError: .*File too large$"):
        train(method, zoo, seed=0)
    assert _files(tmp_path / "own") == {} and find("large", TASK, zoo.sha256, 0, method.code_sha256) is None
    assert train(method, zoo, seed=0).folder.is_relative_to(tmp_path / "own")


@pytest.mark.slow
def test_training_of_an_expert(simulator: Simulator, tmp_path: Path) -> None:
    numbers = ExpertConfig(steps=1000, episodes=10, validation_episodes=2, validate_every=1)
    with _room(1 << 12), pytest.raises(WriteError, match=rf"expert.safetensors: {FULL}"):
        train_expert(simulator, tmp_path / "expert", numbers)
    assert _files(tmp_path / "expert").keys() <= {"log.csv"}
    assert train_expert(simulator, tmp_path / "expert", numbers).exists()


@pytest.mark.slow
def test_zoo_build_keeps_finished_stages(
    simulator: Simulator, tiny_zoo: Path, tiny_numbers: tuple[DistillationConfig, Filter], tmp_path: Path
) -> None:
    expert, work = SHIPPED / TASK / "expert.safetensors", tiny_zoo.parent / "work"
    before = _files(work)
    with _room(1 << 12), pytest.raises(WriteError, match=rf"ghns.safetensors: {FULL}"):
        build_zoo(simulator, expert, work, tmp_path / "zoo", [0, 1], *tiny_numbers)
    assert _files(work) == before
    with pytest.raises(ZooError, match="no zoo of PickCube-v1 here"):
        Zoo.open(TASK, tmp_path / "zoo")
    build_zoo(simulator, expert, work, tmp_path / "zoo", [0, 1], *tiny_numbers)
    assert (tmp_path / "zoo" / "ghns.safetensors").read_bytes() == (tiny_zoo / "ghns.safetensors").read_bytes()


def test_states_that_a_zoo_is_built_from(tmp_path: Path) -> None:
    states = LabelledStates(torch.zeros(100, 6), torch.zeros(100, 2))
    with _room(100), pytest.raises(WriteError, match=rf"pool.safetensors: {FULL}"):
        states.save(tmp_path / "pool.safetensors")
    assert _files(tmp_path) == {}


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    _written(tmp_path / "runs")
    limited = 'ulimit -f 1; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", limited, "bash", *command("merge", "runs", "--results", "copied")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "free some space" in done.stderr, done.stderr
