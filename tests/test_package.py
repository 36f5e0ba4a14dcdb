"""The folders are one package, and only as that package can they be imported."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from nnbench.discovery import find_methods

ROOT = Path(__file__).parent.parent
ROOMS = {"benchmark": "nnbench", "methods": "nnbench.methods", "tasks": "nnbench.tasks", "slurm": "nnbench.slurm"}
FOLDERS = ROOMS | {"results": "nnbench.results"}
OWN_RESULTS = ROOT / "results" / "runs"


@pytest.mark.parametrize("folder", ROOMS)
def test_importing_a_folder_by_its_own_name_says_what_to_import(folder: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"import {FOLDERS[folder]} (pip install -e .), not the folder '{folder}'" in done.stderr


def test_every_package_and_data_file_is_listed_for_the_wheel() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages, listed, data = set(), set(), set()
    for folder, package in FOLDERS.items():
        assert config["package-dir"][package] == folder
        for init in (ROOT / folder).rglob("__init__.py"):
            name = ".".join((package, *init.parent.relative_to(ROOT / folder).parts))
            packages.add(name)
            listed |= {path for pattern in config["package-data"].get(name, []) for path in init.parent.glob(pattern)}
        data |= {path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {path for path in data if not path.is_relative_to(OWN_RESULTS)} == listed
    assert packages == set(config["packages"]), "a folder of a method needs its own entry in [tool.setuptools]"


# What each room may import: the rooms named here and all that these may. Longer names first: the part that fits counts.
_TASKS = "nnbench.tasks"
_BELOW = {
    "nnbench.errors": [],
    "nnbench.results": [],
    "nnbench.folders": ["nnbench.errors"],
    "nnbench.methods._machine": [],
    _TASKS: ["nnbench.errors"],  # task, files, policies, and the tasks that ship
    "nnbench.sources": ["nnbench.errors"],
    f"{_TASKS}.registry": [_TASKS, "nnbench.sources"],
    f"{_TASKS}.simulation": [f"{_TASKS}.registry"],
    f"{_TASKS}.zoo": [f"{_TASKS}.simulation"],
    "nnbench.discovery": ["nnbench.sources"],
    "nnbench.facts": ["nnbench.discovery"],
    "nnbench.api": [f"{_TASKS}.zoo", "nnbench.facts"],
    "nnbench.methods": ["nnbench.api", "nnbench.methods._machine"],
    "nnbench.code": ["nnbench.facts"],
    "nnbench.registry": ["nnbench.api", "nnbench.code"],
    "nnbench.protocol": [_TASKS],
    "nnbench.store": ["nnbench.protocol", "nnbench.folders", f"{_TASKS}.zoo"],
    "nnbench.harness": ["nnbench.store", "nnbench.registry", "nnbench.methods._machine"],
    "nnbench.analysis": ["nnbench.store", "nnbench.facts"],
    "nnbench.presentation": ["nnbench.analysis"],
    "nnbench.zoos": [f"{_TASKS}.zoo"],
    "nnbench.reading": ["nnbench.presentation", "nnbench.zoos"],
    "nnbench.preparing": ["nnbench.harness", "nnbench.zoos"],
    "nnbench.measuring": ["nnbench.preparing", "nnbench.reading"],
    "nnbench.verifying": ["nnbench.harness"],
    "nnbench": ["nnbench.measuring", "nnbench.verifying"],  # its own file, the API
    "nnbench.slurm": ["nnbench"],
    "nnbench.commands": ["nnbench.slurm"],
}


def _modules() -> dict[str, Path]:
    """Every module of the package, and its file."""
    return {
        ".".join(
            (package, *(part for part in path.relative_to(ROOT / folder).with_suffix("").parts if part[:2] != "__"))
        ): path
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }


def _imports(node: ast.AST, modules: Collection[str]) -> Iterator[str]:
    """The modules that it imports, in functions too, but not those that only types need."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            names = [f"{child.module}.{alias.name}" for alias in child.names]
            yield from (name if name in modules else str(child.module) for name in names)
        else:
            yield from _imports(child, modules)


def _room(module: str) -> str:
    return max((room for room in _BELOW if room == module or module.startswith(f"{room}.")), key=len)


def _below(room: str) -> set[str]:
    return {room}.union(*map(_below, _BELOW[room]))


def test_the_arrows_between_rooms_run_one_way() -> None:
    """A room that were below itself would end in a RecursionError."""
    modules = _modules()
    wrong = [
        f"{module} imports {imported}"
        for module, path in modules.items()
        for imported in _imports(ast.parse(path.read_text()), modules)
        # That `nnbench.methods` is imported tells where methods are; what is wrong is to import one of them.
        if imported.split(".")[0] == "nnbench" and imported != "nnbench.methods"
        if _room(imported) not in _below(_room(module))
    ]
    assert wrong == []


_NO_METHODS = {
    ("harness/isolation.py", "random"),  # a generator of random numbers
    ("presentation/figures/drawing.py", "nearest"),  # how matplotlib scales an image
    ("presentation/tables/zoo.py", "ghn"),  # a column of the paper's Table 1
}


def test_no_module_of_the_benchmark_names_a_method() -> None:
    """What is said of a method is a fact on its class, or a number that the paper printed for a task."""
    names, found = {location.name for location in find_methods()}, set()
    for path in (ROOT / "benchmark").rglob("*.py"):
        tree = ast.parse(path.read_text())
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found |= {
            (str(path.relative_to(ROOT / "benchmark")), node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value in names and id(node) not in prose
        }
    assert found == _NO_METHODS
