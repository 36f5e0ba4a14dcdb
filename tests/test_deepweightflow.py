"""DeepWeightFlow: what the flow is trained on, where the integrator ends, and that the order of neurons is undone."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from helpers import (
    check_that_a_killed_run_ends_the_same,
    check_that_a_training_validates_what_it_writes,
    check_that_load_names_misfits,
    distance,
    same,
)
from torch import Tensor

from nnbench.harness.conformance import toy_training_set
from nnbench.methods import deepweightflow, deepweightflow_unmatched
from nnbench.methods._importance import passed_on
from nnbench.methods.d2nwg.vectors import devectorise
from nnbench.methods.deepweightflow import (
    Config,
    Corpus,
    Flow,
    Method,
    build_corpus,
    choose_reference,
    flow_loss,
    integrate,
)
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import act, check_weights
from nnbench.tasks.policies.rebasin import permute
from nnbench.tasks.policies.resizing import resize
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.push_cube import PUSH_CUBE

TOY = toy_training_set()
TINY = Method.rehearsal


def fit(directory: Path, config: Config = TINY) -> Method:
    directory.mkdir(exist_ok=True)
    return Method.fit(TOY, seed=0, directory=directory, config=config)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Method:
    return fit(tmp_path_factory.mktemp("fit"))


def related(*, shuffled: bool) -> TrainingSet:
    """Networks that are all near one wide network, cropped to the neurons that matter; `shuffled` with their neurons in
    any order, but for the first of the largest architecture."""
    largest, rng = max(TOY.architectures, key=sum), torch.Generator().manual_seed(7)
    wide, written = choose_reference(TOY), {}
    for arch in TOY.architectures:
        written[arch] = {seed: resize(wide, arch, 42, 8) for seed in range(3)}
        for seed, network in written[arch].items():
            for value in network.values():
                value += 0.02 * torch.randn(value.shape, generator=rng)
            orders = [torch.randperm(width, generator=rng).numpy() for width in arch]
            if shuffled and (arch, seed) != (largest, 0):
                written[arch][seed] = permute(network, orders)
    return replace(TOY, _networks=written.__getitem__)


@pytest.mark.parametrize("arch", [(16, 32, 64, 32), (24, 48, 8, 60), (64, 64, 64, 64)])
def test_writes_any_widths_of_the_zoos_depth(fitted: Method, arch: Architecture) -> None:
    first, second = fitted.generate(arch, 2)
    for weights in (first, second):
        check_weights(weights, arch, 42, 8, "deepweightflow")
    assert distance(first, second) > 0


@pytest.mark.parametrize("arch", [(32, 32, 32), (32, 65, 32, 32)])
def test_names_an_architecture_that_it_cannot_write(fitted: Method, arch: Architecture) -> None:
    with pytest.raises(ValueError, match=r"deepweightflow: 32-.*: expected 4 hidden layers, none wider than 64"):
        fitted.generate(arch, 1)


def test_coordinates_hold_all_of_the_zoo() -> None:
    corpus = build_corpus(TOY, replace(TINY, matched=False))
    vectors = (corpus.mean + corpus.coordinates @ corpus.basis) / TOY.scale
    rows = [(arch, network) for arch in TOY.architectures for network in TOY.networks(arch).values()]
    for vector, widths, (arch, network) in zip(vectors, corpus.widths, rows, strict=True):
        written = devectorise(vector, arch, "grid", 42, 8)
        assert tuple(widths.tolist()) == arch
        assert distance(written, network) < 1e-3
    torch.testing.assert_close(corpus.basis @ corpus.basis.T, torch.eye(len(corpus.basis)), atol=1e-4, rtol=0)


def test_the_order_of_the_neurons_does_not_matter_once_they_are_matched() -> None:
    kept = {}
    for matched in (True, False):
        config = replace(TINY, matched=matched)
        corpora = [build_corpus(related(shuffled=shuffled), config) for shuffled in (False, True)]
        one, two = (corpus.mean + corpus.coordinates @ corpus.basis for corpus in corpora)  # (N, D)
        kept[matched] = float((one - two).norm() / one.norm())
    assert kept[False] > 0.5 and kept[True] < 0.1, kept


def test_the_reference_has_the_neurons_that_matter_first() -> None:
    reference = choose_reference(TOY)
    network = next(iter(TOY.networks(max(TOY.architectures, key=sum)).values()))
    states = torch.randn(50, 42, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(act(reference, states), act(network, states), atol=1e-5, rtol=1e-4)
    for passes in passed_on(reference):
        assert bool((passes.diff() <= 1e-5).all()) and passes[0] > passes[-1]


def test_no_layer_is_narrower_than_the_components(fitted: Method, tmp_path: Path) -> None:
    """Between noise and network the velocity is about x / t: all of x must pass."""
    config, of_the_zoo = fitted.manifest.config, len(build_corpus(TOY, TINY).basis)
    assert config.components == of_the_zoo > TINY.middle
    assert config.middle == of_the_zoo and config.hidden == TINY.hidden
    assert fit(tmp_path / "narrow", replace(TINY, hidden=8)).manifest.config.hidden == of_the_zoo
    for shipped in (Method.config, deepweightflow_unmatched.Method.config):
        assert (shipped.components or 64 * 32) < shipped.middle  # a zoo of 64 architectures and 32 hypernetworks


def corpus_of(x1: Tensor) -> Corpus:
    return Corpus(x1, torch.full((len(x1), 4), 32), torch.zeros(3), torch.eye(3))


def test_the_loss_is_that_of_straight_paths() -> None:
    """With no noise at the start the path to x_1 is t x_1, so x / t is the velocity; half of it misses half."""
    x1 = torch.randn(40, 3, generator=torch.Generator().manual_seed(2))
    config = replace(TINY, source_std=0.0, sigma=0.0, batch=400)

    def loss(share: float) -> float:
        model: Any = lambda x, t, widths, rng: share * x / t  # noqa: E731
        return float(flow_loss(model, corpus_of(x1), config, torch.Generator().manual_seed(3)))

    assert loss(1.0) < 1e-6
    assert loss(0.5) == pytest.approx(0.25 * float(x1.square().mean()), rel=0.1)


def test_the_velocity_is_that_from_the_noise_on_a_noisy_path() -> None:
    """A model that knows x_1 sees the noise in what it is given: around t x_1 as much as is asked for, and it misses
    x_1 - x_0 by the noise at the start alone."""
    x1 = torch.full((1, 3), 5.0)
    given: list[Tensor] = []

    def model(x: Tensor, t: Tensor, widths: Tensor, rng: torch.Generator) -> Tensor:
        given.append(x - t * x1)
        times.append(t)
        return x1.expand(len(x), -1)

    times: list[Tensor] = []
    config = replace(TINY, source_std=0.4, sigma=0.2, batch=4000)
    loss = flow_loss(cast(Any, model), corpus_of(x1), config, torch.Generator().manual_seed(3))
    assert float(loss) == pytest.approx(0.4**2, rel=0.05)
    (noise,), (t,) = given, times
    late, early = noise[t[:, 0] > 0.95], noise[t[:, 0] < 0.05]
    assert float(late.std()) == pytest.approx(0.2, rel=0.1)
    assert float(early.std()) == pytest.approx((0.2**2 + 0.4**2) ** 0.5, rel=0.1)


def test_a_tenth_is_dropped_by_the_generator_that_is_given_and_nothing_without_one() -> None:
    model = Flow(replace(TINY, components=3, dropout=0.1), 4)
    x = torch.ones(200, 50)
    dropped = model._drop(x, torch.Generator().manual_seed(0))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.9]) and float(dropped.mean()) == pytest.approx(1, 0.02)
    assert torch.equal(model._drop(x, None), x)

    torch.nn.init.normal_(model.last.weight)
    before, corpus = torch.get_rng_state(), corpus_of(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)))
    losses = [float(flow_loss(model, corpus, TINY, torch.Generator().manual_seed(seed)).detach()) for seed in (1, 1)]
    torch.testing.assert_close(torch.get_rng_state(), before)
    assert losses[0] == losses[1]
    first, second = (model(x[:, :3], x[:, :1], x[:, :4], torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.equal(first, second) and not torch.equal(first, model(x[:, :3], x[:, :1], x[:, :4]))


def test_the_integrator_carries_one_gaussian_to_another() -> None:
    """The velocity between N(0, s^2) and N(m, r^2), independently paired, is known; it maps x to m + r / s x."""
    m, s, r = 1.5, 0.5, 2.0

    def velocity(x: Tensor, t: float) -> Tensor:
        return m + (t * r**2 - (1 - t) * s**2) / ((1 - t) ** 2 * s**2 + t**2 * r**2) * (x - t * m)

    x = s * torch.linspace(-3, 3, 7, dtype=torch.float64)
    ends = {times: integrate(velocity, x, times) for times in (6, 11, 100)}
    torch.testing.assert_close(ends[100], m + r / s * x, atol=1e-6, rtol=0)
    errors = [float((ends[times] - m - r / s * x).abs().max()) for times in (6, 11)]
    assert errors[1] < errors[0] / 8  # of fourth order: half the step, a sixteenth of the error


def test_learns_to_write_the_zoo(tmp_path: Path) -> None:
    config = replace(TINY, hidden=128, steps=1500, batch=24, peak_lr=3e-3, dropout=0.0, times=20, source_std=0.1)
    method = fit(tmp_path / "fit", config)
    arch = TOY.architectures[2]
    corpus = build_corpus(TOY, config)
    own = [
        devectorise((corpus.mean + row @ corpus.basis) / TOY.scale, arch, "grid", 42, 8)
        for row, widths in zip(corpus.coordinates, corpus.widths, strict=True)
        if tuple(widths.tolist()) == arch
    ]
    apart = min(distance(a, b) for a in own for b in own if a is not b)
    found = [min((distance(sample, other), k) for k, other in enumerate(own)) for sample in method.generate(arch, 16)]
    assert sorted(near for near, _ in found)[8] < 0.5 * apart and len({k for _, k in found}) > 2


def test_asking_for_fewer_gives_the_first(fitted: Method) -> None:
    arch = TOY.architectures[0]
    many = fitted.generate(arch, 5, seed=4)
    assert max(map(distance, fitted.generate(arch, 2, seed=4), many)) < 1e-4
    assert distance(fitted.generate(arch, 1, seed=5)[0], many[0]) > 0
    assert fitted.generate(arch, 0) == []


def test_a_killed_run_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_that_a_killed_run_ends_the_same(fit, "deepweightflow.safetensors", tmp_path, monkeypatch)


def test_a_saved_model_generates_the_same(fitted: Method, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = Method.load(tmp_path, TOY)
    assert loaded.manifest == fitted.manifest
    assert all(map(same, loaded.generate((24, 48, 16, 32), 3), fitted.generate((24, 48, 16, 32), 3)))


def test_load_says_what_does_not_fit(fitted: Method, tmp_path: Path) -> None:
    other: Any = replace(TOY, task=PUSH_CUBE)
    check_that_load_names_misfits(
        fitted, tmp_path, TOY, other, "trained for task 'PickCube-v1', expected 'PushCube-v1'"
    )


def test_the_other_mode_matches_no_neurons_and_writes_on_fewer_components(tmp_path: Path) -> None:
    assert Method.config.matched and not deepweightflow_unmatched.Method.config.matched
    few = replace(deepweightflow_unmatched.Method.rehearsal, components=5)
    assert len(build_corpus(TOY, few).basis) == 5
    unmatched = deepweightflow_unmatched.Method.fit(TOY, seed=0, directory=tmp_path, config=few)
    unmatched.save(tmp_path)
    samples = deepweightflow_unmatched.Method.load(tmp_path, TOY).generate((24, 48, 16, 32), 2)
    assert all(map(same, samples, unmatched.generate((24, 48, 16, 32), 2)))


def test_a_training_validates_what_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_that_a_training_validates_what_it_writes(deepweightflow, Method, TOY, tmp_path, monkeypatch)
