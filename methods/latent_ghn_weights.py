"""`latent_ghn` without the zoo's states: it asks its teachers about observations that it makes up.

Of the zoo it reads weights alone. Policies can be asked about any observation x, and they agree on what to do where
they have learned something. First, many observations are drawn from a standard normal distribution, as they would be if
a robot's were not only standardised but independent of one another, and those are kept on which the teachers agree
most. A short training on these shows where it errs. So others are sought, on which the teachers agree and the networks
that it writes, the students, err, and so on for a few rounds. Then the training begins, on all of them. They have the
density

    p(x) ~ N(x; 0, I) v(x)^-k e(x)^m,    v: variance of the teachers' outputs,  e: squared error of the students' mean,

each with a little added, and are drawn by Langevin's steps, which are longer where the teachers' slopes are alike:

    x <- x + h C grad log p(x) + sqrt(2 h C) noise,    C = (I + D / d)^-1,    D: covariance of the teachers' slopes.

After adversarial distillation without data (Micaelli and Storkey 2019; Fang et al. 2019), where a generator network
writes the inputs and one teacher is asked.

Shapes: S observations of O numbers, T teachers, A action numbers.
"""

import time
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd.functional import jacobian
from tqdm import tqdm

from nnbench.facts import Reading
from nnbench.methods import latent_ghn
from nnbench.methods._machine import pick_device
from nnbench.methods._model_files import describe
from nnbench.methods._optimisation import Optimised, Run, optimise, seeded
from nnbench.methods.latent_ghn import Config, Hypernetwork, ask, batch_loss
from nnbench.tasks.policies.mlp import Weights, act, forward

DRAWN = 800_000
KEPT = 20
"""One in so many."""
AT_A_TIME = 50_000

SEARCHES = 3
STUDENT_STEPS = 3_000
"""Of the short trainings."""
STUDENTS = 8
CHAINS = 2048
SETTLING, COLLECTING = 15, 5
"""Rounds of a search before observations are kept, and rounds after each of which all chains are."""
ROUND = 10
"""Steps."""
STEP = 0.005
"""h."""
AGREE, ERR = 40.0, 20.0
"""k and m."""
LEAST_VARIANCE, LEAST_ERROR = 2e-3, 1e-3
"""Added to v and e."""
SLOPES = 0.01
"""d."""
PROBED = 200
"""Chains at which D is measured, before each round."""
LONGEST = 20.0
"""A gradient is cut to this length: where teachers begin to agree it is many times as long."""


class Method(latent_ghn.Method):
    """`latent_ghn` that learns on observations which it makes up."""

    name: ClassVar[str] = "latent_ghn_weights"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "latent_ghn",
        "on made-up observations where its teachers agree; actions are not pushed apart",
    )
    reads: ClassVar[tuple[Reading, ...]] = ("weights",)
    version: ClassVar[int] = 2
    config: ClassVar[Config] = replace(Config(), spread_actions=0.0)

    @classmethod
    def collect_states(
        cls, run: Run[Config], teachers: list[Weights], rng: torch.Generator
    ) -> tuple[Tensor, list[Optimised[Hypernetwork]]]:
        """Observations that are made up, (S, O), and the short trainings, whose seconds are with those of the search
        before. What a killed run searched is searched again, and only the second time counts."""
        small, began = run.training.rehearsal, time.perf_counter()
        found = [draw(4_000 if small else DRAWN, run.training.task.observation_dim, teachers, rng)]
        stages = []
        for search in range(SEARCHES):
            sought_s = time.perf_counter() - began
            stage, students = cls._train_students(run, search, teachers, torch.cat(found), rng)
            stages.append(replace(stage, seconds=stage.seconds + sought_s))
            began = time.perf_counter()
            found.append(seek(found[0], 20 if small else CHAINS, teachers, students, rng))
        stages[-1] = replace(stages[-1], seconds=stages[-1].seconds + time.perf_counter() - began)
        return torch.cat(found), stages

    @classmethod
    def _train_students(
        cls, run: Run[Config], search: int, teachers: list[Weights], states: Tensor, rng: torch.Generator
    ) -> tuple[Optimised[Hypernetwork], list[Weights]]:
        """A short training on these states, and networks of random training architectures that it writes."""
        training, steps = run.training, min(STUDENT_STEPS, run.config.steps)
        short = replace(run, name=f"{run.name}-{search}", config=replace(run.config, steps=steps))
        facts, task = describe(short), training.task
        model = seeded(lambda: Hypernetwork(short.config, task.observation_dim, task.action_dim), run.seed)
        model, lessons = model.to(pick_device()), ask(teachers, states)
        loss_of = partial(batch_loss, model, lessons, training, short.config)
        stage = optimise(short, model, loss_of, short.config)
        trained = cls(stage.model, facts, training)
        archs = [training.architectures[i] for i in torch.randperm(len(training.architectures), generator=rng)]
        return stage, [student for arch in archs[:STUDENTS] for student in trained.generate(arch, 1, seed=run.seed)]


def draw(count: int, size: int, teachers: list[Weights], rng: torch.Generator) -> Tensor:
    """Normal observations on which the teachers agree most, one in KEPT of so many, (S, O)."""
    parts = [min(AT_A_TIME, count - first) for first in range(0, count, AT_A_TIME)]
    drawn = tqdm(parts, desc="observations", unit="part", disable=None)
    return torch.cat([agreed(torch.randn(part, size, generator=rng), teachers) for part in drawn])


@torch.no_grad()
def agreed(observations: Tensor, teachers: list[Weights]) -> Tensor:
    """One in KEPT of the observations, (S, O): those in which the teachers' actions vary least, summed over numbers."""
    varies = torch.stack([act(teacher, observations) for teacher in teachers]).var(dim=0).sum(dim=1)
    return observations[varies.argsort()[: len(observations) // KEPT]]


def seek(
    beginning: Tensor, chains: int, teachers: list[Weights], students: list[Weights], rng: torch.Generator
) -> Tensor:
    """Observations on which teachers agree and students err, (S, O); the search begins at some of those given."""
    x, found = beginning[torch.randint(len(beginning), (chains,), generator=rng)], []
    for position in tqdm(range(SETTLING + COLLECTING), desc="search", unit="round", disable=None):
        lengths = measure_lengths(x[:PROBED], teachers)
        for _ in range(ROUND):
            x = step(x, teachers, students, lengths, rng)
        if position >= SETTLING:
            found.append(x)
    return torch.cat(found)


def outputs(policy: Weights, x: Tensor) -> Tensor:
    """Actions before they are clamped, (S, A)."""
    values = list(policy.values())
    return forward(values[::2], values[1::2], x)


def measure_lengths(x: Tensor, teachers: list[Weights]) -> Tensor:
    """C, (O, O)."""
    # The sum over S has the slopes of all S in one pass.
    slopes = torch.stack([jacobian(lambda x, t=t: outputs(t, x).sum(dim=0), x) for t in teachers])  # (T, A, S, O)
    apart = (slopes - slopes.mean(dim=0)).flatten(0, 2)
    differ = apart.T @ apart / (len(teachers) * len(x))  # D, summed over A
    return torch.linalg.inv(torch.eye(x.shape[1]) + differ / SLOPES)


def step(x: Tensor, teachers: list[Weights], students: list[Weights], lengths: Tensor, rng: torch.Generator) -> Tensor:
    """One step of Langevin's for all observations (S, O)."""
    x = x.detach().requires_grad_()
    told = torch.stack([outputs(teacher, x) for teacher in teachers])  # (T, S, A)
    learned = torch.stack([act(student, x) for student in students]).mean(dim=0)  # (S, A)
    varies = told.var(dim=0).sum(dim=1)  # v, (S,); not clamped: beyond the limit nobody agrees by himself
    errs = (learned - told.clamp(-1, 1).mean(dim=0)).square().sum(dim=1)  # e
    log_density = (
        -0.5 * x.square().sum() - AGREE * (varies + LEAST_VARIANCE).log().sum() + ERR * (errs + LEAST_ERROR).log().sum()
    )
    (slope,) = torch.autograd.grad(log_density, x)
    pull = slope @ lengths
    length = (slope * pull).sum(dim=1, keepdim=True).sqrt()  # in the metric of C
    noise = torch.randn(x.shape, generator=rng) @ torch.linalg.cholesky(lengths).T
    return x.detach() + STEP * pull * (LONGEST / length).clamp(max=1) + (2 * STEP) ** 0.5 * noise
