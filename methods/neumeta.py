"""NeuMeta: one implicit function from a weight's place in its network to its value (Yang and Wang, ECCV 2024).

A place is (parameter, row, column) beside (parameters, rows, columns), so that a network of other widths is the same
function read at other places. It learns in function space, over many widths at once, and stays near one training
policy, whose neurons are put in an order in which neighbours are alike. Places are blurred with noise while it learns,
and a network that it writes is the mean over many draws of this noise. docs/adaptations/neumeta.md lists what differs
from the authors' code.

Shapes: K parameters of a network (weights and biases), P places of one of them, E numbers of an encoded place, S
states, O observation and A action numbers.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnbench.api import Generator
from nnbench.facts import Further, Reading
from nnbench.methods._machine import pick_device
from nnbench.methods._model_files import Manifest, describe, load_model, round_as_saved, save_model
from nnbench.methods._noise import noise_sources, noisy_copies
from nnbench.methods._optimisation import Run, optimise, seeded
from nnbench.methods._validation import can_validate, validate
from nnbench.methods.latent_ghn import JITTERS, is_held_out
from nnbench.tasks.policies.architectures import MAX_WIDTH, Architecture, check_widths, parameter_shapes
from nnbench.tasks.policies.mlp import Weights, act, architecture_of, forward
from nnbench.tasks.policies.rebasin import permute
from nnbench.tasks.policies.resizing import largest_network
from nnbench.tasks.policies.training_set import TrainingSet

_COORDINATES = 3
"""A place has three, the parameter, the row and the column, and as many sizes that they are relative to: how many
parameters, rows and columns there are. Parameters alternate: a matrix, its bias."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """An implicit function and its training."""

    frequencies: int = 6
    hidden: int = 64
    layers: int = 3
    """Of each perceptron, without the last."""
    first_scale: float = 0.1
    """What a residual is multiplied by before training."""

    noise: float = 0.1
    """Width of the uniform noise on a place, in neurons."""
    draws: int = 50
    """Of noise. A network that is written is the mean over so many."""
    narrowest: int = 8
    """Widths of random architectures are drawn from here to 64."""
    states: int = 512
    """Per step."""
    near: float = 1.0
    """Weight of the squared error of the weights of the policy that it stays near."""
    near_share: float = 0.1
    """Share of the steps in which its architecture is written."""
    size: float = 1e-4
    """Weight of the sum of the norms of all parameters."""

    steps: int = 60_000
    peak_lr: float = 1e-3
    min_lr: float = 0.0
    warmup: int = 500
    ema: float = 0.995


class Residual(nn.Module):
    """A perceptron with residual connections, each with a scale that is learned."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.first = nn.Linear(2 * _COORDINATES + 2 * _COORDINATES * config.frequencies, config.hidden)
        self.blocks = nn.ModuleList(nn.Linear(config.hidden, config.hidden) for _ in range(config.layers - 1))
        self.scales = nn.Parameter(torch.full((config.layers - 1,), config.first_scale))
        self.last = nn.Linear(config.hidden, 1)

    def forward(self, x: Tensor) -> Tensor:  # (P, E) -> (P,)
        x = F.relu(self.first(x))
        for block, scale in zip(self.blocks, self.scales, strict=True):
            x = x + scale * F.relu(block(x))
        value: Tensor = self.last(x)[:, 0]
        return value

    def rescale(self, size: Tensor, mean: Tensor) -> None:
        """Subtract the mean from what it gives, and divide by the size."""
        self.last.weight /= size
        self.last.bias.copy_((self.last.bias - mean) / size)


class Field(nn.ModuleList):
    """A perceptron for each of the K parameters."""

    def __init__(self, config: Config, parameters: int) -> None:
        super().__init__(Residual(config) for _ in range(parameters))
        self.frequencies = config.frequencies

    def forward(self, places: list[Tensor]) -> list[Tensor]:
        """The values at the places (P, 6) of each parameter, (P,). Those of matrices are divided by the fan-in, so that
        what a neuron adds up is a mean over its inputs, at any width. With 64 inputs, an output of size 1 of a
        perceptron becomes a weight of He's size."""
        values = []
        for index, (residual, place) in enumerate(zip(self, places, strict=True)):
            value = residual(encode(place, self.frequencies))
            values.append(value * math.sqrt(2 * MAX_WIDTH) / place[:, -1] if index % 2 == 0 else value)
        return values


@torch.no_grad()
def begin(field: Field, states: Tensor, action_dim: int, noise: float) -> None:
    """Let signals pass: what a layer of the networks adds up varies by 1 over the states (S, O), actions by .4, and
    biases by .1 over the neurons.

    The perceptrons as they come are alike everywhere, so weights have one sign and hardly differ from 0. With He's size
    for each weight signals would grow from layer to layer, for neighbouring weights are alike.
    """
    layers, sizes = len(field) // 2, (states.shape[1], action_dim)
    archs = [(width,) * (layers - 1) for width in (16, 32, 64)]  # the zoo's widths
    places = [places_of(arch, *sizes) for arch in archs]
    for index, residual in enumerate(field):
        assert isinstance(residual, Residual)
        values = residual(encode(torch.cat([place[index] for place in places]).to(states.device), field.frequencies))
        residual.rescale(values.std() * (1 if index % 2 == 0 else 10), values.mean())
    rng = torch.Generator().manual_seed(0)
    written = [[*write(field, arch, *sizes, noise, rng).values()] for arch in archs]
    hidden = [states for _ in archs]
    for layer, residual in enumerate([*field][::2]):
        assert isinstance(residual, Residual)
        sums = [x @ weights[2 * layer].T for x, weights in zip(hidden, written, strict=True)]
        size = torch.stack([x.std(dim=0).square().mean().sqrt() for x in sums]).mean()
        size /= 1 if layer < layers - 1 else 0.4
        residual.rescale(size, torch.zeros(()))
        hidden = [F.relu(x / size + weights[2 * layer + 1]) for x, weights in zip(sums, written, strict=True)]


def encode(places: Tensor, frequencies: int) -> Tensor:
    """Places (P, 6) as perceptrons read them, (P, E): the first three numbers relative to the others, which are sizes;
    the sizes in units of 64; and sines and cosines of what is relative."""
    relative = places[:, :_COORDINATES] / places[:, _COORDINATES:]
    octaves = math.pi * 2.0 ** torch.arange(frequencies, device=places.device)
    angles = (relative[:, None] * octaves[:, None]).flatten(1)
    return torch.cat([relative, places[:, _COORDINATES:] / MAX_WIDTH, angles.sin(), angles.cos()], dim=1)


def places_of(arch: Architecture, observation_dim: int, action_dim: int) -> list[Tensor]:
    """For each parameter in the order of the state dict, (index, row, column, parameters, rows, columns) of all its
    numbers, (P, 6). A bias has one column."""
    shapes = parameter_shapes(arch, observation_dim, action_dim)
    found = []
    for index, shape in enumerate(shapes.values()):
        rows, columns = (*shape, 1)[:2]
        place = torch.cartesian_prod(torch.tensor([index]), torch.arange(rows), torch.arange(columns))
        sizes = torch.tensor([len(shapes), rows, columns]).expand(len(place), -1)
        found.append(torch.cat([place, sizes], dim=1).float())
    return found


def blur(places: list[Tensor], noise: float, rng: torch.Generator) -> list[Tensor]:
    """Uniform noise on the rows and columns that are neurons. Observations and actions stay: they are the same at all
    widths, and neighbours among them are not alike."""
    blurred = []
    for index, place in enumerate(places):
        rows, columns = index < len(places) - 2, index % 2 == 0 and index > 0
        neurons = torch.tensor([0.0, rows, columns])
        moved = noise * neurons * (torch.rand(len(place), _COORDINATES, generator=rng) - 0.5)
        blurred.append(torch.cat([place[:, :_COORDINATES] + moved, place[:, _COORDINATES:]], dim=1))
    return blurred


@dataclass(frozen=True)
class Lessons:
    """What is learned from."""

    example: Weights
    """The policy that it stays near."""
    states: Tensor  # (S, O)
    actions: Tensor  # (S, A), the example's, clamped to [-1, 1]
    spread: Tensor  # (A,), their standard deviations, at least .01 and a tenth of the largest


class Method(Generator):
    """Writes networks of any widths, of the zoo's depth."""

    name: ClassVar[str] = "neumeta"
    reads: ClassVar[tuple[Reading, ...]] = ("weights", "states")
    writes: ClassVar[tuple[Further, ...]] = ("widths",)
    reference: ClassVar[str | None] = "Yang and Wang, Neural Metamorphosis, ECCV 2024, arXiv 2410.11878"
    version: ClassVar[int] = 2
    config: ClassVar[Config] = Config()
    rehearsal: ClassVar[Config] = replace(
        Config(), frequencies=4, hidden=16, layers=2, draws=3, states=32, steps=20, warmup=5
    )

    def __init__(self, model: Field, manifest: Manifest[Config]) -> None:
        self.model, self.manifest = model.eval(), manifest

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path, config: Config | None = None) -> Self:
        """Train around one training policy, resuming from what a killed run left in the directory.

        Raises TrainingStateError if that belongs to another run, and TrainingError if the loss diverges.
        """
        config = config or (cls.rehearsal if training.rehearsal else cls.config)
        run, device = Run(cls.name, training, config, seed, directory), pick_device()
        lessons = prepare(training, torch.Generator().manual_seed(seed), device)
        facts, parameters = describe(run), len(lessons.example)
        model = seeded(lambda: Field(config, parameters), seed).to(device)
        begin(model, lessons.states[: config.states], training.task.action_dim, config.noise)

        def score(averaged: Field) -> dict[str, float]:
            return validate(training, cls(averaged, facts).generate)

        loss_of = partial(field_loss, model, lessons, training, config)
        trained = optimise(run, model, loss_of, config, score if can_validate(training) else None)
        round_as_saved(trained.model)
        return cls(trained.model, facts.after(trained))

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of the zoo's depth and any widths up to 64, float32 on the CPU.

        Policy i has noise of its own: asking for fewer gives the first of them. Raises InputError for another depth or
        a wider layer.
        """
        check_widths(arch, len(self.model) // 2 - 1, self.name)
        return [
            self._mean_of_draws(arch, source)
            for sources in noise_sources(n, (seed, *arch), self.name)
            for source in sources
        ]

    @torch.no_grad()
    def _mean_of_draws(self, arch: Architecture, source: torch.Generator) -> Weights:
        facts, config = self.manifest, self.manifest.config
        sizes = facts.observation_dim, facts.action_dim
        draws = [write(self.model, arch, *sizes, config.noise, source) for _ in range(config.draws)]
        return {key: torch.stack([draw[key] for draw in draws]).mean(dim=0).cpu() for key in draws[0]}

    def save(self, directory: Path) -> None:
        """Write `model.safetensors` (float16) and `config.json` into an existing directory."""
        save_model(directory, self.model, self.manifest)

    @classmethod
    def load(cls, directory: Path, training: TrainingSet) -> Self:
        """Read what `save` wrote. Raises ModelFileError where it does not fit the zoo or this code."""
        parameters = 2 * len(training.architectures[0]) + 2

        def build(facts: Manifest[Config]) -> Field:
            return Field(facts.config, parameters)

        return cls(*load_model(cls.name, directory, training, lambda raw: Config(**raw), build))


def shape_as(arch: Architecture, values: list[Tensor], observation_dim: int, action_dim: int) -> Weights:
    """The values of all places of each parameter as a state dict."""
    shapes = parameter_shapes(arch, observation_dim, action_dim)
    return {key: value.view(shape) for (key, shape), value in zip(shapes.items(), values, strict=True)}


def prepare(training: TrainingSet, rng: torch.Generator, device: torch.device) -> Lessons:
    """A policy of the largest training architecture, smoothed, and what it does in the zoo's states and in some around
    them."""
    example = smooth(largest_network(training))
    states = noisy_copies(training.states, JITTERS, rng)
    actions = act(example, states)
    spread = actions.std(dim=0)
    spread = spread.clamp_min(max(0.1 * float(spread.max()), 0.01))  # an example may never move its gripper
    numbers = [value.to(device) for value in (states, actions, spread)]
    return Lessons({key: value.to(device) for key, value in example.items()}, *numbers)


def smooth(weights: Weights) -> Weights:
    """The same function with neighbouring neurons alike: each hidden layer in the order of a short path through its
    neurons, whose distance is the L1 norm of the difference of all their weights."""
    orders = []
    for layer in range(len(weights) // 2 - 1):
        incoming, bias = weights[f"{2 * layer}.weight"], weights[f"{2 * layer}.bias"]
        neurons = torch.cat([incoming, bias[:, None], weights[f"{2 * layer + 2}.weight"].T], dim=1).double()
        orders.append(short_path(torch.cdist(neurons, neurons, p=1).numpy()))
    return permute(weights, orders)


def short_path(distances: np.ndarray) -> np.ndarray:
    """An order of all places with little distance between neighbours: from the nearest neighbour to the next, then
    stretches are reversed as long as that shortens the path (2-opt)."""
    count = len(distances)
    path, left = [0], set(range(1, count))
    while left:
        path.append(min(left, key=lambda place: (distances[path[-1], place], place)))
        left.remove(path[-1])
    shortened = True
    while shortened:
        shortened = False
        for first in range(count - 1):
            for last in range(first + 1, count):
                before, after = path[first - 1] if first else None, path[last + 1] if last + 1 < count else None
                change = 0.0
                if before is not None:
                    change += distances[before, path[last]] - distances[before, path[first]]
                if after is not None:
                    change += distances[path[first], after] - distances[path[last], after]
                if change < -1e-9:
                    path[first : last + 1] = path[first : last + 1][::-1]
                    shortened = True
    return np.array(path)


def draw_architecture(training: TrainingSet, config: Config, rng: torch.Generator) -> Architecture:
    """A training architecture half of the time, else one of any widths that no track asks for."""
    trained = training.architectures
    if torch.rand((), generator=rng) < 0.5:
        return trained[int(torch.randint(len(trained), (), generator=rng))]
    while True:
        widths = torch.randint(config.narrowest, MAX_WIDTH + 1, (len(trained[0]),), generator=rng)
        if not is_held_out(drawn := tuple(widths.tolist()), training):
            return drawn


def write(
    model: Field, arch: Architecture, observation_dim: int, action_dim: int, noise: float, rng: torch.Generator
) -> Weights:
    """A network at blurred places, where the model is."""
    device = next(model.parameters()).device
    places = blur(places_of(arch, observation_dim, action_dim), noise, rng)
    return shape_as(arch, model([place.to(device) for place in places]), observation_dim, action_dim)


def field_loss(model: Field, lessons: Lessons, training: TrainingSet, config: Config, rng: torch.Generator) -> Tensor:
    """The squared error of the actions of a network of random widths, each action in units of its spread, and the norms
    of its parameters. An action beyond the limit that the example reaches too has no error. In `near_share` of the
    steps the network has the example's widths, and the squared error of its weights is added."""
    near = bool(torch.rand((), generator=rng) < config.near_share)
    arch = architecture_of(lessons.example) if near else draw_architecture(training, config, rng)
    task, device = training.task, lessons.states.device
    weights = write(model, arch, task.observation_dim, task.action_dim, config.noise, rng)
    picks = torch.randint(len(lessons.states), (config.states,), generator=rng).to(device)
    parameters = [*weights.values()]
    actions, wanted = forward(parameters[::2], parameters[1::2], lessons.states[picks]), lessons.actions[picks]
    beyond = (wanted.abs() == 1) & (actions * wanted > 1)  # both are clamped; elsewhere what is clamped has a gradient
    errors = (actions - wanted).masked_fill(beyond, 0) / lessons.spread
    loss = errors.square().mean()
    if near:
        loss = loss + config.near * weight_error(weights, lessons.example)
    return loss + config.size * torch.stack([parameter.norm() for parameter in parameters]).sum()


def weight_error(weights: Weights, example: Weights) -> Tensor:
    """The squared error, in which large weights count more: as much as they are larger. Mean over the parameters."""
    errors = []
    for key, wanted in example.items():
        share = (wanted.abs() + 1e-6) / (wanted.abs() + 1e-6).max()
        errors.append(((weights[key] - wanted).square() * share).mean())
    return torch.stack(errors).mean()
