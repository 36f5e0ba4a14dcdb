"""Distances between policies of one architecture: L2 over all weights and biases.

Both sides come out of aligned generators, so no permutation is searched for. S samples, N candidates, P parameters.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nnbench.tasks.policy import Weights, flatten_weights


class Nearest(NamedTuple):
    """The hypernetwork seed of the nearest candidate and the L2 distance to it."""

    seed: int
    distance: float


def nearest_policies(samples: Sequence[Weights], candidates: Mapping[int, Weights]) -> list[Nearest]:
    """The nearest candidate of each sample; `candidates` maps a hypernetwork's seed to its policy.

    Of equally near candidates the lowest seed is named. An exact copy has distance 0. Raises ValueError where there
    is no candidate, or one of another architecture than the samples.
    """
    seeds = sorted(candidates)
    others = _stack(candidates)  # (N, P)
    rows = []
    for position, sample in enumerate(samples):
        row = flatten_weights(sample).float()
        if len(row) != others.shape[1]:
            raise ValueError(
                f"sample {position} has {len(row)} parameters, the candidates {others.shape[1]}: expected policies of "
                "one architecture"
            )
        rows.append(row)
    if not rows:
        return []
    distances, positions = _distances(torch.stack(rows), others).min(dim=1)  # (S,)
    return [
        Nearest(seeds[position], distance)
        for position, distance in zip(positions.tolist(), distances.tolist(), strict=True)
    ]


def nearest_policy(weights: Weights, candidates: Mapping[int, Weights]) -> Nearest:
    """`nearest_policies` of a single sample."""
    return nearest_policies([weights], candidates)[0]


def _stack(candidates: Mapping[int, Weights]) -> Tensor:
    """Candidates by ascending seed, one a row."""  # (N, P)
    if not candidates:
        raise ValueError("no candidates, expected the policy of at least one hypernetwork")
    rows = {seed: flatten_weights(candidates[seed]).float() for seed in sorted(candidates)}
    sizes = {seed: len(row) for seed, row in rows.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"candidates have these numbers of parameters by seed: {sizes}; expected one architecture")
    return torch.stack(list(rows.values()))


def _distances(left: Tensor, right: Tensor) -> Tensor:
    # By matrix products a copy would come out at a small distance instead of 0.
    return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist")
