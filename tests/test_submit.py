"""docs/submit.md at toy size: its commands work, one after the other, and what it says of folders is so."""

import re
import shlex
from pathlib import Path

import pytest
from helpers import run_command

from nnbench.protocol import PROTOCOLS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "submit.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
TOY = {
    "run": "--n 3 --top-k 2 --episodes 2 --test-episodes 2 --workers 1",
    "verify": "--rollouts 2 --workers 1",
}
TINY_SPLITS = {"unseen": "16-16-16-32", "seen": "16-16-32-32"}


def _method() -> str:
    """The README's."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return next(block for block in blocks if "class Method" in block)


@pytest.mark.slow
def test_the_pages_commands_end_in_a_verified_archive(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(_method())
    assert [shlex.split(line)[1] for line in COMMANDS] == ["check", "run", "run", "publish", "verify"]
    for line in COMMANDS:
        _, verb, *arguments = shlex.split(line)
        text = " ".join([*arguments, TOY.get(verb, "")]).replace("--task all", "--task PickCube-v1")
        for split, arch in TINY_SPLITS.items():
            text = text.replace(f"--split {split}", f"--split {split} --archs {arch}")
        done = run_command(verb, *text.split(), cwd=tmp_path)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    units = [line for line in done.stdout.splitlines() if line.startswith("ok     mine-PickCube-v1-")]
    assert len(units) == 2 and all("weights of 2 samples; sample" in line for line in units)
    assert [path.name for path in (tmp_path / "submission").iterdir()] == ["mine-PickCube-v1.tar.xz"]
    assert (tmp_path / "runs" / "methods" / "mine" / "PickCube-v1" / "seed-0" / "manifest.json").exists()


def test_the_page_names_the_folders_of_the_protocols() -> None:
    named = {name: digits for digits, name in re.findall(r"results/reference/(\w+)`\s+for\s+`(\w+)`", PAGE)}
    assert named == {name: protocol.short for name, protocol in PROTOCOLS.items()}
    assert all((ROOT / "results" / "reference" / digits).is_dir() for digits in named.values())


def test_citation_and_changelog_are_of_this_version() -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^## \[{re.escape(version)}\] - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
