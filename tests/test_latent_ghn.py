"""The hypernetwork with a latent code: it learns what policies do, and nothing of what is held out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import check_that_a_killed_run_ends_the_same, check_that_load_names_misfits, distance, same

from nnbench.errors import InputError
from nnbench.harness.conformance import toy_training_set
from nnbench.methods import latent_ghn
from nnbench.methods._optimisation import Run
from nnbench.methods.latent_ghn import (
    Config,
    Hypernetwork,
    Method,
    ask,
    batch_loss,
    choose_teachers,
    draw_architectures,
    in_one_scale,
    is_held_out,
    run_policies,
)
from nnbench.tasks.policies.architectures import MAX_WIDTH, architecture_name, load_further
from nnbench.tasks.policies.mlp import act, check_weights
from nnbench.tasks.policies.tracks import load_track
from nnbench.tasks.push_cube import PUSH_CUBE
from nnbench.zoos import open_zoo

TOY = toy_training_set(reads=Method.reads)
SMALL = replace(
    Method.rehearsal, hidden=64, teachers=2, depths=(3, 4), steps=800, architectures=4, peak_lr=5e-3, warmup=20, ema=0.9
)
ANY = [(24, 48, 16), (64, 64, 64, 64), (8, 8, 8, 8), (9, 60, 33, 50)]
BEYOND = [(7, 8, 8, 8), (32, 65, 32, 32), (32, 32), (32, 32, 32, 32, 32)]


def fit(directory: Path, config: Config = Method.rehearsal, seed: int = 0, zoo: Any = TOY) -> Method:
    directory.mkdir(exist_ok=True)
    return Method.fit(zoo, seed=seed, directory=directory, config=config)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Method:
    return fit(tmp_path_factory.mktemp("fit"), SMALL)


@pytest.mark.parametrize("arch", ANY)
def test_writes_any_widths_and_depth(fitted: Method, arch: Any) -> None:
    first, second = fitted.generate(arch, 2)
    for weights in (first, second):
        check_weights(weights, arch, 42, 8, "latent_ghn")
    assert distance(first, second) > 0


def test_what_is_written_does_what_was_trained(fitted: Method) -> None:
    arch, codes = (24, 48, 16), torch.randn(3, fitted.manifest.config.code)
    weights, biases = fitted.model(torch.tensor([arch] * 3), codes)
    trained = run_policies(weights, biases, TOY.states.expand(3, -1, -1))
    for sample, actions in zip(fitted._write(arch, list(codes)), trained, strict=True):
        torch.testing.assert_close(act(sample, TOY.states), actions[:, :8], atol=1e-5, rtol=1e-4)
    assert weights[:, 1, 48:].abs().sum() == weights[:, 1, :, 24:].abs().sum() == biases[:, 1, 48:].abs().sum() == 0


def learn() -> latent_ghn.Lessons:
    rng = torch.Generator().manual_seed(0)
    teachers = choose_teachers(TOY, SMALL, rng)
    states, _ = Method.collect_states(Run("learn", TOY, SMALL, 0, Path()), teachers, rng)
    return ask(teachers, states)


def test_learns_what_training_policies_do_in_the_mean(fitted: Method) -> None:
    taught = learn().actions[: len(TOY.states)]
    for arch in (TOY.architectures[0], (24, 40, 40, 24)):
        done = torch.stack([act(sample, TOY.states) for sample in fitted.generate(arch, 4, seed=1)])
        of_the_best_constant = (taught - taught.mean(dim=0)).norm() * 2  # of four samples
        assert float((done - taught).norm()) < 0.85 * float(of_the_best_constant)


def test_teachers_are_asked_for_their_mean_and_for_how_far_they_are_apart() -> None:
    own = TOY.networks(TOY.architectures[0])
    one = next(iter(own.values()))
    moved = {key: value.clone() for key, value in one.items()}
    moved["8.bias"] = moved["8.bias"] + torch.tensor([0.03] + [0.0] * 7)
    far = {**moved, "8.bias": moved["8.bias"] + torch.tensor([0.0, 0.04] + [0.0] * 6)}
    states = 0.01 * TOY.states  # where nothing is clamped
    lessons = ask([one, moved, far], states)
    torch.testing.assert_close(
        lessons.actions - act(one, states), torch.tensor([0.02, 0.04 / 3] + [0.0] * 6).expand(len(states), -1)
    )
    assert lessons.apart == pytest.approx(0.03, rel=1e-3)
    assert ask([one, one], states).apart > 0


def test_nothing_that_a_track_holds_out_is_trained_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('asks = "Is one enough?"\ntrain = ["32-32-32-32"]\nunseen = ["64-64-64-64", "24-24-24-24"]\n')
    for name in ("paper", "narrow", "sgd", "sgd-narrow", str(own)):
        training = open_zoo(track=name).training_set()
        splits = load_track(name).splits
        asked = splits.unseen + splits.outside + sum(load_further().values(), ())
        assert all(is_held_out(arch, training) for arch in asked)
        assert not any(is_held_out(arch, training) for arch in (*splits.train, (17, 32, 32, 64), (32, 32)))
    monkeypatch.setattr(latent_ghn, "MAX_WIDTH", 17)  # so few widths are left that all others are held out
    only = (16, 17, 16, 17)
    zoo, rng = replace(TOY, architectures=(only,)), torch.Generator().manual_seed(0)
    for _ in range(20):
        drawn = draw_architectures(zoo, replace(SMALL, narrowest=16, depths=(4, 4)), rng)
        assert {tuple(arch) for arch in drawn.tolist()} == {only}


def test_one_teacher_who_agrees_with_nobody_is_refused() -> None:
    with pytest.raises(InputError, match="1 training policies to learn from, expected 2 or more"):
        choose_teachers(TOY, replace(SMALL, teachers=1), torch.Generator())


def test_a_task_with_too_many_numbers_is_refused_before_anything_is_learned() -> None:
    with pytest.raises(InputError, match="65 observation and 8 action numbers, expected at most 64"):
        Hypernetwork(SMALL, 65, 8)


def test_draws_training_architectures_and_others_of_any_depth() -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = [draw_architectures(TOY, Method.config, rng) for _ in range(200)]
    trained = [batch for batch in drawn if tuple(batch[0].tolist()) in TOY.architectures]
    assert 70 < len(trained) < 130
    assert all(tuple(arch) in TOY.architectures for batch in trained for arch in batch.tolist())
    others = [batch for batch in drawn if tuple(batch[0].tolist()) not in TOY.architectures]
    assert {batch.shape[1] for batch in others} == {3, 4, 5, 6}
    assert min(int(batch.min()) for batch in others) == 8 and max(int(batch.max()) for batch in others) > MAX_WIDTH - 4


@pytest.mark.parametrize(("term", "margin"), [("spread", "margin"), ("spread_actions", "margin_actions")])
def test_two_networks_of_one_architecture_are_pushed_apart(term: str, margin: str) -> None:
    lessons = learn()
    model = Hypernetwork(SMALL, 42, 8)
    readers: list[Any] = [model.weight[0], model.bias[0]]
    losses = {}
    for spread in (0.0, 1.0):
        for code in (0.0, 1.0):  # with nothing of the code, both are the same network
            with torch.no_grad():
                for reader in readers:
                    reader.weight[:, -SMALL.code :] = 30 * code * torch.randn(reader.out_features, SMALL.code)
            terms: dict[str, Any] = {"spread": 0.0, "spread_actions": 0.0, term: spread}
            config = replace(SMALL, **terms)
            losses[spread, code] = float(
                batch_loss(model, lessons, TOY, config, torch.Generator().manual_seed(3)).detach()
            )
    full = getattr(SMALL, margin) ** 2
    assert losses[1.0, 0.0] - losses[0.0, 0.0] == pytest.approx(full, rel=0.02)
    assert losses[1.0, 1.0] - losses[0.0, 1.0] < 0.5 * full


def test_scales_that_no_action_shows_push_nothing_apart() -> None:
    model = Hypernetwork(SMALL, 42, 8)
    widths, codes = torch.tensor([[16, 24, 9]]), torch.zeros(1, SMALL.code)
    with torch.no_grad():
        weights, biases = model(widths, codes)
        scale = 8 ** (2 * torch.rand(1, 3, MAX_WIDTH, generator=torch.Generator().manual_seed(0)) - 1)
        other, shifts = weights.clone(), biases.clone()
        for layer in range(3):
            other[:, layer] *= scale[:, layer, :, None]
            shifts[:, layer] *= scale[:, layer]
            other[:, layer + 1] /= scale[:, layer, None, :]
        states = torch.randn(1, 20, 42, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(run_policies(other, shifts, states), run_policies(weights, biases, states))
        one, two = in_one_scale(weights, biases), in_one_scale(other, shifts)
    assert float((other - weights).norm() / weights.norm()) > 1
    assert float((one - two).norm() / one.norm()) < 0.1
    assert not one[weights == 0].any(), "padding stays zero"


def test_two_equal_networks_have_a_gradient() -> None:
    model, lessons = Hypernetwork(SMALL, 42, 8), learn()
    for perceptron in (model.weight, model.bias):
        reader: Any = perceptron[0]
        reader.weight.data[:, -SMALL.code :] = 0
    batch_loss(model, lessons, TOY, SMALL, torch.Generator().manual_seed(3)).backward()
    assert all(bool(parameter.grad is not None and parameter.grad.isfinite().all()) for parameter in model.parameters())


def test_a_sample_depends_on_architecture_seed_and_its_number_alone(
    fitted: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    arch = (24, 48, 16)
    many = fitted.generate(arch, 5, seed=4)
    monkeypatch.setattr(latent_ghn, "WRITE_BATCH", 2)
    assert max(map(distance, fitted.generate(arch, 5, seed=4), many)) < 1e-4
    assert distance(fitted.generate(arch, 1, seed=5)[0], many[0]) > 0.1
    assert fitted.generate(arch, 0) == []


def test_chooses_architectures_of_the_zoos_widths(fitted: Method) -> None:
    pairs = fitted.generate_joint(40, seed=1)
    assert len({arch for arch, _ in pairs}) > 10 and {width for arch, _ in pairs for width in arch} <= {16, 32, 64}
    for arch, weights in pairs:
        check_weights(weights, arch, 42, 8, "latent_ghn")
    assert all(same(one, other) for (_, one), (_, other) in zip(fitted.generate_joint(40, seed=1), pairs, strict=True))


def test_a_killed_run_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_that_a_killed_run_ends_the_same(fit, "latent_ghn.safetensors", tmp_path, monkeypatch)


def test_a_saved_model_generates_the_same(fitted: Method, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = Method.load(tmp_path, TOY)
    assert loaded.manifest == fitted.manifest
    assert all(map(same, loaded.generate((24, 48, 16), 3), fitted.generate((24, 48, 16), 3)))


def test_load_says_what_does_not_fit(fitted: Method, tmp_path: Path) -> None:
    other = replace(TOY, task=PUSH_CUBE)
    check_that_load_names_misfits(
        fitted, tmp_path, TOY, other, "trained for task 'PickCube-v1', expected 'PushCube-v1'"
    )


@pytest.mark.parametrize("arch", BEYOND)
def test_refuses_what_is_beyond_what_it_was_trained_on(fitted: Method, arch: Any) -> None:
    learned = "is beyond what it learned to write, 3 to 4 hidden layers, each 8 to 64 wide"
    with pytest.raises(InputError, match=f"latent_ghn: {architecture_name(arch)} {learned}"):
        fitted.generate(arch, 1)


def test_is_small() -> None:
    with torch.device("meta"):
        model = Hypernetwork(Method.config, 42, 8)
    assert 2 * sum(parameter.numel() for parameter in model.parameters()) < 2 * 2**20  # bytes in float16
