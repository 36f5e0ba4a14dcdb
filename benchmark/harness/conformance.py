"""Conformance of a weight generator with `nnbench.api`, on a toy zoo, in well under a minute.

`nnbench check METHOD` runs all checks and prints one line per check. From a package's own tests:

    @pytest.mark.parametrize("check", nnbench.harness.conformance.CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check, tmp_path):
        check(Subject(Method, tmp_path))

A check that fails raises CheckFailed with what to change. The toy zoo has PickCube-v1's observations and actions, and
four networks for each of six training architectures. Its `rehearsal` is true: a method that trains for long then trains
for a few seconds only.
"""

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from nnbench.api import Autoencoder, Generator, JointGenerator, TrainingSet
from nnbench.discovery import Location, find_methods
from nnbench.errors import NnbenchError, describe_error
from nnbench.facts import FIELDS, Facts, FactsError, read_facts
from nnbench.harness.isolation import (
    ask,
    ask_reconstruction,
    require_own,
    unchanged_surroundings,
)
from nnbench.harness.novelty import nearest_by_weights
from nnbench.harness.process import MethodError
from nnbench.harness.saved import count_parameters, files_saved
from nnbench.registry import load_method
from nnbench.sources import find_source
from nnbench.tasks.pick_cube import PICK_CUBE
from nnbench.tasks.policies.architectures import Architecture, load_further, load_splits
from nnbench.tasks.policies.mlp import Weights, nearest_neighbours, random_policy, weights_sha256
from nnbench.tasks.policies.training_set import HeldOutAccess

_NETWORKS, _STATES = 4, 64


class CheckFailed(NnbenchError, RuntimeError):
    """A method breaks the contract. Says how, and what to change."""


def toy_training_set(*, reads: Collection[str] = ("weights",)) -> TrainingSet:
    """For each of six training architectures, four random networks near a common one."""
    archs = load_splits().train[:: len(load_splits().train) // 5][:6]
    written: dict[Architecture, dict[int, Weights]] = {}
    digests: dict[Architecture, list[str]] = {}

    def hypernetworks(arch: Architecture) -> dict[int, Weights]:
        if arch not in written:
            common = random_policy(arch, 42, 8, torch.Generator().manual_seed(0))
            written[arch] = {}
            for seed in range(_NETWORKS):
                own = random_policy(arch, 42, 8, torch.Generator().manual_seed(1 + seed))
                written[arch][seed] = {key: value + 0.3 * own[key] for key, value in common.items()}
            digests[arch] = [weights_sha256(weights) for weights in written[arch].values()]
        return written[arch]

    def changed() -> list[Architecture]:
        return [arch for arch, found in written.items() if [weights_sha256(w) for w in found.values()] != digests[arch]]

    asked = hypernetworks if "hypernetworks" in reads else None
    states = torch.randn(_STATES, 42, generator=torch.Generator().manual_seed(0))
    read_states = (lambda: states) if "states" in reads else None
    return TrainingSet(PICK_CUBE, "0" * 64, archs, hypernetworks, asked, changed, read_states, rehearsal=True)


@dataclass
class Subject:
    """A method under examination, which is fitted when a check first needs it."""

    method: type[Generator]
    directory: Path
    """An empty folder for what the method keeps."""
    plugins: tuple[Path, ...] = ()
    """Files of further methods, of which this one may be a variant."""

    @cached_property
    def training(self) -> TrainingSet:
        """The toy zoo."""
        return toy_training_set(reads=self.method.reads)

    @cached_property
    def fitted(self) -> Generator:
        """The method, fitted with seed 0."""
        return self.fit("fit")

    def fit(self, name: str) -> Generator:
        """Fit again, with a folder of this name for the progress. Raises CheckFailed."""
        directory = self.directory / name
        directory.mkdir(parents=True)
        try:
            fitted = self.method.fit(self.training, seed=0, directory=directory)
        except HeldOutAccess as error:
            raise CheckFailed(f"fit reads what it must not: {error}") from error
        except BaseException as error:
            raise CheckFailed(f"fit raised {describe_error(error)}") from error
        try:
            require_own("fit", fitted, self.method)
        except MethodError as error:
            raise CheckFailed(str(error)) from error
        return fitted

    def samples(
        self, arch: Architecture | None, n: int, seed: int = 0, generator: Generator | None = None
    ) -> list[Weights]:
        """n networks; without an architecture the method chooses some. Raises CheckFailed where they are not valid."""
        try:
            return ask(generator or self.fitted, self.training, arch, n, seed=seed)
        except MethodError as error:
            raise CheckFailed(str(error)) from error

    @property
    def arch(self) -> Architecture:
        """One of the training architectures."""
        return self.training.architectures[0]


def states_its_facts(subject: Subject) -> None:
    """The facts are valid, they name other methods that there are, and the source says the same: tables read the facts
    there."""
    try:
        facts = Facts.of(subject.method)
        stated = read_facts(location) if (location := _locate(subject.method)) else facts
    except FactsError as error:
        raise CheckFailed(str(error)) from error
    known = [location.name for location in find_methods(subject.plugins)]
    for name, other in {"variant_of": facts.variant_of and facts.variant_of[0], "trained_as": facts.trained_as}.items():
        if other is not None and other not in known:
            raise CheckFailed(f"{name} names {other!r}, which is no method; known: {', '.join(known)}")
    for name in FIELDS:
        if getattr(facts, name) != getattr(stated, name):
            raise CheckFailed(
                f"{name} is {getattr(facts, name)!r}, but read from the source, without importing it, it is "
                f"{getattr(stated, name)!r}; state it as a literal in the body of the class"
            )


def fits_without_side_effects(subject: Subject) -> None:
    """`fit` uses no global random state, changes no environment variable and no training network."""
    try:
        with unchanged_surroundings("fit"):
            subject.fitted  # noqa: B018
    except MethodError as error:
        raise CheckFailed(str(error)) from error
    if subject.training.changed():
        raise CheckFailed("fit writes into the training networks; clone what you change")


def writes_architectures_it_trained_on(subject: Subject) -> None:
    """Several networks of a training architecture have the right keys, shapes, dtypes and finite values."""
    subject.samples(subject.arch, 5)


def writes_architectures_it_never_saw(subject: Subject) -> None:
    """The same for a held-out architecture and one outside the space, unless the method says `seen_only = True`, and
    for one of each kind that it says it `writes`."""
    if not subject.method.seen_only:
        for arch in (load_splits().unseen[0], load_splits().outside[0]):
            subject.samples(arch, 3)
    for split in subject.method.writes:
        subject.samples(load_further()[split][0], 3)


def chooses_architectures(subject: Subject) -> None:
    """`generate_joint`, where there is one, returns policies that fit their architectures, and repeats itself."""
    if isinstance(subject.fitted, JointGenerator):
        first, again = ([weights_sha256(sample) for sample in subject.samples(None, 4, seed=3)] for _ in range(2))
        if first != again:
            raise CheckFailed("equal calls of generate_joint differ; derive all randomness from `seed`")


def reconstructs_policies(subject: Subject) -> None:
    """`reconstruct`, where there is one, returns as many policies as it is given, and repeats itself."""
    if isinstance(subject.fitted, Autoencoder):
        seeds = list(subject.training.networks(subject.arch))
        try:
            first, again = (ask_reconstruction(subject.fitted, subject.training, subject.arch, seeds) for _ in range(2))
        except MethodError as error:
            raise CheckFailed(str(error)) from error
        if [*map(weights_sha256, first)] != [*map(weights_sha256, again)]:
            raise CheckFailed("equal calls of reconstruct differ; where encoding is random, decode its mean")


def answers_to_two_arguments(subject: Subject) -> None:
    """`generate(arch, n)` needs no seed."""
    try:
        subject.fitted.generate(subject.arch, 1)
    except TypeError as error:
        raise CheckFailed(f"generate(arch, n) must work without `seed`: give it a default ({error})") from error


def writes_one_or_none(subject: Subject) -> None:
    """n = 1 gives a list of one, n = 0 an empty list."""
    subject.samples(subject.arch, 1)
    subject.samples(subject.arch, 0)


def repeats_itself_by_seed(subject: Subject) -> None:
    """Equal calls give equal weights, in any order; another seed gives other weights."""
    first, other = _hashes(subject, seed=3), _hashes(subject, seed=4)
    if first != _hashes(subject, seed=3):
        raise CheckFailed("equal calls of generate give different weights; derive all randomness from `seed`")
    if first == other:
        raise CheckFailed("generate gives the same weights for different seeds; derive all randomness from `seed`")


def writes_different_samples(subject: Subject) -> None:
    """The networks of one call are not all the same."""
    if len(set(_hashes(subject, seed=0))) == 1:
        raise CheckFailed("all networks of one call are equal; each sample is a draw of its own")


def survives_saving(subject: Subject) -> None:
    """Saved and loaded, the method writes the same weights; it saves only safetensors and JSON."""
    directory = subject.directory / "saved"
    directory.mkdir()
    subject.fitted.save(directory)
    try:
        files_saved("save", directory)
        count_parameters("save", directory)
        loaded = subject.method.load(directory, subject.training)
        require_own("load", loaded, subject.method)
    except MethodError as error:
        raise CheckFailed(str(error)) from error
    if _hashes(subject, seed=0) != _hashes(subject, seed=0, generator=loaded):
        raise CheckFailed("the loaded method writes other weights than the saved one; save all that generate uses")


def reads_what_its_trainer_saves(subject: Subject) -> None:
    """Where it uses another method's training, it writes networks from what that method saved."""
    name = Facts.of(subject.method).trained_as
    if name is None:
        return
    directory = subject.directory / "saved by another"
    directory.mkdir()
    trainer = load_method(name, subject.plugins)
    trainer.fit(subject.training, seed=0, directory=directory).save(directory)
    try:
        loaded = subject.method.load(directory, subject.training)
    except Exception as error:
        raise CheckFailed(f"load raised {describe_error(error)}, of what {name} saved") from error
    subject.samples(subject.arch, 3, generator=loaded)


def fits_again_to_the_same(subject: Subject) -> None:
    """Two fits with one seed give methods that write the same weights."""
    if _hashes(subject, seed=0) != _hashes(subject, seed=0, generator=subject.fit("fit again")):
        raise CheckFailed("two fits of one seed write different weights; derive all randomness from `seed`")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    states_its_facts,
    fits_without_side_effects,
    writes_architectures_it_trained_on,
    writes_architectures_it_never_saw,
    chooses_architectures,
    reconstructs_policies,
    answers_to_two_arguments,
    writes_one_or_none,
    repeats_itself_by_seed,
    writes_different_samples,
    survives_saving,
    reads_what_its_trainer_saves,
    fits_again_to_the_same,
)


def distance_to_training(subject: Subject) -> float:
    """Median L2 distance of ten samples to the nearest training network, over that of those networks to one another.

    A remark, not a judgement: far below 1, the samples are copies.
    """
    networks = subject.training.networks(subject.arch)
    samples = subject.samples(subject.arch, 10)
    spread = float(nearest_neighbours(list(networks.values()))[0].median())
    return float(np.median([nearest_by_weights(sample, networks).distance for sample in samples])) / spread


def _hashes(subject: Subject, seed: int, generator: Generator | None = None) -> list[str]:
    return [weights_sha256(sample) for sample in subject.samples(subject.arch, 4, seed, generator)]


def _locate(method: type[Generator]) -> Location | None:
    """Where its class can be read; None where it is in no file, or inside a function or another class."""
    file = getattr(sys.modules.get(method.__module__), "__file__", None)
    if file is None or "." in method.__qualname__:
        return None
    importable = find_source(method.__module__) == Path(file)
    return Location(method.name, file, method.__module__ if importable else Path(file), method.__qualname__)
