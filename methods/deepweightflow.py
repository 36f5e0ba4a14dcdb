"""DeepWeightFlow: flow matching from a little noise to whole networks with matched neurons (arXiv 2601.05052).

A network becomes a vector, the vector its coordinates along the zoo's principal components, and a perceptron learns
the velocity that carries noise there in a unit of time. The authors' networks are of one architecture. Here the
perceptron is told the widths as it is told the time, every connection has the same place in all architectures, and
neurons are matched to one network's, in which those that matter come first: what is cropped matters least.
docs/adaptations/deepweightflow.md lists what else differs from their code.

Shapes: N training networks, B of them per batch, D numbers per vector, R components, L hidden layers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from nnbench.api import Generator
from nnbench.facts import Further
from nnbench.methods._importance import passed_on
from nnbench.methods._machine import pick_device
from nnbench.methods._model_files import Manifest, describe, load_model, round_as_saved, save_model
from nnbench.methods._noise import noise_sources
from nnbench.methods._optimisation import Run, optimise, seeded
from nnbench.methods._validation import can_validate, validate
from nnbench.methods.d2nwg.model import principal_components
from nnbench.methods.d2nwg.vectors import devectorise, vector_size, vectorise
from nnbench.tasks.policies.architectures import MAX_WIDTH, Architecture, check_widths
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.policies.rebasin import align, permute
from nnbench.tasks.policies.resizing import largest_network, resize
from nnbench.tasks.policies.training_set import TrainingSet


@dataclass(frozen=True, kw_only=True)
class Config:
    """A flow and its training."""

    matched: bool = True
    """Neurons are put in the order of one network's, else they stay as the zoo has them."""
    components: int | None = None
    """R; None: as many as the training networks span, which `fit` fills in."""
    hidden: int = 3072
    middle: int = 3072
    """Units of the first and third layer, and of the second. `fit` raises both to R where they are smaller: in a trial
    a narrower layer lost the components beyond its width."""
    embedding: int = 64
    """Numbers that the time becomes, and the widths."""
    dropout: float = 0.1

    source_std: float = 0.03
    """Of the noise that the flow begins with, in coordinates of the components: about the authors' .01, for weights
    are scaled here. With less, paths to different policies part within the integrator's first step, and some
    are never reached."""
    sigma: float = 0.001
    """Standard deviation of the noise around a path."""
    times: int = 100
    """At which the integrator stops, both ends included."""

    batch: int = 64
    steps: int = 30_000
    peak_lr: float = 5e-4
    min_lr: float = 1e-6
    warmup: int = 500
    ema: float = 0.999


class Flow(nn.Module):
    """The velocity of coordinates."""

    def __init__(self, config: Config, hidden_layers: int) -> None:
        super().__init__()
        self.hidden_layers, components, hidden = hidden_layers, config.components, config.hidden
        assert components is not None
        self.time, self.widths = (_embedding(inputs, config.embedding) for inputs in (1, hidden_layers))
        self.first = _block(components + 2 * config.embedding, hidden)
        self.second = _block(hidden, config.middle)
        self.third = _block(config.middle, hidden)
        self.last = nn.Linear(hidden, components)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.dropout = config.dropout

    def forward(self, x: Tensor, t: Tensor, widths: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Velocities (B, R) at coordinates (B, R), times (B, 1) and hidden widths (B, L).

        With `rng`, which is on the CPU, numbers are dropped as in training. torch's own dropout would draw from the
        global generator of the device.
        """
        x = torch.cat([x, self.time(t), self.widths((widths / MAX_WIDTH).log2())], dim=1)
        x = self._drop(self.first(x), rng)
        x = self._drop(self.second(x), rng)
        velocity: Tensor = self.last(self.third(x))
        return velocity

    def _drop(self, x: Tensor, rng: torch.Generator | None) -> Tensor:
        if rng is None:
            return x
        kept = torch.rand(x.shape, generator=rng) >= self.dropout
        return x * kept.to(x.device) / (1 - self.dropout)


class Writer(nn.Module):
    """A flow, and how coordinates become vectors."""

    mean: Tensor  # (D,)
    basis: Tensor  # (R, D), orthonormal rows

    def __init__(self, flow: Flow, mean: Tensor, basis: Tensor) -> None:
        super().__init__()
        self.flow = flow
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)


def _embedding(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.GELU(), nn.Linear(outputs, outputs))


def _block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU())


@dataclass(frozen=True)
class Corpus:
    """All training networks."""

    coordinates: Tensor  # (N, R)
    widths: Tensor  # (N, L)
    mean: Tensor  # (D,)
    basis: Tensor  # (R, D)


class Method(Generator):
    """Writes networks of any widths, of the zoo's depth."""

    name: ClassVar[str] = "deepweightflow"
    writes: ClassVar[tuple[Further, ...]] = ("widths",)
    reference: ClassVar[str | None] = (
        "Gupta et al., DeepWeightFlow: Re-Basined Flow Matching for Generating Neural Network Weights, ICLR 2026, "
        "arXiv 2601.05052"
    )
    config: ClassVar[Config] = Config()
    rehearsal: ClassVar[Config] = replace(Config(), hidden=32, middle=16, times=4, batch=8, steps=20, warmup=5, ema=0.9)

    def __init__(self, model: Writer, manifest: Manifest[Config]) -> None:
        self.model, self.manifest = model.eval(), manifest

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path, config: Config | None = None) -> Self:
        """Train on the zoo, resuming from what a killed run left in the directory.

        Raises TrainingStateError if that belongs to another run, and TrainingError if the loss diverges.
        """
        config = config or (cls.rehearsal if training.rehearsal else cls.config)
        corpus = build_corpus(training, config)
        components = len(corpus.basis)
        hidden, middle = max(config.hidden, components), max(config.middle, components)
        config = replace(config, components=components, hidden=hidden, middle=middle)
        run, device = Run(cls.name, training, config, seed, directory), corpus.coordinates.device
        facts, layers = describe(run), corpus.widths.shape[1]
        flow = seeded(lambda: Flow(config, layers), seed).to(device)

        def score(averaged: Flow) -> dict[str, float]:
            return validate(training, cls(Writer(averaged, corpus.mean, corpus.basis), facts).generate)

        loss_of = partial(flow_loss, flow, corpus, config)
        trained = optimise(run, flow, loss_of, config, score if can_validate(training) else None)
        model = Writer(trained.model, corpus.mean, corpus.basis)
        round_as_saved(model)
        return cls(model, facts.after(trained))

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of the zoo's depth and any widths up to 64, float32 on the CPU.

        Policy i comes from noise of its own: asking for fewer gives the first of them, up to rounding. Raises
        InputError for another depth or a wider layer.
        """
        check_widths(arch, self.model.flow.hidden_layers, self.name)
        facts, config, device = self.manifest, self.manifest.config, self.model.mean.device
        written: list[Weights] = []
        for sources in noise_sources(n, (seed, *arch), self.name):
            noise = torch.stack([torch.randn(len(self.model.basis), generator=source) for source in sources]).to(device)
            widths = torch.tensor(arch, device=device).expand(len(noise), -1)
            with torch.no_grad():
                x = integrate(partial(self._velocity, widths), config.source_std * noise, config.times)
                vectors = self.model.mean + x @ self.model.basis  # (B, D)
            written += [
                devectorise(vector, arch, "grid", facts.observation_dim, facts.action_dim)
                for vector in vectors.cpu() / facts.scale
            ]
        return written

    def _velocity(self, widths: Tensor, x: Tensor, t: float) -> Tensor:
        velocity: Tensor = self.model.flow(x, torch.full((len(x), 1), t, device=x.device), widths)
        return velocity

    def save(self, directory: Path) -> None:
        """Write `model.safetensors` (float16) and `config.json` into an existing directory."""
        save_model(directory, self.model, self.manifest)

    @classmethod
    def load(cls, directory: Path, training: TrainingSet) -> Self:
        """Read what `save` wrote. Raises ModelFileError where it does not fit the zoo or this code."""
        layers = len(training.architectures[0])

        def build(facts: Manifest[Config]) -> Writer:
            components, size = facts.config.components, vector_size(layers, facts.observation_dim, facts.action_dim)
            assert components is not None
            return Writer(Flow(facts.config, layers), torch.zeros(size), torch.zeros(components, size))

        return cls(*load_model(cls.name, directory, training, lambda raw: Config(**raw), build))


def build_corpus(training: TrainingSet, config: Config) -> Corpus:
    """All training networks, on the device."""
    task, device = training.task, pick_device()
    reference, vectors, widths = choose_reference(training) if config.matched else None, [], []
    for arch in training.architectures:
        target = None if reference is None else resize(reference, arch, task.observation_dim, task.action_dim)
        for network in training.networks(arch).values():
            ordered = network if target is None else align(network, target)
            vectors.append(vectorise(ordered, arch, "grid", task.observation_dim, task.action_dim))
            widths.append(arch)
    stacked = torch.stack(vectors) * training.scale  # (N, D)
    mean = stacked.mean(dim=0)
    basis = principal_components(stacked - mean, config.components or len(stacked))
    coordinates = (stacked - mean) @ basis.T
    return Corpus(coordinates.to(device), torch.tensor(widths).to(device), mean.to(device), basis.to(device))


def choose_reference(training: TrainingSet) -> Weights:
    """A network of the largest training architecture, its neurons in the order in which they matter."""
    network = largest_network(training)
    return permute(network, [passes.argsort(descending=True, stable=True).numpy() for passes in passed_on(network)])


def flow_loss(model: Flow, corpus: Corpus, config: Config, rng: torch.Generator) -> Tensor:
    """The squared error of the velocity x_1 - x_0 at random times on straight paths from noise x_0 to networks x_1,
    with a little noise around them."""
    picks = torch.randint(len(corpus.coordinates), (config.batch,), generator=rng)
    x1, device = corpus.coordinates[picks], corpus.coordinates.device  # (B, R)
    x0, around = (std * torch.randn(x1.shape, generator=rng).to(device) for std in (config.source_std, config.sigma))
    t = torch.rand(config.batch, 1, generator=rng).to(device)
    velocity = model((1 - t) * x0 + t * x1 + around, t, corpus.widths[picks], rng)
    return (velocity - (x1 - x0)).square().mean()


def integrate(velocity: Callable[[Tensor, float], Tensor], x: Tensor, times: int) -> Tensor:
    """From time 0 to 1 along a velocity, by the classical Runge-Kutta method of order 4."""
    step = 1 / (times - 1)
    for index in range(times - 1):
        t = index * step
        first = velocity(x, t)
        second = velocity(x + step / 2 * first, t + step / 2)
        third = velocity(x + step / 2 * second, t + step / 2)
        fourth = velocity(x + step * third, t + step)
        x = x + step / 6 * (first + 2 * second + 2 * third + fourth)
    return x
