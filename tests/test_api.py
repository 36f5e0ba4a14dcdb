"""The Python API: what somebody types into a notebook."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nnbench
from nnbench.api import Architecture, Untrained, Weights
from nnbench.tasks.policies.resizing import nearest_networks

TINY = nnbench.Protocol(samples=3, top=1, selection_episodes=2, screening_episodes=2, test_episodes=2)
REFERENCE = Path(__file__).parent.parent / "results" / "reference" / "127e5fbe783c"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'pandas', 'pyarrow', 'scipy', 'sapien', 'mani_skill', 'matplotlib', 'tyro'}"
    assert _python(f"import sys, nnbench; print(sorted({heavy} & set(sys.modules)))") == "[]\n"


def test_every_name_it_promises_is_there() -> None:
    assert all(callable(getattr(nnbench, name)) for name in nnbench.__all__)
    assert set(nnbench.__all__) <= set(dir(nnbench))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        nnbench.nothing  # noqa: B018


def test_tables_rows_and_facts_need_no_torch() -> None:
    code = (
        "import sys, nnbench\n"
        f"print(len(nnbench.tables(['2', 'novelty'], results={str(REFERENCE)!r})))\n"
        f"print(len(nnbench.load_results({str(REFERENCE)!r}, 'policies')) > 0)\n"
        "print(any(method.facts.name == 'nnit' for method in nnbench.list_methods()))\n"
        "print('torch' in sys.modules)"
    )
    assert _python(code).split() == ["2", "True", "True", "False"]


def _own(role: str, scale: float) -> type[Any]:
    """A class that no other process can import."""

    class Method(Untrained):
        name = f"own_{role}"

        def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
            networks = list(nearest_networks(arch, self.training).values())[:n]
            return [{key: scale * value for key, value in network.items()} for network in networks]

    Method.role = role  # type: ignore[assignment]
    return Method


@pytest.mark.slow
def test_a_class_is_measured_without_a_file_and_shown_beside_other_methods() -> None:
    asked: dict[str, Any] = {"archs": "32-32-16-64", "protocol": TINY, "workers": 1}
    work = nnbench.run(["nearest", _own("baseline", 0.5), _own("generator", 1.0)], **asked)
    assert len(work) == 3
    outcomes = list(work)
    assert [outcome.unit.method for outcome in outcomes] == ["nearest", "own_baseline", "own_generator"]
    assert all(outcome.error is None and outcome.seconds and outcome.counts for outcome in outcomes)
    assert len(nnbench.run("nearest", **asked)) == 0

    rows = nnbench.load_results()
    assert set(rows["method"]) == {"nearest", "own_baseline", "own_generator"}
    policies = nnbench.load_results(rows="policies", task="PickCube-v1")
    assert len(policies) == 3 * TINY.samples and policies["ghn_distance"].notna().all()


def test_what_cannot_be_asked_for_is_refused_before_anything_is_simulated() -> None:
    with pytest.raises(nnbench.NnbenchError, match="method nearest does not choose architectures"):
        nnbench.run("nearest", split="joint")
    with pytest.raises(nnbench.NnbenchError, match="--method: no method is named"):
        nnbench.run([])
    with pytest.raises(nnbench.NnbenchError, match="no zoo of PickCube-v1 here"):
        nnbench.run("nearest", zoo="nowhere")


def test_check_says_what_a_method_does_wrong() -> None:
    class Method(Untrained):
        name = "short"

        def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
            return []

    results = nnbench.check(Method)
    failed = [result for result in results if not result.passed]
    assert failed and "expected a list of" in failed[0].message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nnbench.run("nearest", seed=-1), "--seed -1: expected 0 to 2147483647"),
        (lambda: nnbench.run("nearest", workers=0), "workers=0: expected at least 1"),
        (lambda: nnbench.run("nearest", workers=1.5), "workers=1.5: expected at least 1, a whole"),  # type: ignore[arg-type]
        (lambda: nnbench.run("nearest", seed=True), "--seed True: expected 0 to"),
        (lambda: nnbench.run([nnbench.list_methods()[0]]), "expected a name that `nnbench methods` lists, or a class"),  # type: ignore[list-item]
        (lambda: nnbench.load_results(rows="nets"), "rows='nets': expected 'episodes' or 'policies'"),  # type: ignore[arg-type]
        (lambda: nnbench.tables("9"), "table '9': expected one of"),
        (lambda: nnbench.tables("2").render("html"), "form 'html': expected one of text"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_is_named(call: Any, message: str) -> None:
    with pytest.raises(nnbench.NnbenchError, match=re.escape(message)):
        call()


@pytest.mark.slow
def test_a_script_without_its_guard_is_told_so(here: Path) -> None:
    """Processes that are spawned run the script again."""
    asked = "archs='32-32-16-64', workers=1"
    (here / "script.py").write_text(f"import nnbench\nprint(*nnbench.run('nearest', {asked}))\n")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    assert done.returncode == 1 and 'below `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]
