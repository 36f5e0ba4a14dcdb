"""Gaussian diffusion: the forward process, what is predicted, losses, samplers. Each modality has its own timestep.

Timesteps run from 1 to T; 0 is clean data, where the signal level alpha-bar is 1 and the target noise 0. Sections,
equations and appendices are those of NNiT's paper (arXiv 2603.00180v1).

Shapes: B networks; x is (B, tokens, numbers), t is (B,).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

Target = Literal["noise", "x0", "v"]
Schedule = Literal["linear", "latent"]
Sampler = Literal["ddim", "ancestral"]
Draw = Literal["uniform", "legible"]

_BETAS = {"linear": (1e-4, 2e-2, 1.0), "latent": (1.5e-3, 1.55e-2, 0.5)}
"""First and last beta, and the power of beta that grows linearly: Ho et al. 2020; latent diffusion as D2NWG has it."""
_LEGIBLE_LEVEL, _LEGIBLE_SHARE = 0.007, 0.9
_HALF_BIN = 1 / 255
"""Half of what separates two of the values that a discretised Gaussian tells apart, of 256 between -1 and 1."""


@dataclass(frozen=True)
class Process:
    """A noise schedule, and all that follows from it."""

    timesteps: int
    target: Target
    learned_variance: bool
    schedule: Schedule = "linear"
    draw: Draw = "uniform"
    """Which timesteps are trained on: all alike, or nine of ten among those at which a network of thousands of weights
    can still be told from the others. At later timesteps hardly anything of a network can be told."""

    @cached_property
    def levels(self) -> Tensor:
        """alpha-bar of t = 0 to T, (T + 1,): x_t = sqrt(level) x_0 + sqrt(1 - level) noise."""
        first, last, power = _BETAS[self.schedule]
        betas = torch.linspace(first**power, last**power, self.timesteps, dtype=torch.float64) ** (1 / power)
        return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, dim=0)])

    def level(self, t: Tensor) -> Tensor:
        """(B,) to (B, 1, 1), float32."""
        return self.levels.to(t.device, torch.float32)[t, None, None]

    def draw_timesteps(self, batch: int, rng: torch.Generator) -> Tensor:
        """Random timesteps from 1 to T, (B,), one in each of B equally likely parts for less variance."""
        spread = (torch.arange(batch) + torch.rand(batch, generator=rng)) / batch
        t = spread * self.timesteps
        if self.draw == "legible":
            last = int((self.levels[1:] >= _LEGIBLE_LEVEL).sum())
            early = spread / _LEGIBLE_SHARE * last
            late = last + (spread - _LEGIBLE_SHARE) / (1 - _LEGIBLE_SHARE) * (self.timesteps - last)
            t = torch.where(spread < _LEGIBLE_SHARE, early, late)
        return 1 + t.long().clamp(max=self.timesteps - 1)  # rounding reaches T

    def diffuse(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t; clean where t = 0."""
        level = self.level(t)
        return level.sqrt() * x0 + (1 - level).sqrt() * noise

    def wanted(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The target of the network; at t = 0 the target noise is 0 (appendix C)."""
        noise = noise * (t > 0)[:, None, None]
        if self.target == "noise":
            return noise
        if self.target == "x0":
            return x0
        level = self.level(t)
        return level.sqrt() * noise - (1 - level).sqrt() * x0  # Salimans and Ho 2022

    def clean(self, predicted: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """x_0 as a prediction implies it, t >= 1."""
        level = self.level(t)
        if self.target == "noise":
            return (x - (1 - level).sqrt() * predicted) / level.sqrt()
        return predicted if self.target == "x0" else level.sqrt() * x - (1 - level).sqrt() * predicted

    def loss(
        self,
        output: Tensor,
        x0: Tensor,
        noise: Tensor,
        t: Tensor,
        *,
        discrete: bool,
        log_expected: Tensor | None = None,
    ) -> Tensor:
        """Eq. 5 of one modality, a mean over its numbers: the squared error, and L_vb where the variance is learned.

        `log_expected` (B,) is the logarithm of the squared error that the network expects of each sample. The error is
        then divided by it, and the loss is least where the expectation is right (Kendall et al. 2018, Karras et al.
        2024).
        """
        predicted, interpolation = self.split(output)
        error = (predicted - self.wanted(x0, noise, t)).square()
        if self.target == "x0":
            error = error * (t > 0)[:, None, None]  # what is given clean need not be predicted
        if log_expected is None:
            mean_error = error.mean()
        else:
            mean_error = (error.flatten(1).mean(dim=1) * (-log_expected).exp() + log_expected).mean()
        if interpolation is None:
            return mean_error
        noisy = t > 0
        if not noisy.any():
            return mean_error
        x = self.diffuse(x0, noise, t)
        predicted = predicted.detach()  # the bound teaches the variance alone (Nichol and Dhariwal 2021)
        bound = self.variational_bound(
            predicted[noisy], interpolation[noisy], x0[noisy], x[noisy], t[noisy], discrete=discrete
        )
        return mean_error + bound.mean() * noisy.float().mean()

    def split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """The prediction and, where it is learned, the interpolation between the variances."""
        if not self.learned_variance:
            return output, None
        predicted, interpolation = output.chunk(2, dim=-1)
        return predicted, interpolation

    def variational_bound(
        self, predicted: Tensor, interpolation: Tensor, x0: Tensor, x: Tensor, t: Tensor, *, discrete: bool
    ) -> Tensor:
        """L_vb in bits per number, (B,): KL(q(x_{t-1} | x_t, x_0) || p), at t = 1 the likelihood of x_0.

        `discrete` values lie between -1 and 1 on a grid of 256; others have a density.
        """
        before = t - 1
        mean, log_variance = self.posterior(x0, x, t, before)
        guess, _ = self.posterior(self.clean(predicted, x, t), x, t, before)
        learned = self.learned_log_variance(interpolation, t, before)
        gap = (mean - guess).square()
        divergence = 0.5 * (learned - log_variance + ((log_variance - learned).exp() + gap * (-learned).exp()) - 1)
        if discrete:
            likelihood = -_log_of_bin(x0, guess, learned)
        else:
            likelihood = 0.5 * (math.log(2 * math.pi) + learned + (x0 - guess).square() * (-learned).exp())
        bits = torch.where((t == 1)[:, None, None], likelihood, divergence) / math.log(2)
        return bits.flatten(1).mean(dim=1)

    def posterior(self, x0: Tensor, x: Tensor, t: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(x_before | x_t, x_0) for before < t."""
        level, earlier = self.level(t), self.level(before)
        alpha = level / earlier
        mean = (earlier.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - earlier) * x) / (1 - level)
        return mean, self._smaller_log_variance(t, before)

    def learned_log_variance(self, interpolation: Tensor, t: Tensor, before: Tensor) -> Tensor:
        """Between the variances of q(x_before | x_t, x_0) and q(x_t | x_before) (Nichol and Dhariwal 2021, eq. 15)."""
        share = (interpolation + 1) / 2
        larger = (1 - self.level(t) / self.level(before)).log()
        return share * larger + (1 - share) * self._smaller_log_variance(t, before)

    def _smaller_log_variance(self, t: Tensor, before: Tensor) -> Tensor:
        # At t = 1 the variance is 0, which has no logarithm: that of t = 2 stands in, as is usual.
        later = (t + 1).clamp(max=self.timesteps)
        t, before = torch.where(before == 0, later, t), torch.where(before == 0, before + 1, before)
        level, earlier = self.level(t), self.level(before)
        return ((1 - earlier) / (1 - level) * (1 - level / earlier)).log()


def _log_of_bin(x0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log probability of the grid value x0; the outermost bins reach to infinity."""
    scale = (-0.5 * log_variance).exp()
    upper = torch.special.ndtr((x0 + _HALF_BIN - mean) * scale)
    lower = torch.special.ndtr((x0 - _HALF_BIN - mean) * scale)
    inside = torch.where(x0 > 0.999, 1 - lower, torch.where(x0 < -0.999, upper, upper - lower))
    return inside.clamp(min=1e-12).log()


def respaced(timesteps: int, steps: int) -> list[int]:
    """`steps` timesteps from T down to 1, evenly spaced."""
    return torch.linspace(timesteps, 1, steps).round().long().unique().flip(0).tolist()


@torch.no_grad()
def sample(
    process: Process,
    predict: Callable[[list[Tensor], Tensor], list[Tensor]],
    noise: list[Tensor],
    steps: int,
    rng: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """From noise to clean data; one tensor per modality, all at the same timestep (section 5.4).

    `predict(x, t)` gives the network's outputs. Without `rng` the steps are DDIM's (Song et al. 2021, eq. 12, no noise
    added); with it they are ancestral, and `rng(x)` draws noise in the shape of x.
    """
    x = noise
    times = respaced(process.timesteps, steps)
    for now, next_ in zip(times, [*times[1:], 0], strict=True):
        t = torch.full((len(x[0]),), now, device=x[0].device)
        before = torch.full_like(t, next_)
        outputs = predict(x, t)
        stepped = []
        for state, output in zip(x, outputs, strict=True):
            predicted, interpolation = process.split(output)
            clean = process.clean(predicted, state, t)
            if rng is None:
                level, earlier = process.level(t), process.level(before)
                implied = (state - level.sqrt() * clean) / (1 - level).sqrt()
                stepped.append(earlier.sqrt() * clean + (1 - earlier).sqrt() * implied)
                continue
            mean, log_variance = process.posterior(clean, state, t, before)
            if interpolation is not None:
                log_variance = process.learned_log_variance(interpolation, t, before)
            stepped.append(mean if next_ == 0 else mean + (0.5 * log_variance).exp() * rng(state))
        x = stepped
    return x


def draw_samples(
    process: Process,
    predict: Callable[[list[Tensor], Tensor], list[Tensor]],
    shapes: list[tuple[int, int]],
    sources: list[torch.Generator],
    steps: int,
    sampler: Sampler,
    device: torch.device,
) -> list[Tensor]:
    """`sample`, with one network per source. The shapes are those of the modalities, (tokens, numbers)."""

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.stack([torch.randn(shape, generator=source) for source in sources]).to(device)

    noise = [draw(shape) for shape in shapes]
    rng = None if sampler == "ddim" else lambda like: draw(tuple(like.shape[1:]))
    return sample(process, predict, noise, steps, rng)


SINUSOIDS = 256


def sinusoids(t: Tensor) -> Tensor:
    """Timesteps (B,) as (B, SINUSOIDS)."""
    half = SINUSOIDS // 2
    angles = t[:, None] * torch.exp(-math.log(10000) / half * torch.arange(half, device=t.device))
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Timestep(nn.Module):
    """Embeds a timestep, 0 for clean data: sinusoids, then a perceptron."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.perceptron = nn.Sequential(nn.Linear(SINUSOIDS, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:  # (B,) -> (B, width)
        embedded: Tensor = self.perceptron(sinusoids(t))
        return embedded
