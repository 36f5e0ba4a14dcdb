"""A hypernetwork with a latent code: weights = H(architecture, code), trained by what policies do.

It learns in function space. Networks of random widths and depths are written for random codes, and shall do in the
zoo's states what training policies do there in the mean. The weights of these policies are never compared with, so they
need not be aligned. Two terms keep networks of different codes apart: two networks of one architecture are pushed apart
until their weights differ by as much as they are large, and their actions by twice as much as training policies'.

After graph hypernetworks (Zhang et al. 2019, Hegde et al. 2023), Bayesian hypernetworks (Krueger et al. 2017) and
HyperGAN (Ratzlaff and Fuxin 2019), which writes one architecture. docs/adaptations/latent-ghn.md says what was tried.

Shapes: B networks in P pairs, L layers, F features, Z numbers per code, M the largest width, S states, O observation
and A action numbers, T teachers.
"""

import copy
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnbench.api import Generator
from nnbench.errors import InputError
from nnbench.facts import Further, Reading
from nnbench.methods._machine import pick_device
from nnbench.methods._model_files import Manifest, describe, load_model, round_as_saved, save_model
from nnbench.methods._noise import noise_source, noisy_copies
from nnbench.methods._optimisation import Optimised, Run, optimise, seeded
from nnbench.methods._validation import can_validate, validate
from nnbench.tasks.policies.architectures import (
    MAX_WIDTH,
    Architecture,
    architecture_name,
    load_splits,
    parameter_shapes,
)
from nnbench.tasks.policies.mlp import Weights, act
from nnbench.tasks.policies.training_set import TrainingSet

JITTERS = (0.0, 0.0, 0.02, 0.02, 0.05, 0.05, 0.1, 0.1)
"""Standard deviations of the noise on copies of the states: a policy leaves the states that it learned from."""
MEASURED_STATES = 4096
"""In so many it is measured how far teachers' actions are apart: the first ones, to which no noise was added."""
WRITE_BATCH = 100
_DIFFERENCE = 0.1
"""Standard deviation of the last layer's initial weights: those of its biases, the common network, are 1."""
_SWEEPS = 4
_LEAST = 1e-6
"""Added to a squared length, so that padding keeps its scale and has a gradient."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A hypernetwork and its training."""

    code: int = 16
    """Z."""
    features: int = 64
    hidden: int = 192
    """Of the perceptrons that write a layer."""

    narrowest: int = 8
    """Widths of random architectures are drawn from here to a bound, which is drawn for each architecture: at most M,
    of uniform logarithm. Of uniform widths all would be narrow in hardly any."""
    depths: tuple[int, int] = (3, 6)
    """Their fewest and most hidden layers."""
    teachers: int = 32
    """T, training policies whose mean action is learned."""

    architectures: int = 8
    """P, per step, each written for two codes."""
    states: int = 128
    """Per pair and step."""
    spread: float = 0.02
    """Weight of the term that pushes the weights of a pair apart."""
    margin: float = 1.0
    """Relative distance of weights, in one scale, from which on they are left alone; unrelated networks have 1.4."""
    spread_actions: float = 0.002
    """Weight of the term that pushes the actions of a pair apart."""
    margin_actions: float = 2.0
    """Distance of actions from which on they are left alone, in units of how far teachers are apart."""

    steps: int = 12_000
    peak_lr: float = 5e-3
    min_lr: float = 0.0
    warmup: int = 500
    ema: float = 0.999

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """What `dataclasses.asdict` and JSON made of a configuration."""
        return cls(**{**raw, "depths": tuple(raw["depths"])})


class Hypernetwork(nn.Module):
    """Reads the layers of an architecture in order, both ways, and writes each from its features and the code."""

    def __init__(self, config: Config, observation_dim: int, action_dim: int) -> None:
        super().__init__()
        if max(observation_dim, action_dim) > MAX_WIDTH:
            raise InputError(
                f"latent_ghn: the task has {observation_dim} observation and {action_dim} action numbers, expected at "
                f"most {MAX_WIDTH} of each: it writes every layer as {MAX_WIDTH} x {MAX_WIDTH}"
            )
        self.observation_dim, self.action_dim = observation_dim, action_dim
        self.embed = nn.Linear(5, config.features)
        self.chain = nn.GRU(config.features, config.features // 2, bidirectional=True, batch_first=True)
        inputs, hidden = config.features + config.code, config.hidden
        # All networks begin as one of He's size and differ little: one policy is learned before many are.
        last = nn.Linear(hidden, MAX_WIDTH**2)
        nn.init.normal_(last.bias)
        nn.init.normal_(last.weight, std=_DIFFERENCE)
        self.weight = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), last)
        self.bias = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, MAX_WIDTH))

    def forward(self, widths: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden widths (B, L - 1) and codes (B, Z) to zero-padded weights (B, L, M, M), (out, in), and biases
        (B, L, M)."""
        before = F.pad(widths, (1, 0), value=self.observation_dim)  # (B, L) inputs of each layer
        after = F.pad(widths, (0, 1), value=self.action_dim)
        places = torch.linspace(0, 1, before.shape[1], device=widths.device).expand(before.shape)
        sizes = [before / MAX_WIDTH, after / MAX_WIDTH, before.log2() / 6, after.log2() / 6]
        read = torch.stack([*sizes, places], dim=2).to(codes)
        features, _ = self.chain(F.silu(self.embed(read)))  # (B, L, F)
        told = torch.cat([features, codes[:, None].expand(-1, features.shape[1], -1)], dim=2)
        weights = (
            self.weight(told).unflatten(2, (MAX_WIDTH, MAX_WIDTH)) * (2 / before).sqrt().to(codes)[..., None, None]
        )
        index = torch.arange(MAX_WIDTH, device=widths.device)
        rows, columns = index < after[..., None], index < before[..., None]  # (B, L, M)
        return weights * (rows[..., :, None] & columns[..., None, :]), self.bias(told) * rows


def run_policies(weights: Tensor, biases: Tensor, states: Tensor) -> Tensor:
    """Zero-padded networks in states (B, S, O) to actions (B, S, M) in [-1, 1]."""
    hidden = F.pad(states, (0, MAX_WIDTH - states.shape[2]))
    for layer in range(weights.shape[1]):
        hidden = torch.baddbmm(biases[:, layer, None], hidden, weights[:, layer].transpose(1, 2))
        hidden = F.relu(hidden) if layer < weights.shape[1] - 1 else hidden.clamp(-1, 1)
    return hidden


@dataclass(frozen=True)
class Lessons:
    """What the teachers do."""

    states: Tensor  # (S, O)
    actions: Tensor  # (S, A), mean over teachers
    apart: float
    """Mean distance of a teacher's actions to those of the most similar other teacher; median over teachers."""


class Method(Generator):
    """Writes networks of any widths and depth between those that it was trained on."""

    name: ClassVar[str] = "latent_ghn"
    reads: ClassVar[tuple[Reading, ...]] = ("weights", "states")
    writes: ClassVar[tuple[Further, ...]] = ("widths", "depths")
    version: ClassVar[int] = 4
    config: ClassVar[Config] = Config()
    rehearsal: ClassVar[Config] = replace(
        Config(), features=16, hidden=32, teachers=4, architectures=2, states=32, steps=30, warmup=5
    )

    def __init__(self, model: Hypernetwork, manifest: Manifest[Config], training: TrainingSet) -> None:
        self.model, self.manifest, self.training = model.eval(), manifest, training
        # In double precision, and rounded: wherever a model lies in memory, it writes the same networks.
        self._writer = copy.deepcopy(model).double()

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path, config: Config | None = None) -> Self:
        """Train on what training policies do, resuming from what a killed run left in the directory.

        Raises TrainingStateError if that belongs to another run, and TrainingError if the loss diverges.
        """
        config = config or (cls.rehearsal if training.rehearsal else cls.config)
        run, task = Run(cls.name, training, config, seed, directory), training.task
        facts, device = describe(run), pick_device()
        model = seeded(lambda: Hypernetwork(config, task.observation_dim, task.action_dim), seed).to(device)
        rng = torch.Generator().manual_seed(seed)
        teachers = choose_teachers(training, config, rng)
        states, before = cls.collect_states(run, teachers, rng)
        lessons = ask(teachers, states)

        def score(averaged: Hypernetwork) -> dict[str, float]:
            return validate(training, cls(averaged, facts, training).generate)

        loss_of = partial(batch_loss, model, lessons, training, config)
        trained = optimise(run, model, loss_of, config, score if can_validate(training) else None)
        round_as_saved(trained.model)
        return cls(trained.model, facts.after(*before, trained), training)

    @classmethod
    def collect_states(
        cls, run: Run[Config], teachers: list[Weights], rng: torch.Generator
    ) -> tuple[Tensor, list[Optimised[Hypernetwork]]]:
        """The zoo's states, and some around them: a policy leaves what it learned from. (S, O)

        And the trainings that it took to find them, which a variant needs.
        """
        return noisy_copies(run.training.states, JITTERS, rng), []

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of an architecture within what was learned, float32 on the CPU.

        Policy i has a code of its own: asking for fewer gives the first of them, up to rounding. Raises InputError for
        an architecture beyond the narrowest or widest layers, or the fewest or most, of those it was trained on.
        """
        narrowest, (fewest, most) = self.manifest.config.narrowest, self.manifest.config.depths
        if not (fewest <= len(arch) <= most and narrowest <= min(arch) and max(arch) <= MAX_WIDTH):
            raise InputError(
                f"{self.name}: {architecture_name(arch)} is beyond what it learned to write, {fewest} to {most} hidden "
                f"layers, each {narrowest} to {MAX_WIDTH} wide"
            )
        codes = [self._code(seed, arch, index) for index in range(n)]
        return [
            policy for first in range(0, n, WRITE_BATCH) for policy in self._write(arch, codes[first:][:WRITE_BATCH])
        ]

    def generate_joint(self, n: int, *, seed: int = 0) -> list[tuple[Architecture, Weights]]:
        """n architectures of the zoo's depth, each width one of the zoo's, with one policy each."""
        rng = np.random.default_rng(seed)
        widths = [sorted(set(column)) for column in zip(*self.training.architectures, strict=True)]
        archs = [tuple(int(rng.choice(choices)) for choices in widths) for _ in range(n)]
        return [(arch, self._write(arch, [self._code(seed, arch, index)])[0]) for index, arch in enumerate(archs)]

    def _code(self, seed: int, arch: Architecture, index: int) -> Tensor:
        return torch.randn(self.manifest.config.code, generator=noise_source(seed, index, *arch))

    @torch.no_grad()
    def _write(self, arch: Architecture, codes: list[Tensor]) -> list[Weights]:
        device = next(self._writer.parameters()).device
        widths = torch.tensor(arch, device=device).expand(len(codes), -1)
        weights, biases = (x.float().cpu() for x in self._writer(widths, torch.stack(codes).to(device).double()))
        shapes = parameter_shapes(arch, self.manifest.observation_dim, self.manifest.action_dim)
        fields = {key: (biases if key.endswith("bias") else weights)[:, int(key.split(".")[0]) // 2] for key in shapes}
        cut = {key: tuple(slice(size) for size in shape) for key, shape in shapes.items()}
        return [{key: fields[key][i][cut[key]].clone() for key in shapes} for i in range(len(codes))]

    def save(self, directory: Path) -> None:
        """Write `model.safetensors` (float16) and `config.json` into an existing directory."""
        save_model(directory, self.model, self.manifest)

    @classmethod
    def load(cls, directory: Path, training: TrainingSet) -> Self:
        """Read what `save` wrote. Raises ModelFileError where it does not fit the zoo or this code."""

        def build(facts: Manifest[Config]) -> Hypernetwork:
            return Hypernetwork(facts.config, facts.observation_dim, facts.action_dim)

        return cls(*load_model(cls.name, directory, training, Config.from_json, build), training)


def choose_teachers(training: TrainingSet, config: Config, rng: torch.Generator) -> list[Weights]:
    """T random training policies, or all there are."""
    everyone = [policy for arch in training.architectures for policy in training.networks(arch).values()]
    if min(len(everyone), config.teachers) < 2:
        raise InputError(
            f"latent_ghn: {min(len(everyone), config.teachers)} training policies to learn from, expected 2 or more, "
            "for it asks where they agree"
        )
    chosen = torch.randperm(len(everyone), generator=rng)[: config.teachers].tolist()
    return [everyone[index] for index in chosen]


def ask(teachers: list[Weights], states: Tensor) -> Lessons:
    """What the teachers do in states (S, O)."""
    actions = torch.stack([act(teacher, states) for teacher in teachers])  # (T, S, A)
    some = actions[:, :MEASURED_STATES]
    distances = (some[:, None] - some).norm(dim=3).mean(dim=2).fill_diagonal_(torch.inf)  # (T, T)
    apart = max(float(distances.min(dim=1).values.median()), 1e-6)  # 0 where all do the same
    return Lessons(states.to(pick_device()), actions.mean(dim=0).to(pick_device()), apart)


def draw_architectures(training: TrainingSet, config: Config, rng: torch.Generator) -> Tensor:
    """Architectures of one depth, (B, L - 1): training ones half of the time, else any that no track asks for."""
    if torch.rand((), generator=rng) < 0.5:
        trained = torch.tensor(training.architectures)
        return trained[torch.randint(len(trained), (config.architectures,), generator=rng)]
    fewest, most = config.depths
    depth = int(torch.randint(fewest, most + 1, (), generator=rng))
    drawn: list[list[int]] = []
    while len(drawn) < config.architectures:
        lowest, highest = math.log(config.narrowest), math.log(MAX_WIDTH + 1)
        bound = int(math.exp(lowest + (highest - lowest) * float(torch.rand((), generator=rng))))
        widths = torch.randint(config.narrowest, bound + 1, (depth,), generator=rng).tolist()
        if not is_held_out(tuple(widths), training):
            drawn.append(widths)
    return torch.tensor(drawn)


def is_held_out(arch: Architecture, training: TrainingSet) -> bool:
    """Whether this track asks for it, or any that ships may: what is of the zoo's depth, of widths that are the paper's
    or trained on, and not trained on itself."""
    trained = training.architectures
    widths = {width for one in (*trained, *load_splits().train) for width in one}
    beside = len(arch) == len(trained[0]) and set(arch) <= widths and arch not in trained
    return beside or training.holds_out(arch)


def in_one_scale(weights: Tensor, biases: Tensor) -> Tensor:
    """Weights (B, L, M, M) of the same functions, in which every hidden neuron is about as long in what it reads as in
    what reads it: else networks could be pushed apart by scales that no action shows."""
    layers, shifts = list(weights.unbind(dim=1)), list(biases.unbind(dim=1))
    for _ in range(_SWEEPS):
        for layer in range(len(layers) - 1):
            read = layers[layer].square().sum(dim=2) + shifts[layer].square()  # (B, M)
            passed = layers[layer + 1].square().sum(dim=1)
            scale = ((passed + _LEAST) / (read + _LEAST)) ** 0.25
            layers[layer], shifts[layer] = layers[layer] * scale[:, :, None], shifts[layer] * scale
            layers[layer + 1] = layers[layer + 1] / scale[:, None, :]
    return torch.stack(layers, dim=1)


def batch_loss(
    model: Hypernetwork, lessons: Lessons, training: TrainingSet, config: Config, rng: torch.Generator
) -> Tensor:
    """The squared error of the actions of random pairs of networks, and what pushes the two of each apart."""
    widths = draw_architectures(training, config, rng).repeat_interleave(2, dim=0)  # (B, L - 1)
    codes = torch.randn(len(widths), config.code, generator=rng)
    picks = torch.randint(len(lessons.states), (config.architectures, config.states), generator=rng)
    picks = picks.repeat_interleave(2, dim=0)  # (B, S)
    widths, codes, picks = (x.to(lessons.states.device) for x in (widths, codes, picks))
    weights, biases = model(widths, codes)
    actions = run_policies(weights, biases, lessons.states[picks])[..., : model.action_dim]
    error = (actions - lessons.actions[picks]).square().mean()
    flat = in_one_scale(weights, biases).flatten(1)  # (B, L M M)
    first, second = flat[::2], flat[1::2]
    apart = (first - second).norm(dim=1) / (0.5 * (first.norm(dim=1) + second.norm(dim=1)) + 1e-6)  # (P,)
    # Without the 1e-8 the gradient of two equal actions is not a number.
    actions_apart = ((actions[::2] - actions[1::2]).square().sum(dim=2) + 1e-8).sqrt().mean(dim=1) / lessons.apart
    return (
        error
        + config.spread * F.relu(config.margin - apart).square().mean()
        + config.spread_actions * F.relu(config.margin_actions - actions_apart).square().mean()
    )
