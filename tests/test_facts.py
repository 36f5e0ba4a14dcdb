"""Facts are read from the source as Python would see them, and no method is imported."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from nnbench.discovery import Location, RegistryError
from nnbench.facts import Facts, FactsError, find_facts, read_facts
from nnbench.registry import load_method


def plugin(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def test_the_source_says_what_the_classes_say() -> None:
    facts = find_facts()
    assert len(facts) >= 20
    for name, found in facts.items():
        assert found == Facts.of(load_method(name))
        assert found.variant_of is None or found.variant_of[0] in facts


def test_facts_of_the_methods_that_ship() -> None:
    facts = find_facts()
    roles = {role: {name for name in facts if facts[name].role == role} for role in ("source", "baseline")}
    assert roles["source"] == {"ghn", "dataset"}
    assert roles["baseline"] == {"nearest", "noise", "average", "average_aligned", "gaussian", "random", "distil"}
    assert [name for name in facts if facts[name].seen_only] == ["dataset"]
    assert [name for name in facts if "hypernetworks" in facts[name].reads] == ["ghn"]
    ours = ["latent_ghn", "latent_ghn_weights"]
    assert [name for name in facts if facts[name].role == "generator" and not facts[name].reference] == ours


def test_reading_facts_imports_no_torch() -> None:
    code = "import sys; from nnbench.facts import find_facts; find_facts(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("class Method: name, seen_only = 'mine', True", Facts(name="mine", seen_only=True)),
        (
            "class Method:\n    name = 'mine'\n    role = reference = 'source'",
            Facts(name="mine", role="source", reference="source"),
        ),
        (
            "from nnbench.api import Untrained\nclass Method(Untrained): name = 'mine'",
            Facts(name="mine", role="baseline"),
        ),
        (
            "from nnbench.methods import ghn as other\nclass Method(other.Method): name: str = 'mine'",
            Facts(name="mine", role="source", reads=("hypernetworks",), writes=("widths", "depths")),
        ),
        (
            "import nnbench.methods.dataset\nclass Base(nnbench.methods.dataset.Method): reads = ()\n"
            "class Method(Base): role = 'baseline'",
            Facts(name="dataset", role="baseline", reads=(), seen_only=True),
        ),
        (
            "from nnbench.methods.ghn import Method\nclass Method(Method): name = 'mine'",
            Facts(name="mine", role="source", reads=("hypernetworks",), writes=("widths", "depths")),
        ),
        (
            "from nnbench.methods.random import Method",
            Facts(name="random", role="baseline", reads=(), writes=("widths", "depths")),
        ),
        ("raise RuntimeError\nfrom elsewhere import Thing\nclass Method(Thing): pass", Facts(name="mine")),
    ],
)
def test_literals_are_inherited_as_in_python(text: str, expected: Facts, tmp_path: Path) -> None:
    path = plugin(tmp_path, text)
    assert read_facts(Location("mine", str(path), path)) == expected
    assert find_facts([path])["mine"] == expected


def test_relative_imports_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "somebody"
    (package / "inner").mkdir(parents=True)
    plugin(package, "raise RuntimeError('imported')", "__init__")
    plugin(package / "inner", "from ..base import Base as Parent\nclass Method(Parent): name = 'theirs'", "__init__")
    plugin(package, "class Base: role = 'baseline'", "base")
    monkeypatch.syspath_prepend(str(tmp_path))
    location = Location("theirs", "entry point somebody.inner", "somebody.inner")
    assert read_facts(location) == Facts(name="theirs", role="baseline")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Method: role = 'floor'", "method mine: role is 'floor', expected one of generator, baseline, source"),
        ("class Method: reads = 'weights'", r"method mine: reads is 'weights', expected a tuple of weights, states"),
        ("class Method: variant_of = 'nnit'", "method mine: variant_of is 'nnit', expected None, or the name"),
        ("class Method: trained_as = 3", "method mine: trained_as is 3, expected None or the name of a method"),
        ("class Method: name = 3", "a method's name is 3, expected a string"),
        ("WORD = 'source'\nclass Method: role = WORD", r"mine\.py, line 2: role must be a literal"),
        ("class Method(: pass", r"mine\.py: the facts cannot be read: "),
        ("", r"mine\.py: no class Method"),
    ],
)
def test_a_plugin_whose_facts_are_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FactsError, match=message):
        find_facts([plugin(tmp_path, text)])


def test_a_plugin_may_not_have_the_name_of_another_method(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="two methods are called 'ghn'"):
        find_facts([plugin(tmp_path, "class Method: pass", "ghn")])


def test_facts_survive_json() -> None:
    facts = Facts(name="mine", variant_of=("nnit", "other"), reads=("weights", "expert"))
    assert Facts.from_json(json.loads(json.dumps(asdict(facts)))) == facts
    with pytest.raises(FactsError, match="not the facts of a method"):
        Facts.from_json({"colour": "blue"})
