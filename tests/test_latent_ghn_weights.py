"""The variant that makes up its observations: where policies agree, where its students err, and from weights alone."""

import time
from pathlib import Path

import pytest
import torch

from nnbench.harness.conformance import toy_training_set
from nnbench.methods import latent_ghn_weights
from nnbench.methods.latent_ghn_weights import (
    KEPT,
    Method,
    agreed,
    draw,
    measure_lengths,
    outputs,
    seek,
    step,
)
from nnbench.tasks.policies.mlp import Weights, act, check_weights
from nnbench.tasks.policies.training_set import HeldOutAccess

TOY = toy_training_set(reads=("weights",))
ONE = next(iter(TOY.networks(TOY.architectures[0]).values()))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def agreeing_but_for_the_last_number(count: int = 4) -> list[Weights]:
    """Policies that do the same, except for what the last number of an observation makes them do."""
    rng, policies = seeded(0), []
    for _ in range(count):
        first = ONE["0.weight"].clone()
        first[:, -1] = torch.randn(len(first), generator=rng)
        policies.append({**ONE, "0.weight": first})
    return policies


def deaf_to(number: int) -> Weights:
    """The policy that they agree on, but for one number of the observation, which it does not read."""
    first = ONE["0.weight"].clone()
    first[:, [number, -1]] = 0
    return {**ONE, "0.weight": first}


def test_observations_are_kept_on_which_teachers_agree() -> None:
    drawn = torch.randn(4_000, 42, generator=seeded(1))
    kept = agreed(drawn, agreeing_but_for_the_last_number())
    assert kept.shape == (4_000 // KEPT, 42)
    known = {tuple(row) for row in drawn.tolist()}
    assert all(tuple(row) in known for row in kept.tolist())
    assert float(kept[:, -1].abs().mean()) < 0.1 < 0.6 < float(kept[:, 0].abs().mean())


def test_as_many_are_drawn_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_ghn_weights, "AT_A_TIME", 3_000)  # the last part is smaller
    assert draw(4_000, 42, agreeing_but_for_the_last_number(), seeded(0)).shape == (200, 42)


def test_a_search_ends_where_teachers_agree_and_students_err() -> None:
    teachers, beginning = agreeing_but_for_the_last_number(), torch.randn(200, 42, generator=seeded(1))
    found = seek(beginning, 100, teachers, [deaf_to(3)], seeded(2))
    assert len(found) == 100 * latent_ghn_weights.COLLECTING

    def varies_and_errs(x: torch.Tensor) -> tuple[float, float]:
        told = torch.stack([outputs(teacher, x) for teacher in teachers])
        errs = (act(deaf_to(3), x) - told.clamp(-1, 1).mean(dim=0)).square().sum(dim=1)
        return float(told.var(dim=0).sum(dim=1).median()), float(errs.median())

    (varied, erred), (varies, errs) = varies_and_errs(beginning), varies_and_errs(found)
    assert varies < 0.2 * varied and errs > 3 * erred
    assert float(found[:, 3].square().mean()) > 3 > 2 > float(found[:, :3].square().mean())


def test_steps_are_long_where_slopes_agree() -> None:
    x = torch.randn(50, 42, generator=seeded(1))
    lengths = measure_lengths(x, agreeing_but_for_the_last_number())
    torch.testing.assert_close(lengths, lengths.T)
    assert float(lengths[-1, -1]) < 0.1 < 0.5 < float(lengths.diagonal()[:-1].mean())


def test_slopes_are_those_of_single_observations() -> None:
    x, teachers = torch.randn(3, 42, generator=seeded(1)), agreeing_but_for_the_last_number(2)
    differ = torch.zeros(42, 42)
    for row in x:
        one, other = (torch.autograd.functional.jacobian(lambda z, t=t: outputs(t, z[None])[0], row) for t in teachers)
        differ += 2 * ((one - other) / 2).T @ ((one - other) / 2) / (2 * 3)
    torch.testing.assert_close(
        measure_lengths(x, teachers), torch.linalg.inv(torch.eye(42) + differ / latent_ghn_weights.SLOPES)
    )


def test_far_from_agreement_a_step_is_cut() -> None:
    x, height = torch.full((5, 42), 30.0), latent_ghn_weights.STEP
    moved = step(x, agreeing_but_for_the_last_number(), [ONE], torch.eye(42), seeded(0)) - x
    pulled = moved - (2 * height) ** 0.5 * torch.randn(x.shape, generator=seeded(0))
    torch.testing.assert_close(
        pulled.norm(dim=1), torch.full((5,), height * latent_ghn_weights.LONGEST), rtol=1e-3, atol=0
    )


def test_learns_and_writes_without_any_state(tmp_path: Path) -> None:
    with pytest.raises(HeldOutAccess, match="asks for states"):
        _ = TOY.states
    fitted = Method.fit(TOY, seed=0, directory=tmp_path)
    for weights in fitted.generate((24, 48, 16), 2):
        check_weights(weights, (24, 48, 16), 42, 8, "latent_ghn_weights")


def test_searches_count_as_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sought: list[float] = []

    def timed(*asked: object) -> torch.Tensor:
        began = time.perf_counter()
        found = seek(*asked)  # type: ignore[arg-type]
        sought.append(time.perf_counter() - began)
        return found

    monkeypatch.setattr(latent_ghn_weights, "seek", timed)
    fitted = Method.fit(TOY, seed=0, directory=tmp_path)
    assert len(sought) == latent_ghn_weights.SEARCHES and fitted.manifest.seconds > sum(sought)
    assert len(list(tmp_path.glob("*.csv"))) == latent_ghn_weights.SEARCHES + 1


def test_a_training_killed_in_a_search_goes_on_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    expected = Method.fit(TOY, seed=0, directory=whole).generate((16, 16, 16), 1)[0]
    with monkeypatch.context() as patched:
        calls: list[int] = []

        def seek_once(*asked: object) -> torch.Tensor:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return seek(*asked)  # type: ignore[arg-type]

        patched.setattr(latent_ghn_weights, "seek", seek_once)
        with pytest.raises(KeyboardInterrupt):
            Method.fit(TOY, seed=0, directory=killed)
    found = Method.fit(TOY, seed=0, directory=killed).generate((16, 16, 16), 1)[0]
    assert all(torch.equal(found[key], expected[key]) for key in expected)
