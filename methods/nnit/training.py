"""Training with a mixture of noise levels (section 5.3, appendix C).

A share of the batches (`joint_share`) diffuses architecture and weights to the same timestep, so that both can be
generated together. The others leave the architecture clean: the weights are conditioned on it.

Shapes: B networks per batch, L patches per network, P numbers per patch, S architecture tokens, V symbols.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nnbench.methods._diffusion import Process
from nnbench.methods._machine import computes_bfloat16
from nnbench.methods._optimisation import Optimised, Run, optimise
from nnbench.methods.nnit.config import Config
from nnbench.methods.nnit.model import NNiT
from nnbench.methods.nnit.tokens import encode_architecture, patchify, positions, valid_patches
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.training_set import TrainingSet


@dataclass(frozen=True)
class Corpus:
    """The training networks of one architecture as the transformer sees them."""

    arch: Architecture
    codes: Tensor  # (S, V)
    patches: Tensor  # (N, L, P), normalised, on the whole grid
    valid: Tensor  # (L,) bool


def build_corpora(training: TrainingSet, patch: tuple[int, int], device: torch.device) -> list[Corpus]:
    """All training networks. An architecture without a validated network has no corpus.

    Raises InputError where an architecture has no symbols.
    """
    task, found = training.task, []
    for arch in training.architectures:
        policies = list(training.networks(arch).values())
        if policies:
            patches = torch.stack([patchify(weights, patch) for weights in policies]) * training.scale
            valid = valid_patches(arch, task.observation_dim, task.action_dim, patch)
            found.append(Corpus(arch, encode_architecture(arch).to(device), patches.to(device), valid.to(device)))
    return found


def batch_loss(
    model: NNiT, corpora: list[Corpus], place: Tensor, process: Process, config: Config, rng: torch.Generator
) -> Tensor:
    """Eq. 5 on random networks at random timesteps, in one of the two modes (eq. 4)."""
    device = place.device
    joint = float(torch.rand((), generator=rng)) < config.joint_share
    if joint or config.tokens == "grid":
        drawn = torch.randint(len(corpora), (config.batch,), generator=rng).tolist()
        seen = torch.arange(len(place), device=device)
    else:  # all of one architecture: they must have equally many tokens
        drawn = [int(torch.randint(len(corpora), (), generator=rng))] * config.batch
        seen = corpora[drawn[0]].valid.nonzero()[:, 0]
    picks = [int(torch.randint(len(corpora[c].patches), (), generator=rng)) for c in drawn]
    w0 = torch.stack([corpora[c].patches[pick][seen] for c, pick in zip(drawn, picks, strict=True)])  # (B, l, P)
    a0 = torch.stack([corpora[c].codes for c in drawn])  # (B, S, V)
    t_w = process.draw_timesteps(config.batch, rng).to(device)  # (B,)
    t_a = t_w if joint else torch.zeros_like(t_w)
    noise_a, noise_w = (torch.randn(x.shape, generator=rng).to(device) for x in (a0, w0))
    noisy_a, noisy_w = process.diffuse(a0, noise_a, t_a), process.diffuse(w0, noise_w, t_w)
    log_expected = model.expected_log_error(t_w)
    with torch.autocast(device.type, torch.bfloat16, enabled=computes_bfloat16(device)):
        out_a, out_w = model(noisy_a, noisy_w, place[seen], t_a, t_w)
    loss_a = process.loss(out_a.float(), a0, noise_a, t_a, discrete=True)
    return loss_a + process.loss(out_w.float(), w0, noise_w, t_w, discrete=False, log_expected=log_expected)


def train(
    run: Run[Config],
    model: NNiT,
    corpora: list[Corpus],
    validate: Callable[[NNiT], dict[str, float]] | None = None,
) -> Optimised[NNiT]:
    """Train as `optimise` does."""
    config = run.config
    place = positions(config.token_shape).to(corpora[0].patches.device)
    process = Process(config.timesteps, config.target, config.learned_variance, draw=config.draw)
    return optimise(run, model, partial(batch_loss, model, corpora, place, process, config), config, validate)
