"""A method that breaks the contract is named, and costs nobody else anything."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from nnbench.api import Architecture, Untrained
from nnbench.harness.isolation import Isolated, ask
from nnbench.harness.process import MethodError
from nnbench.registry import MethodSource, load_method
from nnbench.tasks.policies.mlp import Weights, architecture_of, weights_sha256
from nnbench.tasks.zoo.zoo import Zoo

PICK_CUBE_ZOO = ("PickCube-v1", None, "paper")

ARCH = (16, 16, 16, 32)

FAULTS = {
    # What a sample is
    "wrong shape": ("samples[1]['2.weight'] = torch.zeros(16, 17)", "sample 1: .* 2.weight has shape"),
    "wrong key": ("samples[0]['fc.weight'] = samples[0].pop('2.weight')", "sample 0: .* missing 2.weight"),
    "key that is no text": ("samples[0][3] = torch.zeros(1)", "sample 0: .* unexpected 3"),
    "NaN": ("samples[2]['0.bias'][3] = float('nan')", "sample 2: .* 0.bias holds NaN or infinite values"),
    "integers": ("samples[0]['0.weight'] = samples[0]['0.weight'].int()", "0.weight has dtype torch.int32, expected"),
    "complex": ("samples[0]['0.weight'] = samples[0]['0.weight'].cfloat()", "0.weight has dtype torch.complex64"),
    "float8": ("samples[0]['0.bias'] = samples[0]['0.bias'].to(torch.float8_e4m3fn)", "has dtype torch.float8_e4m3fn"),
    "sparse": ("samples[0]['0.weight'] = samples[0]['0.weight'].to_sparse()", "0.weight is a torch.sparse_coo tensor"),
    "meta": (
        "samples[0]['0.weight'] = samples[0]['0.weight'].to('meta')",
        "0.weight is a torch.strided tensor on meta",
    ),
    "array": ("samples[0]['0.weight'] = samples[0]['0.weight'].numpy()", "0.weight is a ndarray, expected a torch.T"),
    "subclass": (
        "samples[0]['0.bias'] = samples[0]['0.bias'].as_subclass(type('Mine', (torch.Tensor,), {}))",
        "0.bias is a Mine, expected a torch.Tensor",
    ),
    "None in a sample": ("samples[0]['0.weight'] = None", "0.weight is a NoneType, expected a torch.Tensor"),
    "text in a sample": ("samples[0]['0.weight'] = 'zeros'", "0.weight is a str, expected a torch.Tensor"),
    "a module": ("samples[0] = torch.nn.ReLU()", "sample 0: expected a state dict, got ReLU"),
    "one object": ("samples[2] = samples[0]", "samples 0 and 2 that share the memory of 0.weight"),
    "a view": (
        "samples[2]['2.bias'] = samples[1]['2.bias'].view(-1)",
        "samples 1 and 2 that share the memory of 2.bias",
    ),
    # What an answer is
    "too few": ("samples.pop()", "returned 2 networks, expected a list of 3 state dicts"),
    "too many": ("samples.append(samples[0])", "returned 4 networks, expected a list of 3 state dicts"),
    "nothing": ("samples = None", "returned NoneType, expected a list of 3 state dicts"),
    "no list": ("samples = iter(samples)", "returned list_iterator, expected a list of 3 state dicts"),
    "a tuple": ("samples = tuple(samples)", "returned tuple, expected a list of 3 state dicts"),
    "a list that raises": (
        "samples = type('L', (list,), {'__iter__': lambda self: 1 / 0})(samples)",
        "raised ZeroDivisionError: division by zero",
    ),
    # What it raises
    "raises": ("raise IndexError('list index out of range')", "raised IndexError: list index out of range"),
    "raises lines": ("raise ValueError('one\\n\\ntwo')", "raised ValueError: one two"),
    "raises without words": ("raise ValueError", "raised ValueError$"),
    "raises what cannot be printed": (
        "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()",
        r"raised Mute: \(its message cannot be printed: ZeroDivisionError\)",
    ),
    "raises what cannot be encoded": ("raise ValueError('\\ud800')", "raised ValueError: .ud800"),
    "raises no Exception": ("raise type('Odd', (BaseException,), {})('odd')", "raised Odd: odd"),
    "interrupts": ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
    "exits": ("import sys; sys.exit(0)", "raised SystemExit: 0"),
    "asks": ("input()", "raised EOFError"),
    "recurses": ("f = lambda: f()\nglobals().update(f=f); scope_f = f\nf()", "raised (RecursionError|NameError)"),
    # What it changes
    "global torch": ("torch.randn(1)", "used the global random state of torch; draw from a generator of your own"),
    "global numpy": ("import numpy; numpy.random.seed(seed)", "used the global random state of numpy.random"),
    "global random": ("import random; random.random()", "used the global random state of random"),
    "folder": ("import os; os.chdir('/')", "changed the current folder; leave it as it is"),
    "environment": ("import os; os.environ['PATH'] = '/'", r"changed environment variables \(PATH\)"),
    "thread": (
        "import threading, time; threading.Thread(target=time.sleep, args=(1e4,), name='left').start()",
        r"left threads running \(left\); join them",
    ),
    "writes into the zoo": (
        "next(iter(self.training.networks(arch).values()))['0.bias'].zero_()",
        "wrote into the training networks of 16-16-16-64; clone what you change",
    ),
}
"""What a method does before it answers, and what is said of it."""

DEATHS = {
    "dies": ("import os; os._exit(3)", "ended its process, exit code 3; return or raise"),
    "dies as if all were well": ("import os; os._exit(0)", "ended its process, exit code 0; return or raise"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "ended its process, signal SIGKILL; return or raise"),
    "segfaults": ("import ctypes; ctypes.string_at(0)", "ended its process, signal SIGSEGV; return or raise"),
    "aborts": ("import os; os.abort()", "ended its process, signal SIGABRT; return or raise"),
    "closes all": ("import os; os.closerange(0, 500)", "ended its process, "),
    "leaves a child that outlives it": (
        "import os, time\nif os.fork() == 0: time.sleep(600)\nos._exit(4)",
        "ended its process, exit code 4; return or raise",
    ),
    "hangs": ("import time; time.sleep(600)", "took more than 40 s and was stopped"),
}
"""The same, of what ends the process."""

ALL = FAULTS | DEATHS


def plugin(path: Path, statements: Sequence[str]) -> Path:
    """A method that executes statements[seed] before it answers, where there is one."""
    path.write_text(
        textwrap.dedent(
            f"""
            import torch
            from nnbench.api import Untrained
            from nnbench.tasks.policies.mlp import random_policy

            class Method(Untrained):
                name = {path.stem!r}

                def generate(self, arch, n, *, seed=0):
                    rng = torch.Generator().manual_seed(seed)
                    samples = [random_policy(arch, 42, 8, rng) for _ in range(n)]
                    scope = dict(globals(), self=self, arch=arch, seed=seed, samples=samples)
                    exec({list(statements)!r}[seed] if seed < {len(statements)} else "", scope)
                    return scope["samples"]

                def generate_joint(self, n, *, seed=0):
                    archs = [(16, 16, 16, 32), (64, 24, 16, 64)] * n
                    return [(arch, self.generate(arch, 1, seed=seed)[0]) for arch in archs[:n]]
            """
        )
    )
    return path


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Isolated]:
    file = plugin(tmp_path_factory.mktemp("plugin") / "bad.py", [statement for statement, _ in ALL.values()])
    with Isolated(MethodSource.of("bad", [file]), file.parent, PICK_CUBE_ZOO, patience_s=40) as method:
        yield method


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.slow) if fault in DEATHS else fault for fault in ALL]
)
def test_every_fault_ends_in_one_line_and_the_next_call_is_unharmed(bad: Isolated, fault: str) -> None:
    seed, message = list(ALL).index(fault), ALL[fault][1]
    with pytest.raises(
        MethodError, match=rf"^method bad: generate\(16-16-16-64, 3, seed={seed}\).*{message}"
    ) as caught:
        bad.generate((16, 16, 16, 64), 3, seed=seed)
    assert "\n" not in str(caught.value)
    assert len(bad.generate((16, 16, 16, 64), 3, seed=100)) == 3


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Isolated, Path]]:
    file = plugin(tmp_path_factory.mktemp("plugin") / "good.py", ["print('garbage')"])
    with Isolated(MethodSource.of("good", [file]), file.parent, PICK_CUBE_ZOO) as method:
        yield method, file


def test_isolation_changes_no_weight(good: tuple[Isolated, Path], zoo: Zoo) -> None:
    isolated, file = good
    kind, training = load_method("good", [file]), zoo.training_set()

    def hashes(samples: list[Weights]) -> list[str]:
        assert all(torch.is_tensor(value) for sample in samples for value in sample.values())
        return [weights_sha256(sample) for sample in samples]

    here = ask(kind.load(file.parent, training), training, ARCH, 12, seed=1)
    assert hashes(isolated.generate(ARCH, 12, seed=1)) == hashes(here)


def test_a_method_may_choose_the_architectures(good: tuple[Isolated, Path], zoo: Zoo) -> None:
    chosen = good[0].generate(None, 3, seed=1)
    assert [architecture_of(sample) for sample in chosen] == [ARCH, (64, 24, 16, 64), ARCH]
    assert [list(sample) for sample in chosen] == [
        [f"{2 * i}.{kind}" for i in range(5) for kind in ("weight", "bias")]
    ] * 3

    training = zoo.training_set()
    with pytest.raises(MethodError, match="method nearest does not choose architectures"):
        ask(load_method("nearest")(training), training, None, 3, seed=0)  # type: ignore[call-arg]


def test_what_a_method_prints_is_kept_out_of_the_output(
    good: tuple[Isolated, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    good[0].generate((16, 16, 16, 64), 2)
    print(json.dumps({"ours": 1}))
    assert json.loads(capfd.readouterr().out) == {"ours": 1}


def test_a_method_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    file = plugin(tmp_path / "worse.py", [])
    loading = "    @classmethod\n    def load(cls, directory, training):\n        raise SystemExit(0)\n"
    file.write_text(f"{file.read_text()}\n{loading}")
    with Isolated(MethodSource.of("worse", [file]), tmp_path, PICK_CUBE_ZOO) as method:
        with pytest.raises(MethodError, match="method worse: loading it from .* raised SystemExit: 0"):
            method.generate(ARCH, 1)


def test_a_class_that_no_file_holds_runs_in_its_own_process(zoo: Zoo, tmp_path: Path) -> None:
    scale = 0.5

    class Scaled(Untrained):
        """What a notebook cell would define."""

        name = "scaled"

        def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
            policy = next(iter(self.training.networks(arch).values()))
            return [{key: scale * value for key, value in policy.items()} for _ in range(n)]

    arch = (16, 16, 16, 64)
    with Isolated(MethodSource.of(Scaled), tmp_path, PICK_CUBE_ZOO) as method:
        (written,) = method.generate(arch, 1)
    policy = next(iter(zoo.training_set().networks(arch).values()))
    assert all(torch.equal(written[key], scale * value) for key, value in policy.items())
