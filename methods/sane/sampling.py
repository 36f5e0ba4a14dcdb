"""Sampling: a kernel density estimate for every token's latents, with the training networks as anchors.

Shapes: A anchors, T tokens, Z latent numbers per token, D numbers per token.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nnbench.errors import InputError
from nnbench.methods._importance import passed_on
from nnbench.tasks.policies.architectures import Architecture, architecture_name, doublings
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.policies.resizing import nearest_architectures
from nnbench.tasks.policies.training_set import TrainingSet

Coupling = Literal["shared", "joint", "independent"]


class Rows(NamedTuple):
    """A policy as the sampler has it, or several, stacked."""

    latents: Tensor  # (T, Z)
    held: Tensor  # (T, D) bool
    """The numbers of each row that the network it was encoded from has. Nothing is written to the others."""


Encoded = Callable[[Architecture], dict[int, Rows]]
"""Training architecture to GHN seed to that policy."""


def stack(rows: Sequence[Rows]) -> Rows:
    return Rows(torch.stack([one.latents for one in rows]), torch.stack([one.held for one in rows]))


def collect_anchors(arch: Architecture, action_dim: int, training: TrainingSet, encoded: Encoded) -> Rows:
    """The nearest training architectures' policies, (A, T, ...); the nearest to a training architecture is itself.

    Where their layers are wider, the first rows are taken: `encoded` has those first that are to be kept. Where they
    are narrower, each missing row comes from the policy of the same seed and of the nearest architecture that has such
    a row; nothing reads the neurons that are put in, for no row of the nearest architecture holds a weight for them.
    Raises InputError where no anchor can be completed.
    """
    by_distance = sorted(training.architectures, key=lambda near: doublings(arch, near))
    anchors = []
    for near in nearest_architectures(arch, training):
        for seed in sorted(training.networks(near)):
            sources = [near, *(other for other in by_distance if seed in training.networks(other))]
            layers = [
                _stitch(width, ((other, encoded(other)[seed]) for other in sources), layer, action_dim)
                for layer, width in enumerate((*arch, action_dim))
            ]
            if all(rows is not None for rows in layers):
                anchors.append(_join([rows for rows in layers if rows is not None]))
    if not anchors:
        raise InputError(
            f"sane: {architecture_name(arch)} has a layer wider than that of any training network of a seed "
            "that the nearest architectures have a network of; its rows have no anchors"
        )
    return stack(anchors)


def _stitch(width: int, sources: Iterable[tuple[Architecture, Rows]], layer: int, action_dim: int) -> Rows | None:
    """The first `width` rows of a layer, each from the first source that has it; None where no source has it."""
    parts: list[Rows] = []
    found = 0
    for source, rows in sources:
        own = Rows(*(part.split((*source, action_dim))[layer][found:width] for part in rows))
        parts.append(own)
        found += len(own.latents)
        if found == width:
            return _join(parts)
    return None


def _join(parts: Sequence[Rows]) -> Rows:
    return Rows(torch.cat([part.latents for part in parts]), torch.cat([part.held for part in parts]))


def keep_first(weights: Weights, arch: Architecture) -> list[np.ndarray]:
    """For each hidden layer the order in which the neurons that `arch` has room for come first; otherwise their order
    is kept.

    The neurons that pass on least are cut, and come last.
    """
    orders = []
    for room, passes in zip(arch, passed_on(weights), strict=True):
        kept = passes.argsort(descending=True, stable=True)[:room].sort().values.numpy()
        orders.append(np.concatenate([kept, np.setdiff1d(np.arange(len(passes)), kept)]))
    return orders


def draw(anchors: Rows, coupling: Coupling, bandwidth: float, rng: torch.Generator) -> Rows:
    """One sample: for every token the latents of a random anchor out of (A, T, ...), and Gaussian noise.

    `shared` is the authors' code as released: it seeds the estimate of each token alike, so that all tokens take the
    same anchor and the same noise. `joint` is its mode of that name, one anchor with noise of its own for each token;
    `independent` draws each token for itself, as the estimates say.
    """
    count, tokens, latent = anchors.latents.shape
    chosen = torch.randint(count, (tokens if coupling == "independent" else 1,), generator=rng).expand(tokens)
    noise = torch.randn(1 if coupling == "shared" else tokens, latent, generator=rng)
    each = torch.arange(tokens)
    return Rows(anchors.latents[chosen, each] + bandwidth * noise, anchors.held[chosen, each])


def keep_best(samples: Sequence[Rows], scores: Sequence[Mapping[str, float]], count: int) -> list[Rows]:
    """Those with the highest returns, the best first: the anchors of the next draw."""
    order = sorted(range(len(samples)), key=lambda i: scores[i]["return"], reverse=True)
    return [samples[i] for i in order[:count]]
