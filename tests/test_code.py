"""Other code is another identity: of a plugin, of what it imports, of an installed package."""

import importlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nnbench.api import Architecture, Untrained, Weights
from nnbench.code import hash_class, hash_code
from nnbench.discovery import Location, find_methods
from nnbench.errors import InputError
from nnbench.sources import run_file


def _plugin(path: Path) -> Location:
    return Location(path.stem, str(path), path)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin that imports a module beside it, which imports a package beside it."""
    (tmp_path / "mine.py").write_text(
        "import json\nimport numpy\nfrom helper import add\nclass Method: name = 'mine'\n"
    )
    (tmp_path / "helper.py").write_text("def add():\n    from inner import deep\n    return deep\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/__init__.py").write_text("from . import deep\nfrom .. import nothing\n")
    (tmp_path / "inner/deep.py").write_text("value = 1\n")
    (tmp_path / "unrelated.py").write_text("value = 1\n")
    return tmp_path / "mine.py"


@pytest.mark.parametrize("edited", ["mine.py", "helper.py", "inner/__init__.py", "inner/deep.py"])
def test_an_edit_of_a_plugin_or_of_what_it_imports_is_another_code(plugin: Path, edited: str) -> None:
    before = hash_code(_plugin(plugin))
    assert before is not None and hash_code(_plugin(plugin)) == before
    path = plugin.parent / edited
    path.write_text(path.read_text() + "# edited\n")
    assert hash_code(_plugin(plugin)) != before


def test_what_it_does_not_import_is_no_part_of_it(plugin: Path, tmp_path: Path) -> None:
    before = hash_code(_plugin(plugin))
    (tmp_path / "unrelated.py").write_text("value = 2\n")
    assert hash_code(_plugin(plugin)) == before


def test_code_is_the_same_wherever_it_lies(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for path in plugin.parent.rglob("*.py"):
        copy = elsewhere / path.relative_to(plugin.parent)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text())
    assert hash_code(_plugin(elsewhere / "mine.py")) == hash_code(_plugin(plugin))


def test_an_installed_package_is_its_version_and_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, info = tmp_path / "theirs_package", tmp_path / "theirs-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").touch()
    (package / "method.py").write_text("from theirs_package.sampler import draw\nclass Method: name = 'theirs'\n")
    (package / "sampler.py").write_text("def draw(): return 1\n")
    metadata = "Metadata-Version: 2.1\nName: theirs\nVersion: {}\n"
    (info / "METADATA").write_text(metadata.format("1.0"))
    (info / "entry_points.txt").write_text("[nnbench.methods]\ntheirs = theirs_package.method\n")
    (info / "RECORD").write_text("theirs_package/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def code() -> str | None:
        (location,) = (found for found in find_methods() if found.name == "theirs")
        return hash_code(location)

    first = code()
    (package / "sampler.py").write_text("def draw(): return 2\n")
    second = code()
    (info / "METADATA").write_text(metadata.format("1.1"))
    assert first is not None and len({first, second, code()}) == 3
    assert "theirs_package" not in sys.modules  # nothing was imported


def test_a_method_that_ships_goes_by_its_version() -> None:
    (nearest,) = (found for found in find_methods() if found.name == "nearest")
    assert nearest.ships and hash_code(nearest) is None


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"mine\.py: no readable Python file"):
        hash_code(_plugin(tmp_path / "mine.py"))


def _factory(scale: float) -> type:
    class Method(Untrained):
        name = "mine"

        def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
            return [{"0.bias": torch.full((1,), scale)}] * n

    return Method


def test_what_a_class_holds_is_part_of_its_code() -> None:
    one, other, again = _factory(1.0), _factory(0.0), _factory(1.0)
    assert hash_class(one) == hash_class(again) != hash_class(other)
    before = hash_class(one)
    one.scale = 3.0  # type: ignore[attr-defined]
    assert hash_class(one) != before


def test_a_class_has_the_same_code_in_every_process(tmp_path: Path) -> None:
    words = ", ".join(f"'word{number}'" for number in range(20))
    (tmp_path / "sets.py").write_text(f"WORDS = frozenset(({words}))\nclass Method:\n    known = {{{words}}}\n")
    asked = "from nnbench.code import hash_class; from sets import Method; print(hash_class(Method))"
    found = {
        subprocess.run(
            [sys.executable, "-c", asked],
            env=os.environ
            | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1 and len(found.pop().strip()) == 64


def test_a_class_whose_file_was_edited_since_it_was_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "class Method:\n    name = 'stale'\n    def generate(self):\n        return {}\n"
    (tmp_path / "stale_module.py").write_text(text.format(1))
    monkeypatch.syspath_prepend(str(tmp_path))
    method = importlib.import_module("stale_module").Method
    assert hash_class(method) is not None
    (tmp_path / "stale_module.py").write_text(text.format(2))
    with pytest.raises(InputError, match=r"stale_module\.py: changed since class Method was imported; import it again"):
        hash_class(method)


def test_a_plugin_takes_the_module_beside_it_or_is_told_that_there_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for folder, value in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("from helper_beside import value\n")
        (tmp_path / folder / "helper_beside.py").write_text(f"value = {value}\n")
        found.append(run_file(tmp_path / folder / "mine.py", f"plugin_{folder}").value)
    (tmp_path / "one/helper_beside.py").write_text("value = 3\n")
    found.append(run_file(tmp_path / "one/mine.py", "plugin_one").value)
    assert found == [1, 2, 3]
    (tmp_path / "three").mkdir()
    (tmp_path / "three/helper_beside.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "three"))
    with pytest.raises(InputError, match="it imports 'helper_beside', which is .*one.* and also .*three"):
        run_file(tmp_path / "one/mine.py", "plugin_one")
    (tmp_path / "one/mine.py").write_text("import random\n")
    before = hash_code(_plugin(tmp_path / "one/mine.py"))
    (tmp_path / "one/random.py").write_text("value = 1\n")
    assert run_file(tmp_path / "one/mine.py", "plugin_one").random is random, "Python takes its own"
    assert hash_code(_plugin(tmp_path / "one/mine.py")) == before
