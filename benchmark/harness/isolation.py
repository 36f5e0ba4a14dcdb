"""Asks a method for networks in a process of its own, and checks what it answers.

A method may be anybody's file. Whatever it does wrong ends in one `MethodError` that names it, and does no harm to any
other method: if it raises, hangs, exits, draws from the global random state, or writes into the training networks.
"""

import multiprocessing
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pebble import ProcessExpired, ProcessPool
from safetensors.torch import load, save

from nnbench.api import Autoencoder, Generator, JointGenerator
from nnbench.errors import NnbenchError
from nnbench.registry import MethodSource
from nnbench.tasks.policies.architectures import MAX_WIDTH, Architecture, architecture_name
from nnbench.tasks.policies.mlp import InvalidWeights, Weights, check_weights
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.simulation.workers import end_with_parent
from nnbench.tasks.zoo.zoo import Zoo

PATIENCE_S = 3600.0
"""A call of `generate` that takes longer is stopped."""


class MethodError(NnbenchError, RuntimeError):
    """A method that broke the contract of `nnbench.api`. Says which, what it did and what to do about it."""


class ProcessError(NnbenchError, RuntimeError):
    """A process that cannot start, whatever the method."""


def ask(generator: Generator, training: TrainingSet, arch: Architecture | None, n: int, *, seed: int) -> list[Weights]:
    """The checked answer of `generate(arch, n, seed=seed)`, without an architecture of `generate_joint(n, seed=seed)`.

    Raises MethodError.
    """

    def answer() -> object:
        if arch is not None:
            return generator.generate(arch, n, seed=seed)
        if isinstance(generator, JointGenerator):
            return generator.generate_joint(n, seed=seed)
        raise MethodError(f"method {generator.name} does not choose architectures: it has no `generate_joint`")

    call = _call(generator.name, arch, n, seed)
    written = _watch(call, answer, n, training)
    return _check(call, [(arch, item) if arch is not None else _pair(item, call) for item in written], training)


def ask_reconstruction(
    generator: Generator, training: TrainingSet, arch: Architecture, ghn_seeds: Sequence[int]
) -> list[Weights]:
    """The checked answer of `reconstruct` for the training policies that these GHNs wrote. Raises MethodError."""

    def answer() -> object:
        if not isinstance(generator, Autoencoder):
            raise MethodError(f"method {generator.name} does not encode policies: it has no `reconstruct`")
        networks = training.networks(arch)
        return generator.reconstruct([dict(networks[seed]) for seed in ghn_seeds], arch)

    call = _call_reconstruct(generator.name, arch, ghn_seeds)
    written = _watch(call, answer, len(ghn_seeds), training)
    return _check(call, [(arch, item) for item in written], training)


def _watch(call: str, answer: Callable[[], object], n: int, training: TrainingSet) -> list[object]:
    """The method's answer. Raises MethodError unless it is a list of n and nothing else was changed."""
    before = global_random_state()
    try:
        written = answer()
    except (KeyboardInterrupt, MethodError):
        raise
    except BaseException as error:  # a method may also call sys.exit
        raise MethodError(f"{call} raised {type(error).__name__}: {' '.join(str(error).split())}") from error
    changed = [name for name, state in global_random_state().items() if state != before[name]]
    if changed:
        raise MethodError(
            f"{call} used the global random state of {' and '.join(changed)}; draw from a generator of your own, "
            "seeded with `seed`"
        )
    if archs := training.changed():
        names = ", ".join(map(architecture_name, archs))
        raise MethodError(f"{call} wrote into the training networks of {names}; clone what you change")
    if not isinstance(written, list) or len(written) != n:
        got = f"{len(written)} networks" if isinstance(written, list) else type(written).__name__
        raise MethodError(f"{call} returned {got}, expected a list of {n} state dicts")
    return written


def _check(call: str, pairs: Sequence[tuple[Architecture, Any]], training: TrainingSet) -> list[Weights]:
    """The policies. Raises MethodError where one is not of its architecture, or shares memory with another."""
    task = training.task
    try:
        checked = [
            check_weights(sample, of, task.observation_dim, task.action_dim, f"{call}, sample {position}")
            for position, (of, sample) in enumerate(pairs)
        ]
    except InvalidWeights as error:
        raise MethodError(str(error)) from error
    owners: dict[int, int] = {}
    for position, (_, sample) in enumerate(pairs):
        for key, value in sample.items():
            other = owners.setdefault(value.data_ptr(), position)
            if other != position:
                raise MethodError(
                    f"{call} returned samples {other} and {position} that share the memory of {key}; give every sample "
                    "tensors of its own"
                )
    return checked


def _call(method: str, arch: Architecture | None, n: int, seed: int) -> str:
    asked = f"generate_joint({n}" if arch is None else f"generate({architecture_name(arch)}, {n}"
    return f"method {method}: {asked}, seed={seed})"


def _call_reconstruct(method: str, arch: Architecture, ghn_seeds: Sequence[int]) -> str:
    return f"method {method}: reconstruct({len(ghn_seeds)} policies, {architecture_name(arch)})"


def _pair(item: object, call: str) -> tuple[Architecture, Weights]:
    """One item of what `generate_joint` returns. Raises MethodError."""
    if isinstance(item, tuple) and len(item) == 2:
        arch, weights = item
        widths = isinstance(arch, tuple) and len(arch) == 4 and all(type(width) is int for width in arch)
        if widths and all(1 <= width <= MAX_WIDTH for width in arch):
            return arch, weights
    raise MethodError(
        f"{call} returned an item that is no pair of an architecture, four hidden widths of 1 to {MAX_WIDTH} as a "
        "tuple of int, and a state dict"
    )


def global_random_state() -> dict[str, Any]:
    """The state of each global generator, comparable by `==`, by the name of its module."""
    numpy_state = np.random.get_state(legacy=False)
    return {
        "random": random.getstate(),
        "numpy.random": (numpy_state["state"]["key"].tobytes(), numpy_state["state"]["pos"]),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


class Isolated:
    """A trained method in a process of its own. Where the method ends its process, a new one is started.

    `folder` is that of the trained method; `task_source` is what `load_task` takes; `zoo` is the folder of the zoo that
    it was trained on, by default the one that ships. What the method prints goes to stderr. Use as a context.
    """

    def __init__(
        self,
        source: MethodSource,
        folder: Path,
        task_source: str,
        zoo: Path | None = None,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._name, self._patience_s = source.name, patience_s
        self._who = (source, folder, task_source, zoo)
        self._pool = ProcessPool(1, context=multiprocessing.get_context("spawn"), initializer=_start_worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.stop()
        self._pool.join()

    def generate(self, arch: Architecture | None, n: int, *, seed: int = 0) -> list[Weights]:
        """What `ask` returns in that process. Raises MethodError."""
        return self._answer(_call(self._name, arch, n, seed), partial(ask, arch=arch, n=n, seed=seed), n)

    def reconstruct(self, arch: Architecture, ghn_seeds: Sequence[int]) -> list[Weights]:
        """What `ask_reconstruction` returns in that process. Raises MethodError."""
        asked = partial(ask_reconstruction, arch=arch, ghn_seeds=ghn_seeds)
        return self._answer(_call_reconstruct(self._name, arch, ghn_seeds), asked, len(ghn_seeds))

    def _answer(self, call: str, asked: Callable[[Generator, TrainingSet], list[Weights]], n: int) -> list[Weights]:
        try:
            future = self._pool.schedule(_answer, (*self._who, asked), timeout=self._patience_s)
            samples: dict[int, Weights] = {}
            for name, value in load(future.result()).items():
                position, key = name.split("/")
                samples.setdefault(int(position), {})[key] = value
        except TimeoutError as error:
            raise MethodError(f"{call} took more than {self._patience_s:g} s and was stopped") from error
        except ProcessExpired as error:
            raise MethodError(f"{call} ended its process, exit code {error.exitcode}; return or raise") from error
        except BrokenProcessPool as error:
            raise ProcessError(
                "the process of the method cannot start (its own message is above); in a script, call nnbench below "
                '`if __name__ == "__main__":`, for its processes run the script again'
            ) from error
        # In layer order again, as check_weights left them: safetensors keeps no order.
        return [
            dict(sorted(samples[position].items(), key=lambda item: (int(item[0].split(".")[0]), "bias" in item[0])))
            for position in range(n)
        ]


def _start_worker() -> None:
    end_with_parent()
    os.dup2(2, 1)  # tables and JSON of the harness must not be mixed with what a method prints


def _answer(
    source: MethodSource,
    folder: Path,
    task_source: str,
    zoo: Path | None,
    asked: Callable[[Generator, TrainingSet], list[Weights]],
) -> bytes:
    try:
        generator, training = _open(source, folder, task_source, zoo)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise MethodError(f"method {source.name}: loading it from {folder} raised {reason}") from error
    try:
        written = asked(generator, training)
    except MethodError:
        _open.cache_clear()  # the call may have changed the method or the zoo: open both anew
        raise
    # As bytes: tensors would need one file descriptor each to reach the other process.
    return save(
        {f"{position}/{key}": value for position, sample in enumerate(written) for key, value in sample.items()}
    )


@cache
def _open(source: MethodSource, folder: Path, task: str, zoo: Path | None) -> tuple[Generator, TrainingSet]:
    method = source.load()
    training = Zoo.open(task, zoo).training_set(reads=method.reads)
    return method.load(folder, training), training
