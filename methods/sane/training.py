"""Training: two noisy views of each network are reconstructed, and told apart from those of the other networks.

Shapes: B networks per batch, T tokens of the longest of them, D numbers per token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from nnbench.methods._machine import computes_bfloat16, pick_device
from nnbench.methods._optimisation import Optimised, Run, optimise, seeded
from nnbench.methods.sane.config import Config
from nnbench.methods.sane.model import Learner, Standard
from nnbench.methods.sane.tokens import LAYERS, layout, tokenise
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import Weights, architecture_of
from nnbench.tasks.policies.rebasin import align, permute
from nnbench.tasks.policies.training_set import TrainingSet

_NOISE = 0.1
_CONTRAST = 0.05
"""Share of the contrastive loss; the rest is the reconstruction's."""
_TEMPERATURE = 0.1
_BATCHES = 4
"""How many batches are drawn and sorted by length; one of them is trained on."""


def canonical_networks(training: TrainingSet, arch: Architecture, order: str) -> dict[int, Weights]:
    """The training networks of an architecture, each aligned to the first (`rebasin`) or as they are (`none`)."""
    networks = training.networks(arch)
    if order == "none" or not networks:
        return networks
    first, *others = networks
    return {first: networks[first]} | {seed: align(networks[seed], networks[first]) for seed in others}


def measure_layers(networks: list[Weights]) -> Standard:
    """For each layer, the mean over networks of the mean, and the root of the mean over networks of the variance."""
    means, stds = [], []
    for layer in range(LAYERS):
        values = [torch.cat([net[f"{2 * layer}.weight"].flatten(), net[f"{2 * layer}.bias"]]) for net in networks]
        means.append(float(torch.stack([value.mean() for value in values]).mean()))
        stds.append(float(torch.stack([value.var() for value in values]).mean().sqrt()))
    return Standard(torch.tensor(means), torch.tensor(stds))


@dataclass(frozen=True)
class Corpus:
    """All training networks in their canonical order."""

    networks: list[Weights]
    layouts: dict[Architecture, tuple[Tensor, Tensor]]
    """Places (T, 3) and valid (T, D)."""
    standard: Standard


def build_corpus(training: TrainingSet, config: Config) -> Corpus:
    """All training networks. An architecture without a validated network adds none."""
    task = training.task
    networks = [
        network
        for arch in tqdm(training.architectures, desc="sane align", unit="arch", disable=None)
        for network in canonical_networks(training, arch, config.align).values()
    ]
    layouts = {arch: layout(arch, task.observation_dim, task.action_dim) for arch in map(architecture_of, networks)}
    standard = measure_layers(networks) if config.standardise else Standard(torch.zeros(LAYERS), torch.ones(LAYERS))
    return Corpus(networks, layouts, standard)


def draw_batch(networks: list[Weights], size: int, rng: torch.Generator) -> list[Weights]:
    """Different networks of similar length, because padding costs time; each is as likely as any other."""
    picks = torch.randperm(len(networks), generator=rng)[: _BATCHES * size].tolist()
    drawn = sorted((networks[pick] for pick in picks), key=lambda network: sum(architecture_of(network)))
    batches = [drawn[start : start + size] for start in range(0, len(drawn), size)]
    return batches[int(torch.randint(len(batches), (), generator=rng))]


def shuffled(weights: Weights, rng: torch.Generator) -> Weights:
    """The same function, the neurons of every hidden layer in a random order."""
    return permute(weights, [torch.randperm(width, generator=rng).numpy() for width in architecture_of(weights)])


def batch_loss(model: Learner, corpus: Corpus, config: Config, device: torch.device, rng: torch.Generator) -> Tensor:
    """0.05 times the contrastive loss and 0.95 times that of the reconstruction, for two views of random networks."""
    first = draw_batch(corpus.networks, config.batch, rng)
    second = [shuffled(network, rng) for network in first] if config.permute else first
    layouts = [corpus.layouts[architecture_of(network)] for network in first] * 2
    longest = max(len(places) for places, _ in layouts)

    def pad(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, longest - len(x)))

    tokens = torch.stack([pad(tokenise(network)) for network in first + second])  # (2 B, T, D)
    places, valid = (torch.stack([pad(pair[i]) for pair in layouts]) for i in (0, 1))
    target = corpus.standard.apply_to(tokens, places, valid)
    target = target * (1 + _NOISE * torch.randn(target.shape, generator=rng))  # the noisy view is also the target
    target, places, valid = target.to(device), places.to(device), valid.to(device)
    present = valid.any(dim=2)
    with torch.autocast(device.type, torch.bfloat16, enabled=computes_bfloat16(device)):
        latent = model.autoencoder.encode(target, places, present)
        output = model.autoencoder.decode(latent, places, present).float()
        projected = model.project(latent).float()
    reconstruction = reconstruction_loss(output, target, valid, model.window, config)
    return _CONTRAST * contrastive_loss(projected) + (1 - _CONTRAST) * reconstruction


def reconstruction_loss(output: Tensor, target: Tensor, valid: Tensor, window: int, config: Config) -> Tensor:
    """Squared error over the weights among (B, T, D), averaged as the configuration says."""
    error = ((output - target) * valid).square().sum()
    if config.averaged_over == "window":
        return error / (len(target) * window * target.shape[2])
    std = target[valid].std(correction=0) + 1e-4
    return error / valid.sum() / std**2


def contrastive_loss(projected: Tensor) -> Tensor:
    """NT-Xent over (2 B, 30): each view is to find the other view of its network, B places further on."""
    count = len(projected)
    unit = F.normalize(projected, dim=1, eps=1e-8)
    similarity = (unit @ unit.T / _TEMPERATURE).fill_diagonal_(-torch.inf)
    partner = torch.arange(count, device=projected.device).roll(count // 2)
    return F.cross_entropy(similarity, partner)


def train(
    run: Run[Config], corpus: Corpus, validate: Callable[[Learner], dict[str, float]] | None = None
) -> Optimised[Learner]:
    """Train as `optimise` does."""
    device, task = pick_device(), run.training.task
    sizes = task.observation_dim, task.action_dim
    model = seeded(lambda: Learner(run.config, *sizes, corpus.standard).to(device), run.seed)
    return optimise(run, model, partial(batch_loss, model, corpus, run.config, device), run.config, validate)
