"""The four folders are one package, and only as that package can they be imported."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"benchmark": "nnbench", "methods": "nnbench.methods", "tasks": "nnbench.tasks", "slurm": "nnbench.slurm"}


@pytest.mark.parametrize("folder", FOLDERS)
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
    assert data == listed
    assert packages == set(config["packages"]), "a folder of a method needs its own entry in [tool.setuptools]"


def test_tasks_and_methods_do_not_reach_into_the_harness() -> None:
    allowed = {
        "tasks": ("nnbench.tasks", "nnbench.errors"),
        "methods": ("nnbench.tasks", "nnbench.errors", "nnbench.methods", "nnbench.api"),
    }
    for folder, prefixes in allowed.items():
        for path in (ROOT / folder).rglob("*.py"):
            for line in path.read_text().splitlines():
                words = line.split()
                if words[:1] in (["import"], ["from"]) and words[1].startswith("nnbench"):
                    assert words[1].startswith(prefixes), f"{path.name}: {line}"
