"""Every method that ships conforms, and what does not is told why."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnbench.api import Untrained, Weights
from nnbench.facts import list_methods
from nnbench.harness import conformance
from nnbench.harness.checking import run_checks
from nnbench.harness.conformance import (
    CHECKS,
    CheckFailed,
    Subject,
    distance_to_training,
    toy_training_set,
)
from nnbench.methods import nearest
from nnbench.registry import MethodSource, load_method
from nnbench.tasks.policies.architectures import Architecture, load_splits
from nnbench.tasks.policies.mlp import weights_sha256
from nnbench.tasks.policies.training_set import HeldOutAccess, TrainingSet

NAMES = [listed.name for listed in list_methods()]


@pytest.fixture(scope="module", params=NAMES)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(load_method(request.param), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("conforms", CHECKS, ids=lambda conforms: conforms.__name__)
def test_methods_that_ship_conform(subject: Subject, conforms: Any) -> None:
    conforms(subject)


def test_the_toy_zoo_holds_nothing_back_but_what_is_held_out() -> None:
    training = toy_training_set()
    assert len(training.architectures) == 6 and set(training.architectures) <= set(load_splits().train)
    assert all(len(training.networks(arch)) == 4 for arch in training.architectures)
    for arch in load_splits().unseen:
        with pytest.raises(HeldOutAccess):
            training.networks(arch)


def _poisoned(training: TrainingSet) -> TrainingSet:
    """The same, but behind what a method may read every network is another one."""

    def networks(arch: Architecture) -> dict[int, Weights]:
        found = training._networks(arch)
        if arch in training.architectures:
            return found
        return {seed: {key: value + 1 for key, value in weights.items()} for seed, weights in found.items()}

    return replace(training, _networks=networks, _hypernetworks=networks)


def _written_for_unseen(subject: Subject) -> list[str]:
    archs = [subject.arch] if subject.method.seen_only else [*load_splits().unseen, subject.arch]
    return [weights_sha256(sample) for arch in archs for sample in subject.samples(arch, 2)]


@pytest.mark.parametrize("name", sorted({*NAMES} - {"ghn"}))
def test_no_method_reads_a_held_out_network(name: str, tmp_path: Path) -> None:
    method = load_method(name)
    assert "hypernetworks" not in method.reads
    clean, poisoned = Subject(method, tmp_path / "clean"), Subject(method, tmp_path / "poisoned")
    poisoned.__dict__["training"] = _poisoned(toy_training_set(reads=("hypernetworks", "states")))
    assert _written_for_unseen(poisoned) == _written_for_unseen(clean)


def test_a_method_that_reads_a_held_out_network_is_poisoned_by_it(tmp_path: Path) -> None:
    class Cheats(Base):
        def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
            return [{k: v.clone() for k, v in self.training._networks(arch)[s].items()} for s in range(n)]

    clean, poisoned = Subject(Cheats, tmp_path / "clean"), Subject(Cheats, tmp_path / "poisoned")
    poisoned.__dict__["training"] = _poisoned(poisoned.training)
    theirs, ours = _written_for_unseen(poisoned), _written_for_unseen(clean)
    assert not set(theirs[:-2]) & set(ours[:-2]) and theirs[-2:] == ours[-2:]  # the last two are of a trained one


class Base(Untrained):
    """Conforms, until a subclass breaks one thing."""

    name = "mine"

    def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
        return nearest.Method(self.training).generate(arch, n, seed=seed)


class HasNoSuchRole(Base):
    role = "floor"  # type: ignore[assignment]


class ReadsWhatIsNotThere(Base):
    reads = ("weights", "minds")  # type: ignore[assignment]


class VariantOfNothing(Base):
    variant_of = ("nnit_2", "everything")


class SaysItLater(Base):
    pass


SaysItLater.role = "generator"


class DrawsInFit(Base):
    @classmethod
    def fit(cls, training: Any, *, seed: int, directory: Path) -> Any:
        np.random.random()
        return cls(training)


class ReadsHeldOut(Base):
    @classmethod
    def fit(cls, training: Any, *, seed: int, directory: Path) -> Any:
        training.networks(load_splits().unseen[0])


class WritesIntoTheZoo(Base):
    @classmethod
    def fit(cls, training: Any, *, seed: int, directory: Path) -> Any:
        training.networks(training.architectures[0])[0]["0.bias"].zero_()
        return cls(training)


class SeenOnly(Base):
    def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
        networks = list(self.training.networks(arch).values())
        return [{key: value + seed + i for key, value in networks[0].items()} for i in range(n)]


class WritesNoOtherDepth(Base):
    writes = ("widths", "depths")

    def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
        assert len(arch) == 4, "four layers"
        return super().generate(arch, n, seed=seed)


class NeedsASeed(Base):
    def generate(self, arch: Any, n: int, *, seed: int) -> list[Weights]:  # type: ignore[override]
        return super().generate(arch, n, seed=seed)


class AtLeastOne(Base):
    def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
        return super().generate(arch, max(n, 1), seed=seed)


class Counts(Base):
    calls = 0

    def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
        self.calls += 1
        return super().generate(arch, n, seed=self.calls)


class ChoosesAnew(Base):
    calls = 0

    def generate_joint(self, n: int, *, seed: int = 0) -> list[Any]:
        self.calls += 1
        arch = self.training.architectures[self.calls]
        return [(arch, sample) for sample in self.generate(arch, n, seed=seed)]


class ChoosesTooWide(Base):
    def generate_joint(self, n: int, *, seed: int = 0) -> list[Any]:
        return [((16, 16, 16, 128), {})] * n


class ReconstructsAnew(Base):
    calls = 0

    def reconstruct(self, policies: Any, arch: Any) -> list[Weights]:
        self.calls += 1
        return [{key: value + self.calls for key, value in policy.items()} for policy in policies]


class ReconstructsTooFew(Base):
    def reconstruct(self, policies: Any, arch: Any) -> list[Weights]:
        return [{key: value.clone() for key, value in policies[0].items()}]


class IgnoresTheSeed(Base):
    def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
        return super().generate(arch, n)


class Repeats(Base):
    def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
        return [sample for _ in range(n) for sample in super(Repeats, self).generate(arch, 1, seed=seed)]


class Pickles(Base):
    def save(self, directory: Path) -> None:
        torch.save({}, directory / "model.pt")


class Forgets(Base):
    shift = 1.0

    def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
        samples = super().generate(arch, n, seed=seed)
        return [{key: value + self.shift for key, value in sample.items()} for sample in samples]

    @classmethod
    def load(cls, directory: Path, training: Any) -> Any:
        loaded = cls(training)
        loaded.shift = 0.0
        return loaded


class TrainedAsAnother(Base):
    trained_as = "nearest"

    @classmethod
    def load(cls, directory: Path, training: Any) -> Any:
        (directory / "model.json").read_text()
        return cls(training)


class TrainedAsNothing(Base):
    trained_as = "nnit_2"


@pytest.mark.parametrize(
    ("method", "failing", "message"),
    [
        (HasNoSuchRole, "states_its_facts", "role is 'floor', expected one of generator, baseline, source"),
        (ReadsWhatIsNotThere, "states_its_facts", r"reads is \('weights', 'minds'\), expected a tuple of weights,"),
        (VariantOfNothing, "states_its_facts", "variant_of names 'nnit_2', which is no method; known: average"),
        (SaysItLater, "states_its_facts", "role is 'generator', but read from the source, .* it is 'baseline'; state"),
        (DrawsInFit, "fits_without_side_effects", "fit used the global random state of numpy.random"),
        (
            ReadsHeldOut,
            "fits_without_side_effects",
            "fit reads what it must not: 32-32-16-64 is no training arch",
        ),
        (WritesIntoTheZoo, "fits_without_side_effects", "fit writes into the training networks"),
        (SeenOnly, "writes_architectures_it_never_saw", "raised HeldOutAccess"),
        (WritesNoOtherDepth, "writes_architectures_it_never_saw", "raised AssertionError: four layers"),
        (ChoosesAnew, "chooses_architectures", "equal calls of generate_joint differ"),
        (ChoosesTooWide, "chooses_architectures", "no pair of an architecture, four hidden widths of 1 to 64"),
        (ReconstructsAnew, "reconstructs_policies", "equal calls of reconstruct differ"),
        (
            ReconstructsTooFew,
            "reconstructs_policies",
            r"reconstruct\(4 policies, .*returned 1 networks, expected a list",
        ),
        (NeedsASeed, "answers_to_two_arguments", "give it a default"),
        (AtLeastOne, "writes_one_or_none", "returned 1 networks, expected a list of 0"),
        (Counts, "repeats_itself_by_seed", "equal calls of generate give different weights"),
        (IgnoresTheSeed, "repeats_itself_by_seed", "same weights for different seeds"),
        (Repeats, "writes_different_samples", "all networks of one call are equal"),
        (Pickles, "survives_saving", "save writes model.pt; use safetensors and JSON"),
        (Forgets, "survives_saving", "the loaded method writes other weights"),
        (TrainedAsNothing, "states_its_facts", "trained_as names 'nnit_2', which is no method; known: average"),
        (TrainedAsAnother, "reads_what_its_trainer_saves", "load raised FileNotFoundError: .*model.json"),
    ],
)
def test_each_fault_is_found_by_its_check(method: Any, failing: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=message):
        getattr(conformance, failing)(Subject(method, tmp_path))


def test_copies_show_in_the_note(tmp_path: Path) -> None:
    assert distance_to_training(Subject(load_method("nearest"), tmp_path / "a")) == 0
    assert distance_to_training(Subject(load_method("random"), tmp_path / "b")) > 1.5


def test_results_come_one_per_check_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    class CannotSave(Base):
        def save(self, directory: Path) -> None:
            raise OSError("disk full")

    results = list(run_checks(MethodSource.of(CannotSave)))
    assert [result.name for result in results] == [check.__name__.replace("_", " ") for check in CHECKS]
    assert {result.name: result.message for result in results if not result.passed} == {
        "survives saving": "raised OSError: disk full"
    }
    assert "FAILED  survives saving: raised OSError: disk full" in map(str, results)
    *results, remark = run_checks(MethodSource.of(Base))
    assert str(results[0]) == "ok      states its facts"
    assert all(result.passed and not result.message for result in results)
    assert remark.passed and remark.message.startswith("its samples lie 0.00 times as far")


def test_a_variant_of_a_plugin_is_a_variant(tmp_path: Path) -> None:
    class Variant(Base):
        variant_of = ("theirs", "nothing")

    path = tmp_path / "theirs.py"
    path.write_text("class Method: name = 'theirs'")
    conformance.states_its_facts(Subject(Variant, tmp_path, (path,)))
    with pytest.raises(CheckFailed, match="'theirs', which is no method"):
        conformance.states_its_facts(Subject(Variant, tmp_path))
