"""Asks a method for networks in a process of its own, and checks what it answers.

A method may be anybody's file. Whatever it does wrong ends in one `MethodError` that names it, and does no harm to any
other method: if it raises, hangs, exits, changes global state, or writes into the training networks.
"""

import json
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import load, save

from nnbench.api import Autoencoder, Generator, JointGenerator, Untrained
from nnbench.errors import describe_error
from nnbench.harness.process import MethodError, MethodProcess
from nnbench.registry import MethodSource
from nnbench.tasks.policies.architectures import MAX_WIDTH, Architecture, architecture_name
from nnbench.tasks.policies.mlp import InvalidWeights, Weights, check_weights
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.zoo.zoo import Zoo

PATIENCE_S = 3600.0
"""A call of `generate` that takes longer is stopped."""


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
    with method_at_fault(call), unchanged_surroundings(call):
        written = answer()
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


def require_own(doing: str, made: object, method: type[Generator]) -> None:
    """Raise MethodError where `fit` or `load` gave something else than a method of its class."""
    if not isinstance(made, method):
        raise MethodError(f"{doing} returned {type(made).__name__}, expected a {method.__name__}; return `cls(...)`")


@contextmanager
def method_at_fault(doing: str) -> Iterator[None]:
    """Raise MethodError for whatever the method raises; a method may also call sys.exit."""
    try:
        yield
    except MethodError:
        raise
    except BaseException as error:
        raise MethodError(f"{doing} raised {describe_error(error)}") from error


@contextmanager
def unchanged_surroundings(doing: str, *, random_state: bool = True) -> Iterator[None]:
    """Raise MethodError where global random state, folder, environment or threads are not what they were.

    Without `random_state` that may change: `check` asks whether a training repeats itself.
    """
    before, folder, environment = global_random_state(), os.getcwd(), dict(os.environ)
    threads = set(threading.enumerate())
    yield
    changed = [name for name, state in global_random_state().items() if state != before[name]]
    if changed and random_state:
        raise MethodError(
            f"{doing} used the global random state of {' and '.join(changed)}; draw from a generator of your own, "
            "seeded with `seed`"
        )
    if _current_folder() != folder:
        os.chdir(folder)
        raise MethodError(f"{doing} changed the current folder; leave it as it is")
    # New variables may appear: torch sets some when parts of it are first imported.
    if variables := [name for name, value in environment.items() if os.environ.get(name) != value]:
        os.environ.update({name: environment[name] for name in variables})
        raise MethodError(f"{doing} changed environment variables ({', '.join(variables)}); leave them as they are")
    # Daemons are let be: tqdm keeps one.
    if left := [thread.name for thread in threading.enumerate() if thread not in threads and not thread.daemon]:
        raise MethodError(f"{doing} left threads running ({', '.join(left)}); join them")


def _current_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


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


@dataclass(frozen=True)
class Abilities:
    """What a method's class can do besides."""

    joint: bool
    """It chooses architectures too."""
    autoencoder: bool
    learns: bool
    """False of a method that is an `Untrained`."""


def describe(source: MethodSource) -> Abilities:
    """What a method can do; code that is not nnbench's own is imported in another process.

    Raises RegistryError where the class lacks something, and MethodError where it cannot be imported.
    """
    if source.ships or source.pickled is not None:
        return _describe(source.load())
    with MethodProcess() as process:
        content = process.call(f"method {source.name}: importing it", _describe_there, source, patience_s=PATIENCE_S)
    raw = json.loads(content)
    return Abilities(**raw)


def _describe(method: type[Generator]) -> Abilities:
    return Abilities(
        issubclass(method, JointGenerator), issubclass(method, Autoencoder), not issubclass(method, Untrained)
    )


def _describe_there(source: MethodSource) -> bytes:
    return json.dumps(asdict(_describe(source.load()))).encode()


class Isolated:
    """A trained method in a process of its own. Where the method ends its process, a new one is started.

    `folder` is that of the trained method; `learned` are the arguments of `Zoo.open` for what it was trained on. Use as
    a context.
    """

    def __init__(
        self,
        source: MethodSource,
        folder: Path,
        learned: tuple[str, Path | None, str],
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._name, self._patience_s = source.name, patience_s
        task, zoo, track = learned
        self._who = (source, folder.absolute(), (task, zoo and zoo.absolute(), track))
        self._process = MethodProcess()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.stop()

    def open(self) -> None:
        """Start the process and load the method, unless that was done: `generate` then takes no longer than it takes.

        Raises MethodError.
        """
        loading = f"method {self._name}: loading it"
        self._process.call(loading, _open_there, *self._who, patience_s=self._patience_s)

    def generate(self, arch: Architecture | None, n: int, *, seed: int = 0) -> list[Weights]:
        """What `ask` returns in that process. Raises MethodError."""
        return self._answer(_call(self._name, arch, n, seed), partial(ask, arch=arch, n=n, seed=seed), n)

    def reconstruct(self, arch: Architecture, ghn_seeds: Sequence[int]) -> list[Weights]:
        """What `ask_reconstruction` returns in that process. Raises MethodError."""
        asked = partial(ask_reconstruction, arch=arch, ghn_seeds=ghn_seeds)
        return self._answer(_call_reconstruct(self._name, arch, ghn_seeds), asked, len(ghn_seeds))

    def _answer(self, call: str, asked: Callable[[Generator, TrainingSet], list[Weights]], n: int) -> list[Weights]:
        answer = self._process.call(call, _answer, *self._who, call, asked, patience_s=self._patience_s)
        samples: dict[int, Weights] = {}
        for name, value in load(answer).items():
            position, key = name.split("/")
            samples.setdefault(int(position), {})[key] = value
        # In layer order again, as check_weights left them: safetensors keeps no order.
        return [
            dict(sorted(samples[position].items(), key=lambda item: (int(item[0].split(".")[0]), "bias" in item[0])))
            for position in range(n)
        ]


def _answer(
    source: MethodSource,
    folder: Path,
    learned: tuple[str, Path | None, str],
    call: str,
    asked: Callable[[Generator, TrainingSet], list[Weights]],
) -> bytes:
    _open_there(source, folder, learned)
    generator, training = _open(source, folder, learned)
    try:
        with method_at_fault(call):  # what it returned may raise when it is looked at
            written = asked(generator, training)
        source.check_code()  # what it imports only now may have been edited
    except MethodError:
        _open.cache_clear()  # the call may have changed the method or the zoo: open both anew
        raise
    # As bytes: tensors would need one file descriptor each to reach the other process.
    return save(
        {f"{position}/{key}": value for position, sample in enumerate(written) for key, value in sample.items()}
    )


def _open_there(source: MethodSource, folder: Path, learned: tuple[str, Path | None, str]) -> bytes:
    with method_at_fault(f"method {source.name}: loading it from {folder}"):
        _open(source, folder, learned)
    return b""


@cache
def _open(source: MethodSource, folder: Path, learned: tuple[str, Path | None, str]) -> tuple[Generator, TrainingSet]:
    method = source.load()
    training = Zoo.open(*learned).training_set(reads=method.reads)
    loaded = method.load(folder, training)
    require_own(f"method {source.name}: load", loaded, method)
    return loaded, training
