"""NeuMeta: places, their encoding and their noise, the order of the neurons, and what the field learns."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import (
    check_that_a_killed_run_ends_the_same,
    check_that_a_training_validates_what_it_writes,
    check_that_load_names_misfits,
    distance,
    same,
)

from nnbench.harness.conformance import toy_training_set
from nnbench.methods import neumeta
from nnbench.methods._optimisation import seeded
from nnbench.methods.latent_ghn import is_held_out
from nnbench.methods.neumeta import (
    Config,
    Field,
    Method,
    Residual,
    begin,
    blur,
    draw_architecture,
    encode,
    field_loss,
    places_of,
    prepare,
    shape_as,
    short_path,
    smooth,
    weight_error,
    write,
)
from nnbench.tasks.policies.architectures import Architecture, parameter_shapes
from nnbench.tasks.policies.mlp import Weights, act, architecture_of, check_weights
from nnbench.tasks.policies.tracks import load_track
from nnbench.tasks.push_cube import PUSH_CUBE

TOY = toy_training_set(reads=Method.reads)
TINY = Method.rehearsal
CPU = torch.device("cpu")


def fit(directory: Path, config: Config = TINY) -> Method:
    directory.mkdir(exist_ok=True)
    return Method.fit(TOY, seed=0, directory=directory, config=config)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Method:
    return fit(tmp_path_factory.mktemp("fit"))


def variation(weights: Weights) -> float:
    """L1 between neighbouring neurons, over all hidden layers."""
    total = 0.0
    for layer in range(len(weights) // 2 - 1):
        total += float(weights[f"{2 * layer}.weight"].diff(dim=0).abs().sum())
        total += float(weights[f"{2 * layer}.bias"].diff(dim=0).abs().sum())
        total += float(weights[f"{2 * layer + 2}.weight"].diff(dim=1).abs().sum())
    return total


@pytest.mark.parametrize("arch", [(16, 32, 64, 32), (24, 48, 8, 60)])
def test_writes_any_widths_of_the_zoos_depth(fitted: Method, arch: Architecture) -> None:
    first, second = fitted.generate(arch, 2)
    for weights in (first, second):
        check_weights(weights, arch, 42, 8, "neumeta")
    assert distance(first, second) > 0


@pytest.mark.parametrize("arch", [(32, 32, 32), (32, 65, 32, 32)])
def test_names_an_architecture_that_it_cannot_write(fitted: Method, arch: Architecture) -> None:
    with pytest.raises(ValueError, match=r"neumeta: 32-.*: expected 4 hidden layers, none wider than 64"):
        fitted.generate(arch, 1)


def test_every_number_has_its_place() -> None:
    arch = (16, 32, 64, 16)
    places, shapes = places_of(arch, 42, 8), parameter_shapes(arch, 42, 8)
    for index, (place, shape) in enumerate(zip(places, shapes.values(), strict=True)):
        rows, columns = (*shape, 1)[:2]
        last = rows * columns - 1
        assert len(place) == math.prod(shape)
        for number in (0, columns, last):
            row, column = divmod(number, columns)
            if number <= last:
                assert place[number].tolist() == [index, row, column, 10, rows, columns]


def test_encodes_as_the_formula_says() -> None:
    (row,) = encode(torch.tensor([[2.0, 5.0, 7.0, 10.0, 16.0, 42.0]]), 3)
    relative, sizes = [2 / 10, 5 / 16, 7 / 42], [10 / 64, 16 / 64, 42 / 64]
    waves = [f(2.0**power * math.pi * value) for value in relative for power in range(3) for f in (math.sin, math.cos)]
    assert row[:6].tolist() == pytest.approx(relative + sizes)
    assert sorted(row[6:].tolist()) == pytest.approx(sorted(waves), abs=1e-5)


def test_noise_moves_neurons_by_half_its_width_and_nothing_else() -> None:
    places = places_of((16, 16, 16, 16), 42, 8)
    moved = blur(places, 1.0, torch.Generator().manual_seed(0))
    for index, (before, after) in enumerate(zip(places, moved, strict=True)):
        rows, columns = index not in (8, 9), index in (2, 4, 6, 8)  # not actions, not observations
        for number, moves in enumerate([False, rows, columns, False, False, False]):
            shifts = (after - before)[:, number]
            assert 0.3 < float(shifts.abs().max()) <= 0.5 if moves else bool((shifts == 0).all()), (index, number)
            assert abs(float(shifts.mean())) < 0.2
    still = blur(places, 0.0, torch.Generator().manual_seed(0))
    assert all(map(torch.equal, still, places))


def test_a_short_path_finds_the_line_that_places_lie_on() -> None:
    rng = np.random.default_rng(0)
    line = rng.permutation(40).astype(float)
    found = line[short_path(np.abs(line[:, None] - line))]
    assert np.array_equal(found, np.arange(40)) or np.array_equal(found, np.arange(40)[::-1])
    points = rng.normal(size=(30, 5))
    distances = np.abs(points[:, None] - points).sum(axis=2)
    path = short_path(distances)

    def length(order: np.ndarray) -> float:
        return float(distances[order[:-1], order[1:]].sum())

    assert sorted(path) == list(range(30)) and length(path) < 0.9 * length(np.arange(30))
    for first in range(30):  # no reversal shortens it
        for last in range(first + 1, 30):
            turned = np.concatenate([path[:first], path[first : last + 1][::-1], path[last + 1 :]])
            assert length(turned) > length(path) - 1e-8


def test_smoothing_changes_no_function() -> None:
    network = next(iter(TOY.networks(TOY.architectures[-1]).values()))
    ordered = smooth(network)
    torch.testing.assert_close(act(ordered, TOY.states), act(network, TOY.states), atol=1e-5, rtol=1e-4)
    assert variation(ordered) < 0.95 * variation(network)


def test_large_weights_count_more() -> None:
    example = {"0.weight": torch.tensor([[2.0, -1.0]]), "0.bias": torch.tensor([0.5])}
    written = {"0.weight": torch.tensor([[2.0, 1.0]]), "0.bias": torch.tensor([0.0])}
    # Of the matrix (0 x 1 + 4 x 1/2) / 2, of the bias 1/4.
    assert float(weight_error(written, example)) == pytest.approx((1.0 + 0.25) / 2, rel=1e-4)
    assert float(weight_error(example, example)) == 0


def test_the_loss_has_its_three_terms() -> None:
    model, lessons = seeded(lambda: Field(TINY, 10), 0), prepare(TOY, torch.Generator().manual_seed(0), CPU)
    arch = architecture_of(lessons.example)
    zoo = replace(TOY, architectures=(arch,))

    def loss(near: float, size: float) -> float:
        config = replace(TINY, noise=0.0, near=near, size=size, near_share=1.0)
        return float(field_loss(model, lessons, zoo, config, torch.Generator().manual_seed(0)).detach())

    with torch.no_grad():
        weights = shape_as(arch, model(places_of(arch, 42, 8)), 42, 8)
    norms = sum(float(value.norm()) for value in weights.values())
    assert loss(0.0, 2.0) - loss(0.0, 0.0) == pytest.approx(2 * norms, rel=1e-2)
    expected = 3 * float(weight_error(weights, lessons.example))
    assert loss(3.0, 0.0) - loss(0.0, 0.0) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("still", [[], [7], [*range(8)]])
def test_an_action_that_hardly_varies_counts_no_more_than_a_hundred_others(still: list[int]) -> None:
    """What an action's errors are divided by: its spread, a tenth of the largest at least, and never 0."""

    def networks(arch: Architecture) -> dict[int, Weights]:
        found = {seed: {**weights} for seed, weights in TOY.networks(arch).items()}
        for weights in found.values():
            weights["8.weight"] = weights["8.weight"].clone()
            weights["8.weight"][still] = 0
        return found

    lessons = prepare(replace(TOY, _networks=networks), torch.Generator().manual_seed(0), CPU)
    moving = [action for action in range(8) if action not in still]
    assert torch.equal(lessons.spread[moving], lessons.actions.std(dim=0)[moving])
    largest = float(lessons.spread[moving].max()) if moving else 0.1
    assert lessons.spread[still].tolist() == pytest.approx([largest / 10] * len(still))


def test_an_action_beyond_the_limit_is_right_on_the_side_of_the_example_alone() -> None:
    model, lessons = seeded(lambda: Field(TINY, 10), 0), prepare(TOY, torch.Generator().manual_seed(0), CPU)
    arch = TOY.architectures[0]
    zoo, config = replace(TOY, architectures=(arch,)), replace(TINY, noise=0.0, near=0.0, size=0.0, near_share=1.0)
    with torch.no_grad():
        for residual in model:
            assert isinstance(residual, Residual)
            residual.rescale(torch.tensor(1e9), torch.zeros(()))  # all weights are 0
            last_bias = residual.last.bias
        last_bias.fill_(3.0)  # and all actions 3
    spread = torch.arange(1.0, 9.0)
    for wanted, error in ((1.0, 0.0), (-1.0, 16.0), (0.5, 6.25)):
        taught = replace(lessons, actions=torch.full_like(lessons.actions, wanted), spread=spread)
        loss = field_loss(model, taught, zoo, config, torch.Generator().manual_seed(0))
        each = error / spread.square()  # every action in units of its own spread
        assert float(loss.detach()) == pytest.approx(float(each.mean()), abs=1e-3)


def test_nothing_that_is_held_out_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    zoo = replace(TOY, architectures=load_track("narrow").splits.train)
    drawn = [draw_architecture(zoo, Method.config, rng) for _ in range(400)]
    trained = [arch for arch in drawn if arch in zoo.architectures]
    assert 150 < len(trained) < 250
    assert not any(is_held_out(arch, zoo) for arch in drawn)
    assert {len(arch) for arch in drawn} == {4} and min(map(min, drawn)) == 8 and max(map(max, drawn)) == 64
    monkeypatch.setattr(neumeta, "MAX_WIDTH", 17)  # so few widths are left that all others are held out
    only = (16, 17, 16, 17)
    zoo, config = replace(TOY, architectures=(only,)), replace(Method.config, narrowest=16)
    assert {draw_architecture(zoo, config, rng) for _ in range(40)} == {only}


def test_before_training_signals_pass_at_all_widths() -> None:
    """What each layer adds up varies by 1 over the states, and actions by .4, in the mean over uniform networks of 16,
    32 and 64; no more than a few times more or less at other widths."""
    others: list[list[float]] = []
    for seed in range(4):
        field = seeded(lambda: Field(Method.config, 10), seed)
        begin(field, TOY.states, 8, Method.config.noise)
        found = [_sizes_of_sums(field, (width,) * 4) for width in (16, 32, 64)]
        assert torch.tensor(found).mean(dim=0).tolist() == pytest.approx([1.0] * 5, abs=0.25)
        others.append(_sizes_of_sums(field, (24, 40, 24, 40)))
    assert 0.3 < float(torch.tensor(others).log().mean(dim=0).exp().min())
    assert float(torch.tensor(others).max()) < 3


def _sizes_of_sums(field: Field, arch: Architecture) -> list[float]:
    with torch.no_grad():
        weights = write(field, arch, 42, 8, Method.config.noise, torch.Generator().manual_seed(3))
    hidden, sizes = TOY.states, []
    for layer in range(5):
        sums = hidden @ weights[f"{2 * layer}.weight"].T + weights[f"{2 * layer}.bias"]
        sizes.append(float(sums.std(dim=0).square().mean().sqrt()) / (1 if layer < 4 else 0.4))
        hidden = sums.relu()
    return sizes


def test_a_training_begins_with_networks_that_signals_pass(tmp_path: Path) -> None:
    method = fit(tmp_path / "fit", replace(TINY, steps=1, peak_lr=1e-9, noise=0.0))
    (sample,) = method.generate((32, 32, 32, 32), 1)
    assert 0.1 < float(act(sample, TOY.states).std(dim=0).square().mean().sqrt()) < 1  # as they come: .03


def test_learns_what_the_example_does(tmp_path: Path) -> None:
    config = replace(TINY, hidden=64, frequencies=6, steps=800, states=64, peak_lr=3e-4, noise=0.0, ema=0.9)
    method = fit(tmp_path / "fit", config)
    lessons = prepare(TOY, torch.Generator().manual_seed(0), CPU)
    taught = lessons.actions[: len(TOY.states)]
    of_the_best_constant = (taught - taught.mean(dim=0)).norm(dim=0)
    for arch in (TOY.architectures[0], (24, 40, 40, 24)):
        (sample,) = method.generate(arch, 1)
        left = (act(sample, TOY.states) - taught).norm(dim=0) / of_the_best_constant  # (A,)
        assert float(left.max()) < 1 and float(left.mean()) < 0.9, left.tolist()  # each action, if little


def test_a_network_is_the_mean_of_many_draws_of_noise(fitted: Method) -> None:
    arch = (24, 48, 16, 32)

    def sample(draws: int, seed: int) -> Weights:
        config = replace(TINY, draws=draws)
        return Method(fitted.model, replace(fitted.manifest, config=config)).generate(arch, 1, seed=seed)[0]

    one, many = (distance(sample(draws, 0), sample(draws, 1)) for draws in (1, 36))
    assert many == pytest.approx(one / 6, rel=0.2)


def test_without_noise_all_samples_are_one(fitted: Method) -> None:
    still = Method(fitted.model, replace(fitted.manifest, config=replace(TINY, noise=0.0)))
    first, second = still.generate((24, 48, 16, 32), 2)
    assert same(first, second)


def test_asking_for_fewer_gives_the_first(fitted: Method) -> None:
    arch = TOY.architectures[0]
    many = fitted.generate(arch, 5, seed=4)
    assert all(map(same, fitted.generate(arch, 2, seed=4), many))
    assert distance(fitted.generate(arch, 1, seed=5)[0], many[0]) > 0
    assert fitted.generate(arch, 0) == []


def test_a_killed_run_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_that_a_killed_run_ends_the_same(fit, "neumeta.safetensors", tmp_path, monkeypatch)


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


def test_a_training_validates_what_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_that_a_training_validates_what_it_writes(neumeta, Method, TOY, tmp_path, monkeypatch)
