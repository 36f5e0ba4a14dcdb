"""Where a trained method is looked for, and what is refused."""

import errno
import fcntl
import importlib.util
import json
import linecache
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import nnbench.methods
from nnbench.code import hash_class
from nnbench.errors import InputError
from nnbench.harness import trained as trained_module
from nnbench.harness.process import MethodError
from nnbench.harness.trained import obtain, train
from nnbench.methods import nnit
from nnbench.registry import MethodSource
from nnbench.store import checkpoints, learning
from nnbench.store.checkpoints import CheckpointError, Trained, find, find_budget
from nnbench.store.learning import read_trainings
from nnbench.tasks.integrity import DamagedError
from nnbench.tasks.zoo.zoo import Zoo

REMEMBERS = '''
import json
import os
import signal
from pathlib import Path

import torch
from safetensors.torch import save_file

from nnbench.api import Generator
from nnbench.tasks.policies.training_set import HeldOutAccess


class Method(Generator):
    """Keeps the number of networks it saw; is killed half way where a file `kill` lies beside it."""

    name = "remembers"

    def __init__(self, count):
        self.count = count

    @classmethod
    def fit(cls, training, *, seed, directory):
        try:
            training.hypernetwork_policies((16, 16, 16, 64))
        except HeldOutAccess:
            pass
        else:
            raise AssertionError("it declares nothing and may ask the hypernetworks")
        beside = Path(__file__).parent
        if (beside / "kill").exists():
            (directory / "half").write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        if (directory / "half").exists() != (beside / "killed").exists():
            raise AssertionError("the progress of another training, or none of its own")
        return cls(len(training.networks((16, 16, 16, 64))) + seed)

    def generate(self, arch, n, *, seed=0):
        return []

    def save(self, directory):
        (directory / "count.json").write_text(str(self.count))
        save_file({"weight": torch.zeros(3, 4), "bias": torch.zeros(4)}, directory / "model.safetensors")

    @classmethod
    def load(cls, directory, training):
        return cls(json.loads((directory / "count.json").read_text()))
'''

LOGS = """
import time

import torch
from safetensors.torch import save_file
from torch import nn

from nnbench.api import Generator
from nnbench.methods._optimisation import Run, optimise
from nnbench.methods.d2nwg.config import Stage


class Method(Generator):
    name = "logs"

    @classmethod
    def fit(cls, training, *, seed, directory):
        stage = Stage(batch=1, steps=20, peak_lr=0.1, warmup=2, ema=0.5)
        for name, success in (("logs-vae", 0.75), ("logs-diffusion", 0.5)):
            model = nn.Linear(1, 1)
            scores = {"return": 3.0, "success_at_end": success}
            run = Run(name, training, stage, seed, directory)
            optimise(run, model, lambda rng: model.weight.square().sum() + 1, stage, lambda averaged: scores)
            time.sleep(0.05)  # file systems know the time of a change to some milliseconds only
        (directory / "notes.csv").write_text("of,the,method\\n")
        return cls()

    def generate(self, arch, n, *, seed=0):
        return []

    def save(self, directory):
        save_file({"weight": torch.zeros(3)}, directory / "model.safetensors")

    @classmethod
    def load(cls, directory, training):
        return cls()
"""


@pytest.fixture
def method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MethodSource:
    monkeypatch.setattr(checkpoints, "TRAINED", tmp_path / "own")
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "remembers.py").write_text(REMEMBERS)
    return MethodSource.of("remembers", [tmp_path / "remembers.py"])


def test_trains_where_nothing_is_there_and_loads_where_something_is(
    method: MethodSource, zoo: Zoo, tmp_path: Path
) -> None:
    first = obtain(method, zoo, seed=0)
    again = obtain(method, zoo, seed=0)
    assert first.sha256 == again.sha256 and first.folder == tmp_path / "own/remembers/PickCube-v1/seed-0"
    other = train(method, zoo, seed=1)
    counts = [method.load().load(t.folder, zoo.training_set()).count for t in (first, other)]  # type: ignore[attr-defined]
    assert counts[1] == counts[0] + 1 and other.sha256 != first.sha256


def test_what_training_cost_is_found_by_what_rows_say_of_the_method(
    method: MethodSource, zoo: Zoo, tmp_path: Path
) -> None:
    trained = obtain(method, zoo, seed=0)
    unit = {"method": "remembers", "task": "PickCube-v1", "generator_seed": 0, "method_sha256": trained.sha256}
    budget = find_budget(unit)
    assert budget is not None and budget.parameters == 16 and 0 < budget.seconds < 60 and budget.machine["cpus"]
    assert find_budget(unit | {"method_sha256": "0" * 64}) is None and find_budget(unit | {"generator_seed": 1}) is None
    shipped = tmp_path / "shipped/remembers/PickCube-v1/seed-0"
    shutil.copytree(trained.folder, shipped)
    shutil.rmtree(trained.folder)
    assert find_budget(unit) == budget


def test_what_ships_is_found_in_the_installed_package(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nnit.Method, "fit", None)
    package = Path(nnbench.methods.__path__[0])
    source = MethodSource.of("nnit")
    found = obtain(source, zoo, seed=0)
    assert found.folder == package / "checkpoints/nnit/PickCube-v1/seed-0" and not found.other_code
    assert checkpoints.find("nnit", "PickCube-v1", zoo.sha256, 0, "0" * 64) is None, "of another version"
    assert checkpoints.find("nnit", "PickCube-v1", "0" * 64, 0, source.code_sha256) is None, "of another zoo"


def test_the_users_own_comes_before_the_shipped(method: MethodSource, zoo: Zoo, tmp_path: Path) -> None:
    own = train(method, zoo, seed=0).folder
    shutil.copytree(tmp_path / "own", tmp_path / "shipped")
    found = find("remembers", "PickCube-v1", zoo.sha256, 0, method.code_sha256)
    assert found is not None and found.folder == own
    shutil.rmtree(own)
    found = find("remembers", "PickCube-v1", zoo.sha256, 0, method.code_sha256)
    assert found is not None and found.folder.is_relative_to(tmp_path / "shipped")
    assert find("remembers", "PickCube-v1", zoo.sha256, 0, "0" * 64) is None, "of other code"


def test_what_a_killed_training_left_is_removed_and_what_another_is_at_work_on_is_not(
    method: MethodSource, zoo: Zoo
) -> None:
    folder = checkpoints.own_folder(method.name, zoo.task.name, 0, zoo.sha256)
    left, other = (folder.with_name(f"{folder.name}-unfinished-{name}") for name in ("left", "other"))
    for path in (left, other):
        path.mkdir(parents=True)
    lock = os.open(other, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    train(method, zoo, 0)
    os.close(lock)
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name, other.name]


def test_where_a_file_system_has_no_locks_methods_are_trained_and_nothing_is_removed(
    method: MethodSource, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    folder = checkpoints.own_folder(method.name, zoo.task.name, 0, zoo.sha256)
    left = folder.with_name(f"{folder.name}-unfinished-left")
    left.mkdir(parents=True)
    monkeypatch.setattr(fcntl, "flock", refuse)
    train(method, zoo, 0)
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name, left.name]


def test_a_killed_training_is_no_trained_method_and_goes_on(method: MethodSource, zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "kill").touch()
    with pytest.raises(MethodError, match="method remembers: fit ended its process, signal SIGKILL"):
        train(method, zoo, seed=0)
    assert not (tmp_path / "own/remembers/PickCube-v1/seed-0").exists()
    (tmp_path / "kill").rename(tmp_path / "killed")
    train(method, zoo, seed=0)


def test_of_two_trainings_at_once_the_first_to_finish_stands(
    method: MethodSource, zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results carry the hash of what was trained: were it replaced, they would be of nothing."""
    first: list[Trained] = []
    move = trained_module._move

    def overtaken(unfinished: Path, own: Path) -> None:
        monkeypatch.setattr(trained_module, "_move", move)
        (unfinished / "count.json").write_text("-1")
        first.append(train(method, zoo, seed=0))
        move(unfinished, own)

    monkeypatch.setattr(trained_module, "_move", overtaken)
    assert train(method, zoo, seed=0) == first[0] == obtain(method, zoo, seed=0)
    assert [path.name for path in (tmp_path / "own/remembers/PickCube-v1").iterdir()] == ["seed-0"]


def test_damage_and_another_zoo_are_named(method: MethodSource, zoo: Zoo, tmp_path: Path) -> None:
    folder = train(method, zoo, seed=0).folder
    manifest, count = json.loads((folder / "manifest.json").read_text()), (folder / "count.json").read_bytes()
    (folder / "count.json").write_text("7")
    with pytest.raises(DamagedError, match=r"count.json: missing or changed: .*; restore it, or delete"):
        obtain(method, zoo, seed=0)
    (folder / "count.json").write_bytes(count)
    del manifest["checksum"]
    (folder / "manifest.json").write_text(json.dumps(manifest | {"zoo_sha256": "0" * 64}))
    with pytest.raises(CheckpointError, match="trained on another zoo"):
        obtain(method, zoo, seed=0)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"seed": 7}))
    with pytest.raises(CheckpointError, match="trained with seed 7, not 0; .*delete"):
        obtain(method, zoo, seed=0)
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(DamagedError, match="manifest.json: not what was written"):
        obtain(method, zoo, seed=0)


def _defined(path: Path, addend: int) -> MethodSource:
    """A class as a module of the user's own defines it."""
    path.write_text(
        "from pathlib import Path\n"
        "from nnbench.api import Untrained\n"
        "class Mine(Untrained):\n"
        "    name = 'mine'\n"
        f"    addend = {addend}\n"
        "    def generate(self, arch, n, *, seed=0):\n"
        "        return []\n"
        "    def save(self, directory):\n"
        "        (directory / 'same.json').write_text('{}')\n"
    )
    linecache.clearcache()
    spec = importlib.util.spec_from_file_location("test_trained_mine", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules["test_trained_mine"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return MethodSource.of(module.Mine)


def test_other_codes_checkpoint_is_named_and_replaced_only_when_asked(
    method: MethodSource, zoo: Zoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = obtain(method, zoo, 0)
    (tmp_path / "remembers.py").write_text(REMEMBERS + "\n# edited\n")
    with pytest.raises(InputError, match="method remembers: its code changed meanwhile; run the same command again"):
        method.load()
    edited = MethodSource.of("remembers", [tmp_path / "remembers.py"])
    assert edited.code_sha256 != method.code_sha256 and capsys.readouterr().err == ""

    used = obtain(edited, zoo, 0)
    assert used.folder == first.folder and used.other_code and used.sha256 != first.sha256
    assert "seed-0 was trained by other code than the method's is now" in capsys.readouterr().err
    anew = obtain(edited, zoo, 0, retrain=True)
    assert not anew.other_code and anew.folder == first.folder
    assert capsys.readouterr().err == ""
    assert obtain(edited, zoo, 0) == anew

    (tmp_path / "remembers.py").write_text(REMEMBERS)  # what the first code trained was kept
    again = obtain(method, zoo, 0)
    assert again.sha256 == first.sha256 and again.folder != anew.folder and not again.other_code
    unit = {"method": "remembers", "task": "PickCube-v1", "generator_seed": 0}
    assert all(find_budget(unit | {"method_sha256": found.sha256}) is not None for found in (first, anew))


def test_a_class_is_what_it_was_when_it_was_handed_over(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "TRAINED", tmp_path / "own")
    monkeypatch.setitem(sys.modules, "test_trained_mine", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    first = _defined(tmp_path / "first.py", 1)
    trained = obtain(first, zoo, 0)
    assert obtain(_defined(tmp_path / "again.py", 1), zoo, 0) == trained

    edited = _defined(tmp_path / "edited.py", 2)
    new = obtain(edited, zoo, 0)  # it learns nothing: nothing is lost by training it anew
    assert edited.code_sha256 != first.code_sha256 and new.sha256 != trained.sha256 and not new.other_code
    assert first.load().addend == 1 and obtain(first, zoo, 0).sha256 == trained.sha256  # type: ignore[attr-defined]


def test_code_is_part_of_the_identity_only_of_what_has_no_file() -> None:
    shipped = MethodSource.of("nearest")
    assert shipped.code_sha256 is None and MethodSource.of(shipped.load()).code_sha256 is None

    namespace: dict[str, Any] = {}
    exec("class Typed:\n    name = 'typed'\n    def generate(self): ...\n", namespace)
    with pytest.raises(InputError, match="class Typed: Python does not know the source text of `generate`; define"):
        hash_class(namespace["Typed"])


def test_trainings_on_a_zoo_of_ones_own_stand_beside_the_others(method: MethodSource, zoo: Zoo, tmp_path: Path) -> None:
    class Own:
        """The same networks under another identity."""

        task, directory, sha256, opened_from = zoo.task, zoo.directory, "5" * 64, zoo.opened_from

    own: Any = Own()
    first, second = obtain(method, zoo, 0), obtain(method, own, 0)
    assert second.folder == first.folder.with_name("seed-0-zoo-555555555555") and first.sha256 != second.sha256
    assert obtain(method, own, 0) == second and obtain(method, zoo, 0) == first
    unit = {"method": "remembers", "task": "PickCube-v1", "generator_seed": 0}
    for trained in (first, second):
        assert find_budget(unit | {"method_sha256": trained.sha256}) is not None


def test_a_class_of_a_notebook_is_known_by_its_cells() -> None:
    def defined(cell: str, number: int) -> str | None:
        name = f"<cell {number}>"
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        scope: dict[str, Any] = {"__name__": "a_notebook"}  # a module that has no file
        exec(compile(cell, name, "exec"), scope)
        return hash_class(scope["Mine"])

    cell = "class Mine:\n    name, steps = 'mine', 3\n    def generate(self, arch, n):\n        return [n]\n"
    code = defined(cell, 1)
    assert code is not None and code == defined(cell, 2)
    assert code != defined(cell.replace("3", "4"), 3) and code != defined(cell.replace("[n]", "[]"), 4)


def test_a_method_trained_as_another_has_a_copy_of_its_checkpoint(
    method: MethodSource, zoo: Zoo, tmp_path: Path
) -> None:
    def variant(shift: int) -> MethodSource:
        path = tmp_path / "shifted.py"
        path.write_text(
            "import remembers\n"
            "class Method(remembers.Method):\n"
            "    name, trained_as = 'shifted', 'remembers'\n"
            f"    shift = {shift}\n"
            "    @classmethod\n"
            "    def fit(cls, training, *, seed, directory):\n"
            "        raise AssertionError('nothing is trained')\n"
        )
        return MethodSource.of("shifted", [path, tmp_path / "remembers.py"])

    source = variant(1)
    copied = obtain(source, zoo, seed=0)
    trained = obtain(method, zoo, seed=0)
    manifest, theirs = (json.loads((found.folder / "manifest.json").read_text()) for found in (copied, trained))
    assert (manifest["method"], manifest["trained_as"]) == ("shifted", "remembers") and copied.sha256 != trained.sha256
    assert all(manifest[key] == theirs[key] for key in ("files", "parameters", "wall_s", "machine", "seed"))
    loaded: Any = source.load().load(copied.folder, zoo.training_set())
    assert loaded.count == len(zoo.training_set().networks((16, 16, 16, 64)))
    assert obtain(source, zoo, seed=0) == copied and sorted(path.name for path in copied.folder.parent.iterdir()) == [
        "seed-0"
    ]

    edited = obtain(variant(2), zoo, seed=0)
    assert edited.sha256 != copied.sha256 and not edited.other_code
    (trained.folder / "count.json").write_text("7")
    with pytest.raises(DamagedError, match="remembers/PickCube-v1/seed-0/count.json: missing or changed"):
        obtain(variant(3), zoo, seed=0)


def test_a_damaged_checkpoint_costs_no_new_training(method: MethodSource, zoo: Zoo) -> None:
    folder = train(method, zoo, seed=0).folder
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DamagedError, match="manifest.json: not what was written"):
        obtain(method, zoo, seed=0)
    again = obtain(method, zoo, seed=0, retrain=True)
    assert again.folder == folder and obtain(method, zoo, seed=0) == again


def test_the_logs_of_a_training_are_kept_and_are_no_part_of_what_was_trained(
    method: MethodSource, zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "TRAINED", tmp_path / "own")
    monkeypatch.setattr(learning, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "logs.py").write_text(LOGS)
    source = MethodSource.of("logs", [tmp_path / "logs.py"])
    trained = train(source, zoo, seed=0)
    names = ["1-logs-vae.csv", "2-logs-diffusion.csv", "manifest.json", "model.safetensors"]
    assert sorted(path.name for path in trained.folder.iterdir()) == names
    assert [path.name for path in trained.folder.parent.iterdir()] == ["seed-0"], "no progress is left"
    assert [*json.loads((trained.folder / "manifest.json").read_text())["files"]] == ["model.safetensors"]

    train(method, zoo, seed=0)  # it logs nothing
    (training,) = read_trainings("PickCube-v1", zoo.sha256)
    assert (training.method, training.seed) == ("logs", 0)
    assert [stage.name for stage in training.stages] == ["logs-vae", "logs-diffusion"]
    assert [[entry.step for entry in stage.entries] for stage in training.stages] == [[*range(2, 21, 2)]] * 2
    assert [stage.entries[-1].success for stage in training.stages] == [0.75, 0.5]

    again = train(source, zoo, seed=0)
    assert again == trained, "a training that took another time"
    for path in trained.folder.glob("*.csv"):
        path.unlink()
    assert find("logs", "PickCube-v1", zoo.sha256, 0, source.code_sha256) == trained
    unit = {"method": "logs", "task": "PickCube-v1", "generator_seed": 0, "method_sha256": trained.sha256}
    assert find_budget(unit) is not None
