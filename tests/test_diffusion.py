import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nnbench.methods._diffusion import Process, respaced, sample

T = 1000
TARGETS = ("noise", "x0", "v")


def process(target: Any = "noise", learned_variance: bool = False) -> Process:
    return Process(T, target, learned_variance)


def steps(*t: int) -> Tensor:
    return torch.tensor(t)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_forward_process_has_its_moments_in_closed_form() -> None:
    betas = torch.linspace(1e-4, 2e-2, T, dtype=torch.float64)
    x0, noise = torch.full((20_000, 1, 1), 0.7), draw(20_000, 1, 1)
    for t in (1, 100, 500, T):
        level = float((1 - betas[:t]).prod())
        x = process().diffuse(x0, noise, torch.full((20_000,), t))
        assert float(x.mean()) == pytest.approx(0.7 * math.sqrt(level), abs=0.02)
        assert float(x.std()) == pytest.approx(math.sqrt(1 - level), rel=0.02)


def test_the_schedule_of_latent_diffusion_is_linear_in_the_root_of_beta() -> None:
    levels = Process(1024, "noise", learned_variance=False, schedule="latent").levels
    betas = 1 - levels[1:] / levels[:-1]
    assert (float(betas[0]), float(betas[-1])) == pytest.approx((1.5e-3, 1.55e-2))
    assert float(betas[511].sqrt() + betas[512].sqrt()) == pytest.approx(float(betas[0].sqrt() + betas[-1].sqrt()))


def test_timesteps_are_uniform_from_one_to_the_last() -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = torch.stack([process().draw_timesteps(10, rng) for _ in range(400)])  # (400, 10)
    assert int(drawn.min()) >= 1 and int(drawn.max()) <= T
    assert (drawn > torch.arange(10) * 100).all() and (drawn <= (torch.arange(10) + 1) * 100).all()


def test_nine_of_ten_timesteps_drawn_are_legible() -> None:
    legible = Process(T, "x0", learned_variance=False, draw="legible")
    rng = torch.Generator().manual_seed(0)
    drawn = torch.stack([legible.draw_timesteps(10, rng) for _ in range(400)])  # (400, 10)
    assert (legible.levels[drawn[:, :9]] >= 0.007).all() and (legible.levels[drawn[:, 9]] < 0.007).all()
    assert int(drawn.min()) >= 1 and T - 10 < int(drawn.max()) <= T


def test_what_is_clean_stays_exactly_clean() -> None:
    x0, noise, t = draw(3, 6, 5), draw(3, 6, 5, seed=1), steps(0, 0, 7)
    x = process().diffuse(x0, noise, t)
    assert torch.equal(x[:2], x0[:2]) and not torch.equal(x[2], x0[2])
    assert not process("noise").wanted(x0, noise, t)[:2].any()  # the paper's target at t = 0
    assert torch.equal(process("v").wanted(x0, noise, t)[:2], torch.zeros(2, 6, 5))


@pytest.mark.parametrize("target", TARGETS)
def test_a_right_prediction_gives_the_clean_data_back(target: str) -> None:
    x0, noise, t = draw(4, 2, 3), draw(4, 2, 3, seed=1), steps(1, 10, 400, T)
    p = process(target)
    x = p.diffuse(x0, noise, t)
    torch.testing.assert_close(p.clean(p.wanted(x0, noise, t), x, t), x0, atol=2e-3, rtol=1e-3)


def test_the_posterior_is_bayes() -> None:
    p, x0, x = process(), torch.tensor([[[0.4]]]), torch.tensor([[[-0.3]]])
    for t, before in ((300, 299), (300, 200), (T, 1)):
        level, earlier = (float(p.levels[s]) for s in (t, before))
        alpha = level / earlier
        # N(x_before; sqrt(earlier) x0, 1 - earlier) times N(x_t; sqrt(alpha) x_before, 1 - alpha)
        precision = 1 / (1 - earlier) + alpha / (1 - alpha)
        mean = (math.sqrt(earlier) * 0.4 / (1 - earlier) + math.sqrt(alpha) * -0.3 / (1 - alpha)) / precision
        found, log_variance = p.posterior(x0, x, steps(t), steps(before))
        assert float(found) == pytest.approx(mean, rel=1e-3, abs=1e-5)
        assert float(log_variance.exp()) == pytest.approx(1 / precision, rel=1e-3)


def kl(mean: float, variance: float, other_mean: float, other_variance: float) -> float:
    """Of one-dimensional Gaussians, in bits."""
    ratio = variance / other_variance
    return 0.5 * (ratio - 1 - math.log(ratio) + (mean - other_mean) ** 2 / other_variance) / math.log(2)


@pytest.mark.parametrize("share", [-1.0, 0.0, 1.0])
def test_the_bound_between_steps_is_a_divergence_of_gaussians(share: float) -> None:
    p, t = process("x0", learned_variance=True), 300
    x0, x, guess = (torch.full((1, 1, 1), value) for value in (0.4, -0.3, 0.1))
    mean, log_variance = p.posterior(x0, x, steps(t), steps(t - 1))
    guessed, _ = p.posterior(guess, x, steps(t), steps(t - 1))
    beta = 1 - float(p.levels[t] / p.levels[t - 1])
    weight = (share + 1) / 2
    variance = math.exp(weight * math.log(beta) + (1 - weight) * float(log_variance))
    expected = kl(float(mean), float(log_variance.exp()), float(guessed), variance)
    found = p.variational_bound(guess, torch.full((1, 1, 1), share), x0, x, steps(t), discrete=False)
    assert float(found) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_the_last_step_is_a_likelihood_of_its_kind() -> None:
    p, x = process("x0", learned_variance=True), torch.full((1, 1, 1), 0.9)
    x0, guess, share = torch.ones(1, 1, 1), torch.full((1, 1, 1), 0.98), torch.zeros(1, 1, 1)
    mean, _ = p.posterior(guess, x, steps(1), steps(0))
    std = math.exp(0.5 * float(p.learned_log_variance(share, steps(1), steps(0))))
    z = (1 - float(mean)) / std
    density = 0.5 * z**2 + math.log(std * math.sqrt(2 * math.pi))
    found = p.variational_bound(guess, share, x0, x, steps(1), discrete=False)
    assert float(found) == pytest.approx(density / math.log(2), rel=1e-3)
    # 1 is the last of 256 values, whose bin has no upper end.
    normal = torch.distributions.Normal(float(mean), std)
    mass = 1 - float(normal.cdf(torch.tensor(1 - 1 / 255)))
    found = p.variational_bound(guess, share, x0, x, steps(1), discrete=True)
    assert float(found) == pytest.approx(-math.log2(mass), rel=1e-3)


@pytest.mark.parametrize("learned_variance", [False, True])
def test_an_expected_error_makes_every_timestep_count_alike(learned_variance: bool) -> None:
    p, x0, noise, t = process("x0", learned_variance), torch.zeros(2, 3, 4), draw(2, 3, 4), steps(5, 900)
    error = torch.tensor([0.01, 0.9]).sqrt()[:, None, None].expand(2, 3, 4).clone().requires_grad_()
    output = torch.cat([error, torch.zeros_like(error)], dim=-1) if learned_variance else error
    expected = torch.tensor([0.01, 0.9]).log().requires_grad_()
    plain = p.loss(output, x0, noise, t, discrete=False)
    balanced = p.loss(output, x0, noise, t, discrete=False, log_expected=expected)
    bound = plain - (0.01 + 0.9) / 2
    torch.testing.assert_close(balanced - bound, 1 + expected.mean())
    in_error, in_expected = torch.autograd.grad(balanced, (error, expected))
    torch.testing.assert_close(in_expected, torch.zeros(2))  # least where the expectation is right
    pull = (in_error * error).sum(dim=(1, 2))
    torch.testing.assert_close(pull[0], pull[1])


def test_the_bound_teaches_the_variance_and_not_the_mean() -> None:
    p, x0, noise, t = process("noise", learned_variance=True), draw(2, 1, 3), draw(2, 1, 3, seed=1), steps(5, 600)
    output = torch.cat([noise, torch.zeros_like(noise)], dim=-1).requires_grad_()
    loss = p.loss(output, x0, noise, t, discrete=False)
    loss.backward()
    assert output.grad is not None
    assert not output.grad[..., :3].any() and output.grad[..., 3:].any()  # the mean is right already


def exact(std: float, p: Process) -> Any:
    """The best prediction for data N(0, std^2)."""

    def predict(x: list[Tensor], t: Tensor) -> list[Tensor]:
        level = p.level(t)
        clean = [level.sqrt() * std**2 * state / (level * std**2 + 1 - level) for state in x]
        if p.target == "x0":
            return clean
        implied = [(s - level.sqrt() * c) / (1 - level).sqrt() for s, c in zip(x, clean, strict=True)]
        if p.target == "noise":
            return implied
        return [level.sqrt() * n - (1 - level).sqrt() * c for n, c in zip(implied, clean, strict=True)]

    return predict


@pytest.mark.parametrize("target", TARGETS)
def test_ddim_follows_the_probability_flow(target: str) -> None:
    """For data N(0, s^2) the flow carries noise z to s z."""
    p, noise = process(target), [draw(2, 3, 256), draw(2, 6, 5, seed=1)]
    for found, start in zip(sample(p, exact(0.538, p), noise, 200), noise, strict=True):
        torch.testing.assert_close(found, 0.538 * start, rtol=0.05, atol=2e-3)


@pytest.mark.parametrize("target", TARGETS)
def test_ancestral_samples_have_the_spread_of_the_data(target: str) -> None:
    p, rng = process(target), torch.Generator().manual_seed(1)
    # Few steps of the smaller variance, which is right for data that are a single point, lose some of the spread.
    for count, tolerance in ((T, 0.02), (100, 0.08)):
        (found,) = sample(
            p, exact(0.538, p), [draw(1, 100, 100)], count, lambda like: torch.randn(like.shape, generator=rng)
        )
        assert float(found.std()) == pytest.approx(0.538, rel=tolerance)


def test_respaced_timesteps_begin_at_the_end_and_stop_at_one() -> None:
    assert respaced(1000, 1000) == list(range(1000, 0, -1))
    assert respaced(1000, 3) == [1000, 500, 1] and len(respaced(1000, 20)) == 20
