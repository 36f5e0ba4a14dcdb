"""`latent_ghn` without the zoo's states: it asks its teachers where they agree.

Of the zoo it reads weights alone. Policies can be asked about any observation, and they agree on what to do where they
have learned something: on the observations that a robot meets, not on others. So observations are drawn from

    p(x) ~ exp(-|x|^2 / (2 W^2)) (e + v(x))^-b                                                                  (1)

where v is the variance of the teachers' actions, summed over their numbers and not clamped: far out all are clamped to
the same. Langevin's steps draw from it (Roberts and Tweedie 1996).

Shapes: S observations of O numbers, T teachers, A action numbers, L layers.
"""

from typing import ClassVar

import torch
from torch import Tensor
from tqdm import tqdm

from nnbench.facts import Reading
from nnbench.methods import latent_ghn
from nnbench.methods._machine import pick_device
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.policies.training_set import TrainingSet

OBSERVATIONS = 24_000
WIDTH = 1.8
"""W. Observations are standardised, but not independent of one another: in few directions they are wider than 1."""
STRENGTH = 60.0
"""b."""
FLOOR = 1e-4
"""e."""
STEPS = 200
STEP_SIZE = 1e-3
LARGEST = 200.0
"""To so much the norm of a gradient is cut."""
ASKED = 8
"""Teachers that are asked in one step, others in the next."""
AT_A_TIME = 4096
JITTERS = (0.0, 0.1, 0.3, 0.6)
"""As in `latent_ghn`, and farther, because the drawn observations are fewer and nearer to one another."""


class Method(latent_ghn.Method):
    """`latent_ghn` that learns on observations which it makes up."""

    name: ClassVar[str] = "latent_ghn_weights"
    variant_of: ClassVar[tuple[str, str] | None] = ("latent_ghn", "on observations where training policies agree")
    reads: ClassVar[tuple[Reading, ...]] = ("weights",)
    version: ClassVar[int] = 1

    @staticmethod
    def collect_states(training: TrainingSet, teachers: list[Weights], rng: torch.Generator) -> Tensor:
        """Observations that are made up, and some around them. (S, O)"""
        count = 200 if training.rehearsal else OBSERVATIONS
        states = make_up(teachers, count, training.task.observation_dim, rng)
        return torch.cat([states + jitter * torch.randn(states.shape, generator=rng) for jitter in JITTERS])


def make_up(teachers: list[Weights], count: int, observation_dim: int, rng: torch.Generator) -> Tensor:
    """Observations of eq. 1, (S, O), on the CPU."""
    device, layers = pick_device(), stack(teachers)
    layers = [(weight.to(device), bias.to(device)) for weight, bias in layers]
    x = torch.randn(count, observation_dim, generator=rng)
    for _ in tqdm(range(STEPS), desc="observations", unit="step", disable=None):
        some = torch.randperm(len(teachers), generator=rng)[:ASKED].to(device)
        asked = [(weight[some], bias[some]) for weight, bias in layers]
        slopes = [slope(part.to(device), asked).cpu() for part in x.split(AT_A_TIME)]
        x = x + STEP_SIZE * torch.cat(slopes) + (2 * STEP_SIZE) ** 0.5 * torch.randn(x.shape, generator=rng)
    return x


def slope(x: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The gradient of the logarithm of eq. 1 in x, (S, O), at most LARGEST long."""
    x = x.clone().requires_grad_()
    log_density = -x.square().sum() / (2 * WIDTH**2) - STRENGTH * (FLOOR + disagreement(x, layers)).log().sum()
    (gradient,) = torch.autograd.grad(log_density, x)
    return gradient * (LARGEST / gradient.norm(dim=1, keepdim=True)).clamp(max=1)


def disagreement(x: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Observations (S, O) and T policies to the variance of their actions, which are not clamped, (S,)."""
    hidden = x.expand(len(layers[0][0]), -1, -1)
    for number, (weight, bias) in enumerate(layers):
        hidden = torch.baddbmm(bias[:, None], hidden, weight.transpose(1, 2))  # (T, S, ...)
        if number < len(layers) - 1:
            hidden = hidden.relu()
    return hidden.var(dim=0).sum(dim=1)


def stack(policies: list[Weights]) -> list[tuple[Tensor, Tensor]]:
    """Weights (T, out, in) and biases (T, out) of each layer, those of narrower policies padded with zeros."""
    layers = []
    for layer in range(len(policies[0]) // 2):
        weights = [policy[f"{2 * layer}.weight"] for policy in policies]
        out, inputs = (max(weight.shape[side] for weight in weights) for side in (0, 1))
        padded, biases = torch.zeros(len(policies), out, inputs), torch.zeros(len(policies), out)
        for index, (policy, weight) in enumerate(zip(policies, weights, strict=True)):
            padded[index, : weight.shape[0], : weight.shape[1]] = weight
            biases[index, : weight.shape[0]] = policy[f"{2 * layer}.bias"]
        layers.append((padded, biases))
    return layers
