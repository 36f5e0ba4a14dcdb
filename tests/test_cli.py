"""The command as a person types it, in a process of its own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import run_command

from nnbench.commands.options import Scale
from nnbench.protocol import Protocol
from nnbench.tasks.zoo.manifest import SHIPPED


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom nnbench.commands.main import main\nsys.argv = ['nnbench', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'scipy', 'sapien', 'mani_skill', 'gymnasium', 'matplotlib', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(
        verb in done.stdout for verb in ("run", "table", "train", "methods", "expert", "zoo", "report", "figure")
    )


def test_table_without_results_prints_the_rows_that_ship_beside_the_papers(tmp_path: Path) -> None:
    done = run_command("table", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert [line[:7] for line in done.stdout.splitlines() if line.startswith("Table")] == [
        "Table 2",
        "Table 3",
        "Table 4",
    ]
    assert max(map(len, done.stdout.splitlines())) <= 100
    seen, unseen, _ = (line.split() for line in done.stdout.splitlines() if line.split()[:1] == ["nnit"])
    assert seen[1] == "98.4" and unseen[1] == "98.9" and unseen[3:5] == ["99", "96"]


def test_protocols_go_by_name_and_numbers_beside_a_name_count(tmp_path: Path) -> None:
    asked = ("--protocol", "quick", "--n", "2", "--top-k", "1", "--episodes", "1", "--test-episodes", "1")
    done = run_command("run", "--method", "nit", *asked, cwd=tmp_path)
    assert "unknown method 'nit'" in done.stderr
    assert Scale(protocol="quick").chosen().short == "127e5fbe783c" and Scale().chosen() == Protocol()
    mixed = Scale(protocol="quick", top=2, selection_episodes=4).chosen()
    assert mixed == Protocol(samples=50, top=2, selection_episodes=4, screening_episodes=4, test_episodes=50)


def test_methods_are_listed_with_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise RuntimeError('listing must not import')\n")
    done = run_command("methods", "--plugin", "mine.py", cwd=tmp_path)
    assert done.returncode == 1  # it has no class
    assert done.stderr == "nnbench: mine cannot be used, for the reason printed above\n"
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert "mine" in names and {"dataset", "ghn", "nnit"} < set(names) and names == sorted(names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--method", "nit"], "unknown method 'nit'; did you mean 'nnit'? known: average, average_aligned, "),
        (["run", "--method", "ghn", "--task", "PickCub"], "unknown task 'PickCub': expected one of PickCube-v1"),
        (["run", "--method", "nearest", "--split", "joint"], "method nearest does not choose architectures"),
        (["roundtrip", "--method", "nearest"], "method nearest does not encode policies (no `reconstruct`)"),
        (["run", "--method"], "--method: no method is named; `nnbench methods` lists them"),
        (["run", "--method", "nearest", "--zoo", "nowhere"], "nowhere/PickCube-v1: no zoo of PickCube-v1 here"),
        (["zoo", "verify", "--zoo", "nowhere"], "nowhere/PickCube-v1: no zoo of PickCube-v1 here"),
        (["zoo", "build", "--hypernetworks", "0"], "--hypernetworks 0: expected at least 1"),
        (["expert", "score", "--expert", "nothing"], "nothing: no expert"),
        (["figure", "6", "--archs", "64-64-64-64"], "nnit on PickCube-v1, 64-64-64-64, was not measured with "),
        (
            ["render", "--archs", "32-32-16-64"],
            "results/runs: nnit on PickCube-v1, 32-32-16-64, was not measured with ",
        ),
        (["figure", "novelty", "--task", "PickCub"], "unknown task 'PickCub': expected one of PickCube-v1"),
    ],
)
def test_wrong_input_is_one_line_and_exit_status_1(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run_command(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"nnbench: {message}") and len(done.stderr.strip().splitlines()) == 1


def test_a_damaged_bank_of_states_is_found_by_verify(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "PickCube-v1", tmp_path / "PickCube-v1")
    asked = ("zoo", "verify", "--zoo", ".", "--policies", "0")
    assert run_command(*asked, cwd=tmp_path).returncode == 0
    bank = tmp_path / "PickCube-v1" / "bank.safetensors"
    content = bytearray(bank.read_bytes())
    content[-1] ^= 1
    bank.write_bytes(content)
    done = run_command(*asked, cwd=tmp_path)
    assert done.returncode == 1 and "bank.safetensors: not what was written" in done.stderr


@pytest.mark.slow
def test_the_split_joint_ends_in_table_3(tmp_path: Path) -> None:
    scale = ("--n", "3", "--top-k", "2", "--episodes", "1", "--test-episodes", "1", "--workers", "1")
    done = run_command("run", "--method", "dataset", "--split", "joint", *scale, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("dataset ")]
    assert re.match(r"dataset +\*\d", row) and "Table 3" in done.stdout


@pytest.mark.slow
def test_a_round_trip_prints_what_was_asked_for_whatever_else_is_stored(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from nnbench.methods import nearest\n"
        "class Method(nearest.Method):\n"
        "    name = 'mine'\n"
        "    def reconstruct(self, policies, arch):\n"
        "        return [{key: value / 2 for key, value in policy.items()} for policy in policies]\n"
    )
    asked = ("--method", "mine", "--plugin", "mine.py", "--archs", "16-16-16-64", "--workers", "1")
    for episodes in ("1", "2"):
        done = run_command("roundtrip", *asked, "--episodes", episodes, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (row,) = [line.split() for line in done.stdout.splitlines() if line.split()[:1] == ["mine"]]
        assert row[5] == episodes and row[-1] == "0.500"
    done = run_command("table", "roundtrip", "--results", "results/runs", cwd=tmp_path)
    assert done.returncode == 1 and "on 1 episodes and " in done.stderr and "do not average" in done.stderr


@pytest.mark.slow
def test_a_failing_unit_is_named_and_the_others_are_finished(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from nnbench.methods import nearest\n"
        "class Method(nearest.Method):\n"
        "    name = 'mine'\n"
        "    def generate(self, arch, n, *, seed=0):\n"
        "        assert arch != (16, 16, 16, 32), 'not this one'\n"
        "        return super().generate(arch, n, seed=seed)\n"
    )
    scale = ("--n", "2", "--top-k", "1", "--episodes", "1", "--test-episodes", "1")
    asked = ("--plugin", "mine.py", "--archs", "16-16-16-32,32-32-16-64", *scale)
    done = run_command("run", "--method", "mine", *asked, cwd=tmp_path)
    assert done.returncode == 1
    failed = "nnbench: method mine: generate(16-16-16-32, 2, seed=0) raised AssertionError: not this one"
    assert failed in done.stderr.splitlines() and "nnbench: 1 units failed" in done.stderr
    assert [path.stem[:32] for path in (tmp_path / "results/runs").glob("*.json")] == [
        "mine-PickCube-v1-32-32-16-64-s0-"
    ]


def test_the_pages_generators_conform(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    for page, name, distance in (("README.md", "mine", "0."), ("docs/add-a-generator.md", "scales", "2.")):
        blocks = re.findall(r"```python\n(.*?)```", (root / page).read_text(), re.DOTALL)
        (code,) = [block for block in blocks if "class Method" in block]
        (tmp_path / f"{name}.py").write_text(code)
        done = run_command("check", name, "--plugin", f"{name}.py", cwd=tmp_path)
        assert done.returncode == 0 and f"distance to training: its samples lie {distance}" in done.stdout

    (tmp_path / "bad.py").write_text(
        (tmp_path / "mine.py").read_text().replace('"mine"', '"bad"').replace("range(n)", "range(3)")
    )
    done = run_command("check", "bad", "--plugin", "bad.py", cwd=tmp_path)
    assert done.returncode == 1 and "expected a list of 5 state dicts" in done.stdout
    assert done.stderr.startswith("nnbench: bad: ") and "checks failed" in done.stderr
