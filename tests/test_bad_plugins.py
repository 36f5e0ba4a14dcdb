"""Plugins that are wrong in every way, each from the command line on: one line, exit code 1, and nobody else is harmed.

What `generate` may do wrong is in `test_isolation.py`. By default a few of these are run, with NNBENCH_SUITE=full all.
"""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from nnbench.store.store import Store

FULL = os.environ.get("NNBENCH_SUITE") == "full"

_QUICK = """
import multiprocessing, sys
get_context = multiprocessing.get_context
multiprocessing.get_context = lambda kind=None: get_context("forkserver" if kind == "spawn" else kind)
multiprocessing.set_forkserver_preload(["nnbench.harness.trained", "nnbench.harness.checking"])
from nnbench.commands.main import main
sys.argv[0] = "nnbench"
if __name__ == "__main__":
    main()
"""


def run_command(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """`nnbench` with what it printed. Its many processes are forked off one that has imported torch: seconds each."""
    code = [sys.executable, "-c", _QUICK, *arguments]
    return subprocess.run(code, cwd=cwd, capture_output=True, text=True, timeout=1800)


BODY = """
import os, sys, threading, time
import torch
from pathlib import Path
from nnbench.api import Untrained
from nnbench.methods import nearest
{top}

class Method(nearest.Method):
    name = "{name}"
{body}
"""


def fit(statements: str) -> tuple[str, str]:
    return (
        "",
        f"@classmethod\ndef fit(cls, training, *, seed, directory):\n{_indent(statements)}\n    return cls(training)",
    )


def save(statements: str) -> tuple[str, str]:
    return "", f"def save(self, directory):\n{_indent(statements)}"


def load(statements: str) -> tuple[str, str]:
    return "", f"@classmethod\ndef load(cls, directory, training):\n{_indent(statements)}"


def generate(statements: str) -> tuple[str, str]:
    return "", f"def generate(self, arch, n, *, seed=0):\n{_indent(statements)}"


def _indent(statements: str) -> str:
    return textwrap.indent(textwrap.dedent(statements), "    ")


MUTE = "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()"

PLUGINS: dict[str, tuple[tuple[str, str], str]] = {
    # At import
    "import_raises": (("raise RuntimeError('one\\ntwo')", ""), "cannot be imported: RuntimeError: one two"),
    "import_mute": ((MUTE, ""), r"cannot be imported: Mute: \(its message cannot be printed: ZeroDivisionError\)"),
    "import_exits": (("sys.exit(0)", ""), "cannot be imported: SystemExit: 0"),
    "import_dies": (("os._exit(0)", ""), "importing it.* ended its process, exit code 0"),
    "import_killed": (("os.kill(os.getpid(), 9)", ""), "importing it.* ended its process, signal SIGKILL"),
    "import_missing": (("import a_module_nobody_has", ""), "module 'a_module_nobody_has' is not installed"),
    "import_no_name": (("from os import nothing_there", ""), "cannot be imported: cannot import name 'nothing_there'"),
    "import_interrupts": (("raise KeyboardInterrupt", ""), "cannot be imported: KeyboardInterrupt"),
    # In the class
    "lacks_generate": (("", "\n\nclass Method:\n    name = 'lacks_generate'"), "class Method lacks "),
    "no_class": (("", "\n\nMethod = 3"), "no class Method"),
    "bad_role": (("", "role = 'floor'"), "role is 'floor', expected one of generator, baseline, source"),
    "bad_reads": (("", "reads = ('minds',)"), r"reads is \('minds',\), expected a tuple"),
    "bad_facts_later": (("", "\nMethod.seen_only = 1"), "seen_only is 1, expected True or False"),
    "is_abstract": (("import abc", "@abc.abstractmethod\ndef generate(self): ..."), "lacks generate"),
    # In fit
    "fit_raises": (fit("raise IndexError('list index out of range')"), "fit raised IndexError: list index out of"),
    "fit_mute": (fit(MUTE), r"fit raised Mute: \(its message cannot be printed"),
    "fit_exits": (fit("sys.exit(0)"), "fit raised SystemExit: 0"),
    "fit_interrupts": (fit("raise KeyboardInterrupt"), "fit raised KeyboardInterrupt"),
    "fit_dies": (fit("os._exit(0)"), "ended its process, exit code 0; return or raise"),
    "fit_killed": (fit("os.kill(os.getpid(), 15)"), "ended its process, signal SIGTERM"),
    "fit_segfaults": (fit("import ctypes; ctypes.string_at(0)"), "ended its process, signal SIGSEGV"),
    "fit_aborts": (fit("os.abort()"), "ended its process, signal SIGABRT"),
    "fit_closes": (fit("os.closerange(0, 500)"), "ended its process, "),
    "fit_memory": (fit("bytearray(10**18)"), "fit raised MemoryError"),
    "fit_recurses": (fit("f = lambda g: g(g)\nf(f)"), "fit raised RecursionError"),
    "fit_thread": (
        fit("threading.Thread(target=time.sleep, args=(1e4,), name='left').start()"),
        r"fit left threads running \(left\); join them",
    ),
    "fit_folder": (fit("os.chdir('/')"), "fit changed the current folder; leave it as it is"),
    "fit_no_folder": (
        fit("import tempfile; f = tempfile.mkdtemp(); os.chdir(f); os.rmdir(f)"),
        "fit changed the current folder",
    ),
    "fit_environment": (fit("os.environ['PATH'] = '/'"), r"fit changed environment variables \(PATH\)"),
    "fit_writes_zoo": (
        fit("next(iter(training.networks(training.architectures[0]).values()))['0.bias'].zero_()"),
        "(wrote|writes) into the training networks",
    ),
    "fit_held_out": (fit("training.networks((32, 32, 16, 64))"), "HeldOutAccess|reads what it must not"),
    "fit_nothing": (("", "@classmethod\ndef fit(cls, training, *, seed, directory): ..."), "fit returned NoneType"),
    "fit_other": (("", "@classmethod\ndef fit(cls, training, *, seed, directory): return 3"), "fit returned int"),
    "fit_arguments": (("", "@classmethod\ndef fit(cls): ..."), "fit raised TypeError"),
    # In save
    "save_raises": (save("raise OSError('disk full')"), "raised OSError: disk full"),
    "save_dies": (save("os._exit(0)"), "ended its process, exit code 0"),
    "save_manifest": (save("(directory / 'manifest.json').write_text('{}')"), "manifest.json, which nnbench writes"),
    "save_pickle": (save("torch.save({}, directory / 'model.pt')"), "model.pt"),
    "save_folder": (save("(directory / 'model.json').mkdir()"), "model.json"),
    "save_link": (save("(directory / 'model.json').symlink_to('/etc/hostname')"), "model.json"),
    "save_pipe": (save("os.mkfifo(directory / 'model.json')"), "model.json"),
    "save_odd_name": (save("(directory / 'a\\nb.json').write_text('{}')"), "a.*b.json"),
    "save_no_tensors": (
        save("(directory / 'model.safetensors').write_text('no')"),
        "model.safetensors, which cannot be read",
    ),
    "save_away": (save("import shutil; shutil.rmtree(directory)"), "save removed its folder"),
    # In load
    "load_raises": (load("raise KeyError('weights')"), "raised KeyError: 'weights'"),
    "load_dies": (load("os.kill(os.getpid(), 9)"), "ended its process, signal SIGKILL"),
    "load_nothing": (load("return None"), "load returned NoneType"),
    "load_other": (load("return 3"), "load returned int"),
    # In what is asked of it
    "generate_raises": (generate("raise ValueError('no\\n\\nluck')"), "raised ValueError: no luck"),
    "generate_dies": (generate("os._exit(0)"), "ended its process, exit code 0; return or raise"),
    "generate_nothing": (generate("..."), "returned NoneType, expected a list of"),
    "generate_closes_output": (generate("sys.stderr.close(); sys.stdout.close(); return []"), "returned 0 networks"),
    "generate_arguments": (("", "def generate(self, arch): ..."), "raised TypeError|must work without `seed`"),
    "joint_raises": (("", "def generate_joint(self, n, *, seed=0): raise IOError('x')"), "raised OSError: x"),
    "reconstruct_few": (("", "def reconstruct(self, policies, arch): return []"), "returned 0 networks, expected a"),
}
"""The code at the top of the file and in the body of the class, and what is said of it."""

ONLY_CHECKED = {"joint_raises", "reconstruct_few"}
"""What `run` does not ask for."""
NAMED_BY_COMMAND = {"bad_role", "bad_reads", "no_class", "lacks_generate"}
"""What is wrong in the source, so that no method of that name can be asked for."""

DEFAULT = ("import_dies", "fit_exits", "save_manifest", "generate_raises")
SCALE = ("--archs", "16-16-16-32", "--n", "2", "--top-k", "1", "--episodes", "1", "--test-episodes", "1")


def write(folder: Path, name: str) -> Path:
    top, body = PLUGINS[name][0]
    text = BODY.replace("{top}", top).replace("{name}", name).replace("{body}", textwrap.indent(body, "    "))
    if name in ("lacks_generate", "no_class", "bad_facts_later"):  # below the class, not in it
        head, _, below = body.partition("\n")
        text = BODY.replace("{top}", top).replace("{name}", name).replace("{body}", f"    x = 0\n{below}")
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


@pytest.mark.slow
def test_no_bad_plugin_costs_another_its_rows(tmp_path: Path) -> None:
    names = [name for name in (PLUGINS if FULL else DEFAULT) if name not in ONLY_CHECKED | NAMED_BY_COMMAND]
    plugins = [str(write(tmp_path, name)) for name in names]
    asked = ("run", "--method", *names, "nearest", "--plugin", *plugins, *SCALE, "--workers", "1")
    done = run_command(*asked, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stdout, done.stderr[-3000:]
    for name in names:
        lines = [line for line in done.stderr.splitlines() if line.startswith("nnbench: ") and name in line]
        assert len(lines) == 1 and re.search(PLUGINS[name][1], lines[0]), (name, lines)
    assert f"nnbench: {len(names)} units failed, each for the reason printed above" in done.stderr
    rows = Store(tmp_path / "results/runs").rows()
    assert set(rows["method"].to_pylist()) == {"nearest"} and "nearest" in done.stdout


@pytest.mark.parametrize("name", PLUGINS if FULL else DEFAULT[:2])
@pytest.mark.slow
def test_check_names_what_failed(tmp_path: Path, name: str) -> None:
    done = run_command("check", name, "--plugin", str(write(tmp_path, name)), cwd=tmp_path)
    assert done.returncode == 1
    said = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    found = [line for line in said if re.search(PLUGINS[name][1], line)]
    assert found and all(line.startswith(("FAILED ", "nnbench: ")) for line in found), done.stdout + done.stderr
    assert "Traceback" not in done.stdout


def _count(folder: Path, *arguments: str) -> int:
    """How many units `nnbench run` had to do."""
    done = run_command("run", *arguments, *SCALE, "--workers", "1", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = re.search(r"(\d+) of (\d+) units to do", done.stderr)
    assert found is not None
    return int(found[1])


MINE = """
from helper_of_mine import shift
from nnbench.methods import nearest

class Method(nearest.Method):
    name = "mine"

    def generate(self, arch, n, *, seed=0):
        written = super().generate(arch, n, seed=seed)
        return [{key: value + shift() for key, value in sample.items()} for sample in written]
"""


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="takes minutes: NNBENCH_SUITE=full runs it")
def test_an_edited_plugin_and_an_edited_module_of_it_run_anew(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "helper_of_mine.py").write_text("def shift(): return 0.0\n")
    asked = ("--method", "mine", "--plugin", str(tmp_path / "mine.py"))
    assert (_count(tmp_path, *asked), _count(tmp_path, *asked)) == (1, 0)
    (tmp_path / "helper_of_mine.py").write_text("def shift(): return 0.1\n")
    assert (_count(tmp_path, *asked), _count(tmp_path, *asked)) == (1, 0)
    (tmp_path / "mine.py").write_text(MINE + "# edited\n")
    assert (_count(tmp_path, *asked), _count(tmp_path, *asked)) == (1, 0)
    rows = Store(tmp_path / "results/runs").rows()
    assert len(set(rows["method_sha256"].to_pylist())) == 3


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="takes minutes: NNBENCH_SUITE=full runs it")
def test_an_edited_installed_package_runs_anew_and_a_broken_one_costs_only_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    package, info = site / "theirs_package", site / "theirs-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").touch()
    (package / "method.py").write_text(MINE.replace('"mine"', '"theirs"').replace("helper_of_mine", ".helper"))
    (package / "helper.py").write_text("def shift(): return 0.0\n")
    (package / "wrong.py").write_text("class Method: role = 'floor'\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    points = ["theirs = theirs_package.method", "gone = nobody_has_this", "nearest = theirs_package.method"]
    points += ["wrong = theirs_package.wrong", "no_class = theirs_package.helper"]
    (info / "entry_points.txt").write_text("[nnbench.methods]\n" + "\n".join(points) + "\n")
    (info / "RECORD").write_text("theirs_package/__init__.py,,\n")
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)

    assert (_count(tmp_path, "--method", "theirs"), _count(tmp_path, "--method", "theirs", "nearest")) == (1, 1)
    (package / "helper.py").write_text("def shift(): return 0.1\n")
    assert (_count(tmp_path, "--method", "theirs"), _count(tmp_path, "--method", "theirs", "nearest")) == (1, 0)
    for name, said in (("gone", "no module nobody_has_this"), ("wrong", "role is 'floor'"), ("no_class", "no class")):
        done = run_command("run", "--method", name, cwd=tmp_path)
        assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
    listed = run_command("methods", cwd=tmp_path)
    assert listed.returncode == 0 and listed.stdout.count("cannot be used: ") == 4


LEARNS = """
    def save(self, directory):
        import torch
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(2)}, directory / "a.safetensors")

"""


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="takes minutes: NNBENCH_SUITE=full runs it")
def test_what_other_code_trained_is_said_to_be(tmp_path: Path) -> None:
    learns = MINE.replace("    def generate", LEARNS + "    def generate")
    (tmp_path / "mine.py").write_text(learns)
    (tmp_path / "helper_of_mine.py").write_text("def shift(): return 0.0\n")
    asked = ("run", "--method", "mine", "--plugin", str(tmp_path / "mine.py"), *SCALE, "--workers", "1")
    assert "by other code" not in run_command(*asked, cwd=tmp_path).stderr
    (tmp_path / "helper_of_mine.py").write_text("def shift(): return 0.1\n")
    done = run_command(*asked, cwd=tmp_path)
    assert done.returncode == 0 and "was trained by other code than the method's is now" in done.stderr
    assert "1 of 1 units to do" in done.stderr
    done = run_command(*asked, "--retrain", cwd=tmp_path)
    assert done.returncode == 0 and "by other code" not in done.stderr
