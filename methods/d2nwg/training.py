"""The two stages: an autoencoder of vectors, then a diffusion of its latents.

Shapes: N training networks, B networks per batch, D numbers per vector, C channels, S architecture tokens, V symbols.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from nnbench.errors import InputError
from nnbench.methods._diffusion import Process
from nnbench.methods._machine import compiled, computes_bfloat16, pick_device
from nnbench.methods._optimisation import Optimised, Run, optimise, seeded
from nnbench.methods.d2nwg.config import Config
from nnbench.methods.d2nwg.model import VAE, UNet, principal_components
from nnbench.methods.d2nwg.vectors import vectorise
from nnbench.methods.nnit.tokens import encode_architecture
from nnbench.tasks.policies.training_set import TrainingSet

ENCODE_BATCH = 64


@dataclass(frozen=True)
class Corpus:
    """All training networks."""

    vectors: Tensor  # (N, D), normalised
    codes: Tensor  # (N, S, V)


@dataclass(frozen=True)
class Latents:
    """The latents of the training networks, scaled to standard deviation 1."""

    mean: Tensor  # (N, C, places)
    std: Tensor  # (N, C, places)
    scale: Tensor  # (), the factor


def build_corpus(training: TrainingSet, config: Config) -> Corpus:
    """All training networks on the device. Raises InputError where an architecture has no symbols."""
    task, device = training.task, pick_device()
    pairs = [(arch, weights) for arch in training.architectures for weights in training.networks(arch).values()]
    vectors = [
        vectorise(weights, arch, config.layout, task.observation_dim, task.action_dim) for arch, weights in pairs
    ]
    codes = [encode_architecture(arch) for arch, _ in pairs]
    return Corpus((torch.stack(vectors) * training.scale).to(device), torch.stack(codes).to(device))


def with_all_components(corpus: Corpus, config: Config, name: str) -> Config:
    """For the method of this name the same with as many channels of features, and of latents, as the training vectors
    have components to fill.

    Raises InputError where they fill none.
    """
    _, *sides = config.features
    rank, places = len(principal_components(corpus.vectors, math.prod(config.features))), math.prod(sides)
    if rank < places:
        raise InputError(f"{name}: the training networks span {rank} dimensions, expected at least {places}: add some")
    channels = rank // places
    return replace(config, features=(channels, *sides), latents=channels, picture=(channels, *sides))


def vae_loss(vae: VAE, corpus: Corpus, config: Config, rng: torch.Generator) -> Tensor:
    """Summed absolute error, 1e-6 times the divergence, and the summed squared error with a weight.

    The errors of padding count too. The authors weigh the mean squared error by 1000, which for their vectors of 2,864
    numbers is .35 per number.
    """
    x = corpus.vectors[torch.randint(len(corpus.vectors), (config.vae.batch,), generator=rng)]  # (B, D)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=computes_bfloat16(x.device)):
        mean, log_variance = vae.encode(x)
        noise = torch.randn(mean.shape, generator=rng).to(x.device)
        error = vae.decode(mean + (0.5 * log_variance).exp() * noise).float() - x
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(dim=1)
    summed = (error.abs() + config.square_weight * error.square()).sum(dim=1)
    return (summed + config.kl_weight * divergence).mean()


def train_autoencoder(
    run: Run[Config], corpus: Corpus, validate: Callable[[VAE], dict[str, float]] | None = None
) -> Optimised[VAE]:
    """The first stage, as `optimise` does it."""
    config = run.config
    vae = seeded(lambda: VAE(corpus.vectors.shape[1], config), run.seed).to(corpus.vectors.device)
    if config.principal:
        vae.basis = principal_components(corpus.vectors, len(vae.basis))
    stage = replace(run, name=f"{run.name}-vae")
    return optimise(stage, vae, partial(vae_loss, vae, corpus, config), config.vae, validate)


@torch.no_grad()
def encode_all(vae: VAE, corpus: Corpus, config: Config) -> Latents:
    """Posteriors of all training networks, as pictures."""
    moments = [vae.encode(part) for part in corpus.vectors.split(ENCODE_BATCH)]
    mean = torch.cat([mean for mean, _ in moments]).reshape(len(corpus.vectors), config.picture[0], -1)
    std = torch.cat([(0.5 * log_variance).exp() for _, log_variance in moments]).view_as(mean)
    scale = (1 / mean.std()).half().float()  # as it is saved
    return Latents(mean * scale, std * scale, scale)


def diffusion_loss(
    unet: UNet, latents: Latents, corpus: Corpus, process: Process, config: Config, rng: torch.Generator
) -> Tensor:
    """The squared error at random timesteps, on samples of the posteriors of random training networks."""
    batch, device = config.diffusion.batch, latents.mean.device
    picks = torch.randint(len(latents.mean), (batch,), generator=rng)
    shape = (batch, *latents.mean.shape[1:])
    x0 = latents.mean[picks] + latents.std[picks] * torch.randn(shape, generator=rng).to(device)  # (B, C, places)
    t = process.draw_timesteps(batch, rng).to(device)
    noise = torch.randn(shape, generator=rng).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=computes_bfloat16(device)):
        output = unet(process.diffuse(x0, noise, t), corpus.codes[picks], t)
    return process.loss(output.float(), x0, noise, t, discrete=False)


def train_diffusion(
    run: Run[Config],
    corpus: Corpus,
    latents: Latents,
    process: Process,
    validate: Callable[[UNet], dict[str, float]] | None = None,
) -> Optimised[UNet]:
    """The second stage, as `optimise` does it."""
    config = run.config
    unet = seeded(lambda: UNet(config), run.seed).to(latents.mean.device)
    fast = compiled(unet, config.diffusion.steps)
    stage = replace(run, name=f"{run.name}-diffusion")
    loss_of = partial(diffusion_loss, fast, latents, corpus, process, config)
    return optimise(stage, unet, loss_of, config.diffusion, validate)
