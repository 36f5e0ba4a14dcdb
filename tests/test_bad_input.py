"""Whatever is wrong with an argument, a plan, a profile or a path: one clear line, an exit code, nothing written."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import command

from nnbench.commands.main import main
from nnbench.tasks.simulation.workers import Simulator

USAGE = {
    "": "Expected one of {run, roundtrip, table,",
    "rin": "Unrecognized options: rin; Available subcommands: run, roundtrip,",
    "run": "Missing from nnbench run: --method",
    "run --metod nearest": "Unrecognized options: --metod nearest",
    "run --method nearest --split foo": "invalid choice 'foo' for argument '--split'. Expected one of ('seen',",
    "run --method nearest --seed": "Missing value for argument '--seed'",
    "run --method nearest --seed nan": "--seed 'nan': expected a whole number",
    "run --method nearest --seed 1e3": "--seed '1e3': expected a whole number",
    "run --method nearest --workers 2.5": "--workers '2.5': expected a whole number",
    "run --method nearest --samples inf": "--n/--samples 'inf': expected a whole number",
    "run --method nearest --test-episodes ''": "--test-episodes '': expected a whole number",
    "run --method nearest --protocol fast": "invalid choice 'fast' for argument '--protocol'",
    "run --method nearest --full yes": "Unrecognized options: yes",
    "run --method nearest --retrain=maybe": "Unrecognized options: maybe",
    "roundtrip": "Missing from nnbench roundtrip: --method",
    "table 9": "invalid choice '9' for argument 'names'. Expected one of ('1', '2',",
    "table --split foo": "'--split'. Expected one of ('",
    "table --format x": "Expected one of ('text', 'md', 'latex', 'csv')",
    "figure": "Missing from nnbench figure: {3,4,5,6,overview,novelty,cost,distance,learning}",
    "figure 9": "invalid choice '9'",
    "render --split foo": "invalid choice 'foo' for argument '--split'",
    "render --show bad": "invalid choice 'bad' for argument '--show'",
    "train": "Missing from nnbench train: --method",
    "check": "Missing from nnbench check: METHOD",
    "check a b": "Unrecognized options: b",
    "sweep": "Missing from nnbench sweep: PLAN",
    "sweep cpu.toml --cluster foo": "'--cluster'. Expected one of ('",
    "verify --rollouts x": "--rollouts 'x': expected a whole number",
    "doctor x": "Unrecognized options: x",
    "bench": "Expected one of {sim}",
    "expert": "Expected one of {train, score, observations, render}",
    "expert train --steps 1e6": "--steps '1e6': expected a whole number",
    "expert train --std x": "--std 'x': expected a number",
    "zoo": "Expected one of {build, verify, ls, alignment}",
    "zoo foo": "Unrecognized options: foo; Available subcommands: build, verify, ls, alignment",
    "zoo build --preset x": "Expected one of ('cpu', 'upsample', 'paper')",
    "zoo build --source x": "Expected one of ('hypernetworks', 'sgd')",
    "zoo verify --policies 1e12": "--policies '1e12': expected a whole number",
}
"""What the parser refuses, and a part of what is said."""

NUMBERS = {
    "run --method nearest --seed -1": "--seed -1: expected 0 to 2147483647",
    "run --method nearest --seed 3000000000": "--seed 3000000000: expected 0 to 2147483647",
    "run --method nearest --seed 99999999999999999999999999": "expected 0 to 2147483647",
    "run --method nearest --workers 0": "workers=0: expected at least 1",
    "run --method nearest --workers -3": "workers=-3: expected at least 1",
    "run --method nearest --workers 1000000": "workers=1000000: expected at most",
    "run --method nearest --samples 0": "samples=0, expected at least 1",
    "run --method nearest --samples -1": "samples=-1, expected at least 1",
    "run --method nearest --samples 40000": "samples=40000, expected at most 32,767",
    "run --method nearest --samples 5": "top=10 of samples=5, expected top <= samples",
    "run --method nearest --top 0": "top=0, expected at least 1",
    "run --method nearest --top 1000": "top=1000 of samples=100",
    "run --method nearest --selection-episodes 0": "selection_episodes=0, expected at least 1",
    "run --method nearest --selection-episodes 2000000": "expected at most 1,000,000",
    "run --method nearest --test-episodes 0": "test_episodes=0, expected at least 1",
    "run --method nearest --test-episodes 999999999999999": "expected at most 1,000,000",
    "roundtrip --method sane --episodes 0": "--episodes 0: expected 1 to",
    "roundtrip --method sane --episodes 99999999999": "--episodes 99999999999: expected 1 to",
    "roundtrip --method sane --seed -1": "--seed -1: expected 0 to",
    "roundtrip --method sane --workers 99999": "expected at most",
    "train --method nearest --seed -1": "--seed -1: expected 0 to",
    "train --method nearest --seed 9999999999": "expected 0 to 2147483647",
    "verify garbage.tar.xz --rollouts -1": "--rollouts -1: expected 0 or more",
    "verify garbage.tar.xz --workers 0": "workers=0: expected at least 1",
    "verify garbage.tar.xz --workers 99999": "workers=99999: expected at most",
    "expert train --steps 0": "steps=0, expected 1 to",
    "expert train --steps -1": "steps=-1, expected 1 to",
    "expert train --steps 99999999999999999999": "expected 1 to 1e+12",
    "expert train --seed -1": "seed=-1, expected 0 to",
    "expert train --seed 9999999999999999999": "expected 0 to",
    "expert train --workers 0": "workers=0: expected at least 1",
    "expert train --std 0": "taught_std=0.0, expected",
    "expert train --std -1": "taught_std=-1.0, expected",
    "expert train --std nan": "taught_std=nan, expected",
    "expert train --std inf": "taught_std=inf, expected",
    "expert train --learning-rate 0": "learning_rate=0.0, expected",
    "expert train --learning-rate nan": "learning_rate=nan, expected",
    "expert train --learning-rate -1": "learning_rate=-1.0, expected",
    "expert train --gamma -0.1": "gamma=-0.1, expected 0 to 1",
    "expert train --gamma 1.5": "gamma=1.5, expected 0 to 1",
    "expert train --gamma nan": "gamma=nan, expected 0 to 1",
    "expert train --lessons -1": "lessons=-1, expected 0 to",
    "expert score --workers 0": "workers=0: expected at least 1",
    "expert observations --workers -1": "workers=-1: expected at least 1",
    "expert render --episodes 0": "--episodes 0: expected 1 to",
    "expert render --episodes 100000000": "--episodes 100000000: expected 1 to",
    "zoo build --hypernetworks 0": "--hypernetworks 0: expected at least 1",
    "zoo build --hypernetworks 99999999999": "at most 10000",
    "zoo build --seeds 4": "--seeds 4: expected with --source sgd only; --hypernetworks says how many",
    "zoo build --source sgd --seeds 0": "--seeds 0: expected at least 1, at most 10000",
    "zoo build --source sgd --held-out": "no hypernetworks with --source sgd; leave them out",
    "zoo build --workers 0": "workers=0: expected at least 1",
    "zoo verify --policies -1": "--policies -1: expected 0 to",
    "zoo verify --policies 1000000000000": "expected 0 to",
    "zoo verify --workers 0": "workers=0: expected at least 1",
    "zoo alignment --workers 0": "workers=0: expected at least 1",
}

NAMES = {
    "run --method nit": "unknown method 'nit'; did you mean 'nnit'?",
    "run --method ''": "unknown method ''",
    "run --method": "--method: no method is named",
    "run --method ../x": "unknown method '../x'",
    "run --method LONG": "unknown method 'xxxx",
    "run --method 'a\nb'": r"unknown method 'a\nb'",
    "run --method é": "unknown method 'é'",
    "run --method nearest --split joint": "method nearest does not choose architectures",
    "run --method nearest --task ''": "unknown task ''",
    "run --method nearest --task PickCub": "unknown task 'PickCub': expected one of PickCube-v1",
    "run --method nearest --archs ''": "architecture '': expected hidden widths",
    "run --method nearest --archs x": "architecture 'x': expected hidden widths",
    "run --method nearest --archs 16-16": "16-16 is not in the split unseen",
    "run --method nearest --archs 32-32-16-64,": "architecture '': expected hidden widths",
    "run --method nearest --archs 0-1-2-3": "architecture '0-1-2-3': expected hidden widths",
    "run --method nearest --archs 99999999999999999999-1-1-1": "is not in the split unseen",
    "run --method dataset --split joint --archs 32-32-16-64": "in the split joint the method chooses",
    "roundtrip --method nearest": "method nearest does not encode policies",
    "roundtrip --method sane --archs 32-32-16-64": "is not in the split seen",
    "roundtrip --method sane --task x": "unknown task 'x'",
    "table --task x": "unknown task 'x'",
    "table --protocol zzz": "--protocol 'zzz': expected paper, quick or the first digits",
    "table --protocol ''": "--protocol '': expected paper, quick or the first digits",
    "report --protocol zzz": "--protocol 'zzz'",
    "report --task x": "unknown task 'x'",
    "figure 3 --task x": "unknown task 'x'",
    "figure 4 --archs x": "architecture 'x': expected hidden widths",
    "figure 4 --archs ''": "architecture '': expected hidden widths",
    "figure 4 --archs 16-16": "expected four hidden widths of 1 to 64",
    "figure 4 --archs 100-100-100-100": "expected four hidden widths of 1 to 64",
    "figure 5 --archs 16-16-16-64,16-16-16-32": "2 architectures, expected one",
    "figure novelty --archs 16-16-16-64": "figure novelty takes no --archs",
    "figure 4 --methods a": "figure 4 takes no --methods",
    "figure novelty --out x.txt": "x.txt",
    "render --method nosuch": "nosuch on PickCube-v1",
    "render --archs x": "architecture 'x': expected hidden widths",
    "render --seed -1": "was not measured",
    "train --method nit": "unknown method 'nit'",
    "train --method nearest --task x": "unknown task 'x'",
    "check nit": "unknown method 'nit'; did you mean 'nnit'?",
    "bench sim --task x": "unknown task 'x'",
    "expert train --task x": "unknown task 'x'",
    "expert score --task x": "unknown task 'x'",
    "zoo build --task x": "unknown task 'x'",
    "zoo verify --task x": "unknown task 'x'",
    "zoo ls --task x": "unknown task 'x'",
    "zoo alignment --task x": "unknown task 'x'",
}

FILES = {
    "run --method nearest --task folder.py": "folder.py: cannot be read",
    "run --method nearest --task absent.py": "absent.py: cannot be read",
    "run --method nearest --task loop.py": "loop.py: cannot be read",
    "run --method nearest --task latin.py": "latin.py: no readable Python file",
    "run --method nearest --task nul.py": "nul.py: running it failed",
    "run --method nearest --task deep.py": "deep.py: running it failed",
    "run --method nearest --task exits.py": "exits.py: running it failed (SystemExit: 0)",
    "run --method nearest --task mute.py": "(its message cannot be printed: ZeroDivisionError)",
    "run --method nearest --task raises.py": "raises.py: running it failed (RuntimeError: one two)",
    "run --method nearest --zoo nowhere": "nowhere/PickCube-v1: no zoo of PickCube-v1 here",
    "run --method nearest --zoo file": "file/PickCube-v1: no zoo of PickCube-v1 here",
    "run --method nearest --zoo zoo": "zoo/manifest.json: not a zoo's manifest: ghn_seeds, distillation",
    "run --method nearest --results file": "file: is a file; expected a folder",
    "run --method nearest --results file/below": "which is a file; expected a folder",
    "run --method nearest --plugin absent.py": "absent.py: expected a Python file",
    "run --method nearest --plugin folder.py": "folder.py: expected a Python file",
    "run --method nearest --plugin file": "file: expected a Python file",
    "run --method nearest --plugin nearest.py": "two methods are called 'nearest'",
    "run --method raises --plugin raises.py raises.py": "two methods are called 'raises'",
    "run --method latin --plugin latin.py": "latin.py: the facts cannot be read",
    "run --method nul --plugin nul.py": "nul.py: the facts cannot be read",
    "run --method deep --plugin deep.py": "deep.py: the facts cannot be read",
    "run --method minus --plugin minus.py": "minus.py: the facts cannot be read: MemoryError",
    "run --method raises --plugin raises.py": "raises.py: no class Method",
    "run --method 'a b' --plugin 'a b.py'": "a method's name is 'a b', which names files",
    "run --method 'x\ny' --plugin 'x\ny.py'": r"listed as 'x\ny' but its name is 'x'",
    "roundtrip --method sane --results file": "file: is a file; expected a folder",
    "roundtrip --method sane --zoo nowhere": "no zoo of PickCube-v1 here",
    "table --results nowhere": "nowhere: no such folder",
    "table --results file": "file: not what was written (it ends too early)",
    "table --results empty": "empty: holds no results",
    "table --results archives": "a-b.tar.xz: not what was written (it ends too early)",
    "table --results units": "a.json: not what was written (maximum recursion depth exceeded",
    "table --zoo nowhere": "nowhere: no such folder",
    "table --plugin absent.py": "absent.py: expected a Python file",
    "table --plugin latin.py": "latin.py: the facts cannot be read",
    "table --task latin.py": "latin.py: no readable Python file",
    "report --out folder": "folder: is a folder; expected the name of a file",
    "report --out ''": ".: is a folder; expected the name of a file",
    "report --out file/below": "there is no folder file",
    "report --out nowhere/x.html": "there is no folder nowhere",
    "report --results nowhere": "nowhere: no such folder",
    "report --results empty": "empty: holds no results",
    "report --results archives": "a-b.tar.xz: not what was written (it ends too early)",
    "report --plugin deep.py": "deep.py: the facts cannot be read",
    "figure novelty --out folder.png": "folder.png: is a folder; expected the name of a file",
    "figure novelty --out file/below.png": "there is no folder file",
    "figure 6 --results nowhere": "nowhere: no such folder",
    "figure 4 --zoo nowhere": "nowhere: no such folder",
    "render --method zoo --zoo nowhere": "no zoo of PickCube-v1 here",
    "render --method zoo --out file": "file: is a file; expected a folder",
    "train --method nearest --zoo nowhere": "no zoo of PickCube-v1 here",
    "train --method nearest --plugin absent.py": "absent.py: expected a Python file",
    "check latin --plugin latin.py": "latin.py: the facts cannot be read",
    "methods --plugin absent.py": "absent.py: expected a Python file",
    "status --results nowhere": "nowhere: no such folder",
    "status --results file": "file: no such folder",
    "status --results units": "a.json: not what was written (maximum recursion depth exceeded",
    "merge": "no folder is named",
    "merge nowhere": "nowhere: no such folder",
    "merge file": "file: no such folder",
    "merge empty": "empty: holds no finished unit",
    "merge units": "a.json: not what was written (maximum recursion depth exceeded",
    "merge units --results file/below": "which is a file; expected a folder",
    "publish file": "file: is a file; expected a folder",
    "publish out --results nowhere": "nowhere: no such folder",
    "publish out --results empty": "empty: holds no finished unit",
    "publish out": "results/runs: no such folder",
    "publish file/below": "which is a file; expected a folder",
    "verify": "no archive is named",
    "verify nowhere": "nowhere: no such archive or folder",
    "verify file": "file: not an archive of results",
    "verify empty": "empty: holds neither archives nor finished units",
    "rescore --results nowhere": "nowhere: no such folder",
    "rescore --results empty": "empty: holds no finished unit",
    "expert train --start nowhere": "nowhere: no expert",
    "expert train --out file/below": "which is a file; expected a folder",
    "expert score --expert nowhere": "nowhere: no expert",
    "expert observations --expert nowhere": "nowhere: no expert",
    "expert render --expert nowhere": "nowhere",
    "expert render --out file": "file: is a file; expected a folder",
    "zoo build --expert nowhere": "nowhere: no expert",
    "zoo build --work file": "file: is a file; expected a folder",
    "zoo build --out file/below": "which is a file; expected a folder",
    "zoo verify --zoo file": "file/PickCube-v1: no zoo of PickCube-v1 here",
    "zoo ls --zoo nowhere": "no zoo of PickCube-v1 here",
    "zoo alignment --pool file": "file: is a file; expected a folder",
    "zoo alignment --work file": "file: is a file; expected a folder",
    "zoo alignment --results file": "file: is a file; expected a folder",
    "sweep nowhere.toml": "nowhere.toml: no such plan",
    "sweep folder.toml": "folder.toml: no such plan",
    "sweep latin.toml": "latin.toml: no TOML: 'utf-8' codec",
    "sweep deep.toml": "deep.toml: no TOML that can be read: RecursionError",
    "sweep bom.toml": "bom.toml: no TOML: Invalid statement",
    "sweep file": "file: no TOML",
    "sweep cpu.toml --cluster local --profile nowhere": "unknown profile 'nowhere'",
    "sweep cpu.toml --cluster local --profile ''": "unknown profile ''",
    "sweep cpu.toml --cluster local --profile folder.toml": "unknown profile 'folder.toml'",
    "sweep cpu.toml --cluster local --profile latin.toml": "latin.toml: no TOML",
    "sweep cpu.toml --cluster local --profile deep.toml": "deep.toml: no TOML that can be read",
    "status nowhere.toml": "nowhere.toml: no such plan",
}
"""Paths that are not there, are of the wrong kind, or hold what cannot be read."""

RUN = "[[run]]\nmethod = ['ghn']\ntask = ['PickCube-v1']\n"
PLANS = {
    "": "an empty plan",
    "[run]\nmethod = ['ghn']": "run = {'method': ['ghn']}, expected a list",
    "run = [1]": "run[0]: 1, expected a table",
    "x = 1\n" + RUN: "unknown key 'x'",
    "[[run]]\ntask = ['PickCube-v1']": "'method' is missing",
    RUN.replace("['ghn']", "'ghn'"): "method = 'ghn', expected a list",
    RUN.replace("['ghn']", "[]"): "method = [], expected at least one",
    RUN.replace("['ghn']", "[1]"): "method[0] = 1, expected str",
    RUN.replace("'ghn'", "'ghn', 'ghn'"): "expected each only once",
    RUN.replace("['PickCube-v1']", "[]"): "task = [], expected at least one",
    RUN.replace("PickCube", "PickCub"): "unknown task 'PickCub-v1'",
    RUN + "seed = []": "seed = [], expected at least one",
    RUN + "seed = [-1]": "seed = -1, expected 0 to",
    RUN + "seed = [3000000000]": "seed = 3000000000, expected 0 to",
    RUN + "seed = [0.5]": "seed[0] = 0.5, expected int",
    RUN + "seed = [true]": "seed[0] = True, expected int",
    RUN + "seed = [0, 0]": "expected each only once",
    RUN + "seed = 0": "seed = 0, expected a list",
    RUN + "split = 'foo'": "unknown split 'foo'",
    RUN + "split = 3": "split = 3, expected str",
    RUN + "archs = ''": "architecture '': expected hidden widths",
    RUN + "archs = ['16-16-16-32']": "expected str",
    RUN + "generation_hours = -1": "generation_hours = -1.0, expected 0 to",
    RUN + "generation_hours = nan": "generation_hours = nan, expected 0 to",
    RUN + "generation_hours = inf": "generation_hours = inf, expected 0 to",
    RUN + "generation_hours = 'long'": "generation_hours = 'long', expected float",
    "[[train]]\nmethod = ['nnit']\ntask = ['PickCube-v1']\nhours = nan": "hours = nan, expected 0 to",
    "[[train]]\nmethod = ['nnit']\ntask = ['PickCube-v1']\nhours = -4": "hours = -4.0, expected 0 to",
    "[[zoo]]\ntask = ['PickCube-v1']\nhypernetworks = 0": "hypernetworks = 0, expected 1 to",
    "[[zoo]]\ntask = ['PickCube-v1']\nhypernetworks = -1": "hypernetworks = -1, expected 1 to",
    "[[zoo]]\ntask = ['PickCube-v1']\nhypernetworks = 99999999": "expected 1 to 10000",
    "[[zoo]]\ntask = ['PickCube-v1']\npreset = 'big'": "preset = 'big', expected one of 'cpu', 'upsample', 'paper'",
    "[[zoo]]\ntask = ['PickCube-v1']\nheld_out = 1": "held_out = 1, expected bool",
    "[[zoo]]\ntask = []": "task = [], expected at least one",
    "tables = [5]\n" + RUN: "tables[0] = 5, expected one of 1, 2, 3, 4, 6",
    "tables = 2\n" + RUN: "tables = 2, expected a list",
    "protocol = 'fast'\n" + RUN: "unknown protocol 'fast'",
    "protocol = 3\n" + RUN: "protocol: 3, expected a table",
    "protocol = {samples = 0}\n" + RUN: "samples=0, expected at least 1",
    "protocol = {samples = 40000}\n" + RUN: "samples=40000, expected at most",
    "protocol = {test_episodes = 99999999}\n" + RUN: "expected at most 1,000,000",
    "protocol = {test_seed_start = 9999999999}\n" + RUN: "test_seed_start=9999999999, expected less than",
    "protocol = {test_seed_start = 5}\n" + RUN: "test_seed_start=5, expected 1000000 or more",
    "protocol = {headline = 'x'}\n" + RUN: "headline='x', expected",
    "protocol = {samples = 5.5}\n" + RUN: "samples = 5.5, expected int",
    "plugin = 'mine.py'\n" + RUN: "plugin = 'mine.py', expected a list",
    "results = 3\n" + RUN: "results = 3, expected Path",
    "results = 'file'\n" + RUN: "file: is a file; expected a folder",
    "x = " + "[" * 10_000 + "]" * 10_000: "no TOML that can be read: RecursionError",
    "x = " + "9" * 10_000: "no TOML that can be read",
    RUN + "seed = [" + "9" * 400 + "]": "expected 0 to",
}

LIMITS = "[training]\nminutes = 60\n[rollouts]\nminutes = 60\n"
PROFILES = {
    "[training]\nminutes = 60": "'rollouts' is missing",
    LIMITS.replace("60", "0"): "minutes = 0, expected at least 1",
    LIMITS.replace("60", "-5"): "minutes = -5, expected at least 1",
    LIMITS.replace("60", "nan"): "minutes = nan, expected int",
    LIMITS.replace("60", "99999999999"): "expected at most",
    LIMITS + "cpus = 0": "cpus = 0, expected at least 1",
    LIMITS + "cpus = 'all'": "cpus = 'all', expected int",
    LIMITS + "memory_gb = 0": "memory_gb = 0.0, expected more than 0",
    LIMITS + "memory_gb = nan": "memory_gb = nan, expected more than 0",
    LIMITS + "memory_gb = -1": "memory_gb = -1.0, expected more than 0",
    LIMITS + "gpus = -1": "gpus = -1, expected at least 0",
    LIMITS + "pack_minutes = 0": "pack_minutes = 0, expected at least 1",
    LIMITS + "partition = ''": "partition = '', expected one word",
    LIMITS + 'partition = "a\\nb"': "expected one word",
    LIMITS + "gres = 'gpu:a100:1 --wrap=x'": "expected one word",
    "account = ''\n" + LIMITS: "account = '', expected one word",
    "parallel = 0\n" + LIMITS: "parallel = 0, expected at least 1",
    "parallel = 1.5\n" + LIMITS: "parallel = 1.5, expected int",
    "requeues = -1\n" + LIMITS: "requeues = -1, expected at least 0",
    "signal_s = -1\n" + LIMITS: "signal_s = -1, expected at least 0",
    "signal_s = 3600\n" + LIMITS: "expected a time limit of more than",
    "setup = 'module load x'\n" + LIMITS: "expected a list",
    "setup = [1]\n" + LIMITS: "setup[0] = 1, expected str",
    "minutes = 60\n" + LIMITS: "unknown key 'minutes'",
    "training = 5\nrollouts = 5": "training: 5, expected a table",
}

CASES = [
    *((arguments, 2, said) for arguments, said in USAGE.items()),
    *((arguments, 1, said) for arguments, said in (NUMBERS | NAMES | FILES).items()),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files and folders of every wrong kind."""
    folder = tmp_path_factory.mktemp("input")
    for name in ("folder", "empty", "folder.py", "folder.toml", "folder.png", "zoo", "units", "archives"):
        (folder / name).mkdir()
    files = {
        "file": b"x",
        "latin.py": "x = 'é'\n".encode("latin-1"),
        "nul.py": b"a\0b",
        "deep.py": b"x = " + b"[" * 10_000 + b"]" * 10_000,
        "minus.py": b"x = " + b"-" * 100_000 + b"1",
        "exits.py": b"raise SystemExit(0)",
        "raises.py": b"raise RuntimeError('one\\ntwo')",
        "mute.py": b"raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()",
        "nearest.py": b"class Method: name = 'nearest'",
        "a b.py": b"class Method: name = 'a b'",
        "x\ny.py": b"class Method: name = 'x'",
        "latin.toml": "# é".encode("latin-1"),
        "bom.toml": b"\xef\xbb\xbf" + RUN.encode(),
        "deep.toml": b"x = " + b"[" * 10_000 + b"]" * 10_000,
        "garbage.tar.xz": b"garbage",
        "archives/a-b.tar.xz": b"garbage",
        "units/a.json": b"[" * 100_000,
        "units/a.parquet": b"",
        "zoo/manifest.json": b'{"task": "PushCube-v1", "files": {}, "splits_sha256": "", "standardiser_sha256": ""}',
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "loop.py").symlink_to("loop.py")
    return folder


@pytest.fixture(autouse=True)
def nothing_simulates(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: Simulator) -> None:
        raise AssertionError("simulates")

    monkeypatch.setattr(Simulator, "_start", start)
    monkeypatch.chdir(place)


def _refused(place: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], code: int) -> str:
    """The one line that is said. Asserts that nothing was written."""
    before = sorted(place.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == code and line.startswith("nnbench: "), line
    assert sorted(place.rglob("*")) == before
    return line


@pytest.mark.parametrize(("arguments", "code", "said"), CASES, ids=[repr(case[0])[:60] for case in CASES])
def test_a_wrong_argument_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: str, code: int, said: str
) -> None:
    asked = [word.replace("LONG", "x" * 5000) for word in shlex.split(arguments)]
    assert said in _refused(place, asked, capsys, code)


@pytest.mark.parametrize("text", PLANS, ids=lambda text: repr(text)[:60])
def test_a_wrong_plan_is_one_line_that_names_it(place: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    plan = place / "plan.toml"
    plan.write_text(text)
    line = _refused(place, ["status", "plan.toml"], capsys, 1)
    assert line.startswith("nnbench: plan.toml") and PLANS[text] in line


@pytest.mark.parametrize("text", PROFILES, ids=lambda text: repr(text)[:60])
def test_a_wrong_profile_is_one_line_that_names_it(place: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (place / "profile.toml").write_text(text)
    asked = ["sweep", "cpu.toml", "--cluster", "local", "--profile", "profile.toml"]
    line = _refused(place, asked, capsys, 1)
    assert line.startswith("nnbench: profile.toml") and PROFILES[text] in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize(
    "arguments",
    ["run --method nearest --results locked/runs", "publish locked --results units", "report --out locked/x"],
)
def test_a_folder_that_is_read_only_is_named(place: Path, capsys: pytest.CaptureFixture[str], arguments: str) -> None:
    (place / "locked").mkdir(exist_ok=True)
    (place / "locked").chmod(0o555)
    assert "locked cannot be written to; choose a folder" in _refused(place, shlex.split(arguments), capsys, 1)


def test_there_are_enough_of_them() -> None:
    assert len(CASES) + len(PLANS) + len(PROFILES) >= 150


ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}


@pytest.mark.parametrize(
    "arguments",
    ["--help", "methods", "table 6", "zoo ls", "figure 9", "run"],
)
def test_a_terminal_without_unicode_shows_all(place: Path, monkeypatch: pytest.MonkeyPatch, arguments: str) -> None:
    for name, value in ASCII.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(command(*arguments.split()), cwd=place, capture_output=True)
    assert done.returncode == (2 if arguments in ("figure 9", "run") else 0)
    assert b"Traceback" not in done.stderr and (done.stdout + done.stderr).isascii()
    assert not re.search(rb"\\u2[0-9]", done.stdout)


def test_output_that_cannot_be_written_is_one_line(place: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("methods"), cwd=place, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "nnbench: the output cannot be written (No space left on device); free some space or send it somewhere else\n"
    )


def test_nobody_who_reads_the_output_is_no_bug(place: Path) -> None:
    read = subprocess.Popen(command("methods"), cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert read.stdout is not None and read.stderr is not None
    read.stdout.close()
    assert read.wait() == 141 and read.stderr.read() == b""


def test_an_error_of_the_system_names_its_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", "some/file")

    monkeypatch.setattr("nnbench.discovery.find_methods", refuse)
    monkeypatch.setattr(sys.modules["nnbench.facts"], "find_methods", refuse)
    with pytest.raises(SystemExit, match="1"):
        main(["methods"])
    assert capsys.readouterr().err == (
        "nnbench: some/file: Permission denied; check that the path is right and that you may use it\n"
    )
