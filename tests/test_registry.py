"""The registry lists without importing, loads by name, and says plainly what is wrong."""

import pickle
import re
from pathlib import Path

import pytest

import nnbench.methods
from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Facts, find_facts, list_methods
from nnbench.registry import MethodSource, RegistryError, load_method

GOOD = """
from dataclasses import dataclass

@dataclass
class State:
    scale: float = 1.0

class Method:
    name, reads, role = "{name}", ("weights",), "generator"
    variant_of = reference = None
    seen_only = False
    writes = ()
    trains_each = False

    @classmethod
    def fit(cls, training, *, seed, directory): return cls()
    def generate(self, arch, n, *, seed=0): return []
    def save(self, directory): pass
    @classmethod
    def load(cls, directory, training): return cls()
"""


def write(folder: Path, name: str, text: str = GOOD) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text.replace("{name}", name))
    return path


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_point: str, by: str = "somebody") -> None:
    """A distribution as pip leaves it on the path."""
    info = folder / f"{by}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {by}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[nnbench.methods]\n{entry_point}\n")
    monkeypatch.syspath_prepend(str(folder))


def test_lists_the_methods_that_ship() -> None:
    methods = {listed.name: listed for listed in list_methods()}
    assert {"nnit", "ghn"} <= methods.keys()
    assert methods["nnit"].where.endswith("methods/nnit")
    assert methods["nnit"].summary.startswith("NNiT: ")
    assert all(listed.facts is not None and listed.problem is None for listed in methods.values())
    assert load_method("ghn").reads == ("hypernetworks",)
    assert load_method("sane-mz").name == load_method("sane_mz").name == "sane_mz"


def test_lists_every_door_without_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = "raise RuntimeError('imported')"
    folder, site = tmp_path / "methods", tmp_path / "site"
    folder.mkdir()
    site.mkdir()
    write(folder, "shipped", bomb)
    write(folder, "_private", bomb)
    (folder / "package").mkdir()
    write(folder / "package", "__init__", bomb)
    (folder / "checkpoints").mkdir()
    monkeypatch.setattr(nnbench.methods, "__path__", [str(folder)])
    write(site, "somebodys_module", bomb)
    install(site, monkeypatch, "installed = somebodys_module")
    plugin = write(tmp_path, "plugged", bomb)

    methods = list_methods([plugin])
    assert [listed.name for listed in methods] == ["installed", "package", "plugged", "shipped"]
    where = {listed.name: listed.where for listed in methods}
    assert where["plugged"] == str(plugin)
    assert where["shipped"] == str(folder / "shipped.py")
    assert where["installed"] == "entry point somebodys_module of somebody"
    assert all("no class Method" in str(listed.problem) for listed in methods)


def test_a_broken_entry_point_costs_only_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "their_nnit")
    write(tmp_path, "not_python", "class Method(:")
    points = ["nnit = their_nnit", "gone = a_module_nobody_has", "gone_too = a_module_nobody_has.inner:Method"]
    points += ["twice = their_nnit", "twice = not_python", "unreadable = not_python"]
    install(tmp_path, monkeypatch, "\n".join(points[:-2]))
    install(tmp_path, monkeypatch, "\n".join(points[-2:]), by="somebody_else")

    listed = list_methods()
    problems = {method.name: method.problem for method in listed if method.problem}
    assert "uninstall all but one" in problems.pop("twice")
    assert "taken by" in problems.pop("nnit") and "methods/nnit" in str(listed)
    assert "the facts cannot be read" in problems.pop("unreadable")
    assert problems.keys() == {"gone", "gone_too"}
    assert "no module a_module_nobody_has; install the package again" in problems["gone"]
    assert find_facts()["nnit"] == Facts.of(load_method("nnit")) and "gone" not in find_facts()
    assert load_method("nnit").__module__ == "nnbench.methods.nnit"
    with pytest.raises(RegistryError, match=r"method 'gone' \(entry point .*\): there is no module"):
        load_method("gone")


@pytest.mark.parametrize("content", [b"bad = !!!", b"bad =", b"b\xffd = x", b"bad = their_sets"])
def test_no_installed_package_costs_another_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    write(tmp_path, "their_sets", "class Method:\n    reads = {[]}")
    install(tmp_path, monkeypatch, "good = nothing")
    (tmp_path / "somebody-1.0.dist-info/entry_points.txt").write_bytes(b"[nnbench.methods]\n" + content)
    listed = {method.name: method for method in list_methods()}
    assert listed["nnit"].problem is None and "bad" not in find_facts()
    assert "bad" not in listed or listed["bad"].problem


def test_facts_that_cannot_be_are_refused(tmp_path: Path) -> None:
    plugin = write(tmp_path, "mine", GOOD.replace('"generator"', '"floor"'))
    with pytest.raises(RegistryError, match=r"mine\.py: class Method: method mine: role is 'floor', expected one of"):
        load_method("mine", [plugin])


def test_a_class_that_leaves_something_out_lacks_it(tmp_path: Path) -> None:
    text = "from nnbench.api import Generator\nclass Method(Generator):\n    name = 'mine'\n    def save(self, _): ..."
    with pytest.raises(RegistryError, match="class Method lacks fit, generate, load; "):
        load_method("mine", [write(tmp_path, "mine", text)])
    with pytest.raises(RegistryError, match="class Empty lacks name, "):
        MethodSource.of(type("Empty", (), {}))


def test_a_class_without_a_file_can_be_had_in_another_process() -> None:
    class Notebook(Untrained):
        name = "notebook"

        def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
            return []

    source = pickle.loads(pickle.dumps(MethodSource.of(Notebook)))
    assert source.name == "notebook" and source.load().role == "baseline"
    assert MethodSource.of("sane-mz").name == "sane_mz" and MethodSource.of("nearest").load() is load_method("nearest")


def test_loads_a_plugin_file(tmp_path: Path) -> None:
    method = load_method("mine", [write(tmp_path, "mine")])
    assert method.name == "mine"


@pytest.mark.parametrize("value", ["outside_method", "outside_method:Method"])
def test_loads_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    write(tmp_path, "outside_method", GOOD.replace("{name}", "outside"))
    install(tmp_path, monkeypatch, f"outside = {value}")
    assert load_method("outside").name == "outside"


def test_suggests_the_nearest_name() -> None:
    with pytest.raises(RegistryError, match=r"unknown method 'nnitt'; did you mean 'nnit'\? known: .*ghn, .*nnit"):
        load_method("nnitt")
    with pytest.raises(RegistryError, match=r"unknown method 'xyzzy'; known: "):
        load_method("xyzzy")


def test_two_sources_of_one_name_are_an_error_naming_both(tmp_path: Path) -> None:
    plugin = write(tmp_path, "nnit")
    with pytest.raises(RegistryError, match=rf"'nnit': .*methods/nnit and {re.escape(str(plugin))}"):
        list_methods([plugin])


def test_names_file_and_what_the_contract_misses(tmp_path: Path) -> None:
    partial = GOOD.replace("seen_only = False", "").replace("def save", "def store")
    plugin = write(tmp_path, "mine", partial)
    with pytest.raises(RegistryError, match=rf"{re.escape(str(plugin))}: class Method lacks seen_only, save; .*api"):
        load_method("mine", [plugin])
    with pytest.raises(RegistryError, match=r"empty\.py: no class Method; .*nnbench\.api"):
        load_method("empty", [write(tmp_path, "empty", "")])
    with pytest.raises(RegistryError, match=r"number\.py: no class Method"):
        load_method("number", [write(tmp_path, "number", "Method = 3")])


def test_a_method_is_listed_by_its_own_name(tmp_path: Path) -> None:
    plugin = write(tmp_path, "file", GOOD.replace("{name}", "other"))
    with pytest.raises(RegistryError, match=r"file\.py: listed as 'file' but its name is 'other'"):
        load_method("file", [plugin])


def test_a_missing_dependency_is_named(tmp_path: Path) -> None:
    plugin = write(tmp_path, "needy", "import a_module_nobody_has")
    with pytest.raises(RegistryError, match=r"method 'needy' \(.*needy\.py\).*'a_module_nobody_has' is not installed"):
        load_method("needy", [plugin])
    plugin = write(tmp_path, "older", "from math import a_name_nobody_has")
    with pytest.raises(RegistryError, match=r"method 'older' .*cannot import name 'a_name_nobody_has'"):
        load_method("older", [plugin])


@pytest.mark.parametrize("name", ["absent.py", "folder", "notes.txt"])
def test_a_plugin_must_be_a_python_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RegistryError, match=rf"{re.escape(name)}: expected a Python file"):
        list_methods([tmp_path / name])


@pytest.mark.parametrize(
    ("code", "reason"), [("def broken(:\n", "SyntaxError: "), ("raise RuntimeError('no')\n", "RuntimeError: no")]
)
def test_a_plugin_that_fails_at_import_is_one_error_that_names_it(tmp_path: Path, code: str, reason: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(RegistryError, match="method 'mine' .*mine.py. cannot be imported: " + reason):
        load_method("mine", [tmp_path / "mine.py"])


def test_a_method_trained_as_another_is_refused_where_there_is_no_such_training(tmp_path: Path) -> None:
    variant = GOOD.replace("trains_each = False", "trains_each, trained_as = False, 'other'")
    path = write(tmp_path, "mine", variant)
    with pytest.raises(RegistryError, match="unknown method 'other'"):
        MethodSource.of("mine", [path])
    other = write(tmp_path, "other")
    trainer = MethodSource.of("mine", [path, other]).trainer
    assert trainer is not None and trainer.name == "other" and trainer.trainer is None
    write(tmp_path, "other", variant.replace("'other'", "'mine'"))
    with pytest.raises(RegistryError, match="method mine: trained_as names 'other', which is trained as 'mine'; name"):
        MethodSource.of("mine", [path, other])
