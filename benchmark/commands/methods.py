"""`nnbench methods`, `train`, `generate` and `check`: the weight generators themselves."""

import shlex
import time
from pathlib import Path
from typing import Annotated

import tyro

from nnbench.commands.options import TASK, print_json


def methods(plugin: tuple[Path, ...] = (), json: bool = False) -> None:
    """List the methods: role, what each reads, and what it is in one line. Imports none of them.

    Args:
        plugin: Python files with further methods.
        json: Print the list as JSON.
    """
    import nnbench
    from nnbench.discovery import RegistryError

    found = nnbench.list_methods(plugin)
    if json:
        print_json(found)
    for listed in found if not json else ():
        if listed.facts is None:
            print(f"{listed.name:18} cannot be used: {listed.problem}")
        else:
            reads = "+".join(listed.facts.reads)
            print(f"{listed.name:18} {listed.facts.role:9}  reads {reads:13}  {listed.summary}")
    named = [listed.name for listed in found if listed.problem and Path(listed.where) in plugin]
    if named:
        raise RegistryError(f"{', '.join(named)} cannot be used, for the reason printed above")


def train(
    method: str,
    task: str = TASK,
    seed: int = 0,
    track: str = "paper",
    zoo: Path | None = None,
    plugin: tuple[Path, ...] = (),
    retrain: bool = False,
    json: bool = False,
) -> None:
    """Train a method on the zoo, into ./runs/methods, unless it is. Goes on where an interrupted training stopped.

    Args:
        method: One of `nnbench methods`.
        task: ManiSkill environment, or a Python file that defines a task.
        seed: Seed of the training.
        track: What is learned from and asked for: one that `nnbench tracks` lists, or a file of your own (.toml).
        zoo: Folder of a zoo that `nnbench zoo build` wrote, default the one that ships.
        plugin: Python files with further methods.
        retrain: Train anew what is trained.
        json: Print the checkpoint's folder and identity as JSON.
    """
    import nnbench

    began = time.time()
    trained = nnbench.train(method, task=task, seed=seed, track=track, zoo=zoo, plugins=plugin, retrain=retrain)
    if json:
        print_json(trained)
    else:
        there = (trained.folder / "manifest.json").stat().st_mtime < began
        print(f"{method}: {trained.folder}" + (", trained before; --retrain trains it anew" if there else ""))


def generate(
    method: str,
    arch: str,
    out: Path,
    n: int = 10,
    task: str = TASK,
    seed: int = 0,
    sample_seed: int = 0,
    track: str = "paper",
    zoo: Path | None = None,
    plugin: tuple[Path, ...] = (),
) -> None:
    """Write policies of one architecture into a folder, nothing selected, with an example that loads them.

    Args:
        method: One of `nnbench methods`; trained first where it has no checkpoint.
        arch: Hidden widths, as in 24-48-24-48.
        out: A new folder, or an empty one.
        n: How many policies.
        task: ManiSkill environment, or a Python file that defines a task.
        seed: Seed of the method's training.
        sample_seed: Seed of the policies.
        track: What is learned from: one that `nnbench tracks` lists, or a file of your own (.toml).
        zoo: Folder of a zoo that `nnbench zoo build` wrote, default the one that ships.
        plugin: Python files with further methods.
    """
    import nnbench

    nnbench.generate(
        method,
        arch,
        n,
        task=task,
        out=out,
        seed=seed,
        sample_seed=sample_seed,
        track=track,
        zoo=zoo,
        plugins=plugin,
    )
    hint = shlex.join(["python", str(out / "load.py"), str(out / "0.safetensors")])
    print(f"{out}: {n} {'policy' if n == 1 else 'policies'} of {arch}; try: {hint}")


def tracks(track: tuple[Path, ...] = (), json: bool = False) -> None:
    """List the tracks: what each asks, and which held-out architectures contain a training architecture.

    The policies of an architecture that is contained are, padded with silent units, exact policies of the one that
    contains it: there copying is an answer.

    Args:
        track: Files of further tracks (.toml).
        json: Print the list as JSON.
    """
    from nnbench.tasks.policies.architectures import architecture_name, load_further
    from nnbench.tasks.policies.tracks import load_track, shipped_tracks

    found = [*shipped_tracks(), *(load_track(str(path)) for path in track)]
    if json:
        print_json(
            [
                {
                    "name": one.name,
                    "label": one.label,
                    "sha256": one.splits.sha256,
                    "source": one.source,
                    "asks": one.asks,
                    "train": [*map(architecture_name, one.splits.train)],
                    "seen": [*map(architecture_name, one.splits.seen)],
                    "unseen": {architecture_name(arch): len(one.contained(arch)) for arch in one.splits.unseen},
                }
                for one in found
            ]
        )
        return
    for one in found:
        padded = [architecture_name(arch) for arch in one.splits.unseen if one.contained(arch)]
        print(f"{one.name:12} {one.source:14} {len(one.splits.train)} trained on, {len(one.splits.unseen)} held out")
        print(f"    {one.asks}")
        print(f"    contain a training architecture: {', '.join(padded) or 'none'}")
    for name, archs in load_further().items():
        print(f"--split {name}, on any track: {', '.join(map(architecture_name, archs))}")


def check(
    method: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")],
    plugin: tuple[Path, ...] = (),
    json: bool = False,
) -> None:
    """Examine whether a method keeps the contract, on a toy zoo, in under a minute. Exit code 1 where it does not.

    Args:
        method: One of `nnbench methods`.
        plugin: Python files with further methods.
        json: Print the checks as JSON.
    """
    import nnbench
    from nnbench.harness.conformance import CheckFailed

    results = nnbench.check(method, plugins=plugin)
    if json:
        print_json(results)
    else:
        print(*results, sep="\n")
    if failed := sum(not result.passed for result in results):
        raise CheckFailed(f"{method}: {failed} checks failed, each for the reason printed above")
