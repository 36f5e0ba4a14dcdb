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
    packages = set()
    for folder, package in FOLDERS.items():
        assert config["package-dir"][package] == folder
        folders = [path.parent.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("__init__.py")]
        packages |= {".".join((package, *path.parts)) for path in folders}
        data = {path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        listed = {path for pattern in config["package-data"].get(package, []) for path in (ROOT / folder).glob(pattern)}
        assert data == listed
    assert packages == set(config["packages"]), "a folder of a method needs its own entry in [tool.setuptools]"


def test_tasks_and_methods_do_not_reach_into_the_harness() -> None:
    allowed = {"tasks": ("nnbench.tasks",), "methods": ("nnbench.tasks", "nnbench.methods", "nnbench.api")}
    for folder, prefixes in allowed.items():
        for path in (ROOT / folder).rglob("*.py"):
            for line in path.read_text().splitlines():
                words = line.split()
                if words[:1] in (["import"], ["from"]) and words[1].startswith("nnbench"):
                    assert words[1].startswith(prefixes), f"{path.name}: {line}"
