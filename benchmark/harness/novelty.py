"""How far generated policies are from the zoo's and from one another, by their weights and by what they do.

Weights are compared after the best found order of the neurons, so that a reordered copy is seen for what it is; actions
on states that the zoo keeps, which works across architectures. Either distance means little by itself: beside it stands
how far the policies of different GHNs are from one another.

S samples, T training policies, N states, A action dimensions, P parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nnbench.tasks.policies.architectures import Architecture, architecture_name
from nnbench.tasks.policies.mlp import Weights, architecture_of, flatten_weights, nearest_neighbours, weights_sha256
from nnbench.tasks.policies.rebasin import align
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.zoo.zoo import Zoo

_SPREAD_WEIGHTS = 8
_SPREAD_ACTIONS = 100
"""How many of the zoo's policies a spread is the median over."""
_ACTIONS_AT_ONCE = 16
"""Training policies whose actions are compared at once: few enough for a processor's cache."""


class Neighbour(NamedTuple):
    """The nearest policy of one architecture: its GHN's seed, and the L2 distance to it."""

    seed: int
    distance: float


class Lookalike(NamedTuple):
    """The training policy that acts most alike, and how far its actions are."""

    arch: Architecture
    seed: int
    distance: float


class Novelty:
    """Sets samples beside one zoo. What is dear is made when it is first needed."""

    def __init__(self, zoo: Zoo) -> None:
        self._zoo = zoo
        self._spreads: dict[Architecture, float] = {}

    def columns(self, samples: Sequence[Weights], top: Sequence[int]) -> list[dict[str, Any]]:
        """Of every sample the columns of `store.POLICY_SCHEMA` that this module knows; `top` are the selected, best
        first."""
        distinct = {weights_sha256(sample): sample for sample in samples}
        described = {sha: self._beside_the_zoo(sample) for sha, sample in distinct.items()}
        rows = [dict(described[weights_sha256(sample)]) for sample in samples]
        archs = [architecture_of(sample) for sample in samples]
        for arch in dict.fromkeys(archs):
            members = [position for position, other in enumerate(archs) if other == arch]
            distances, cosines = nearest_neighbours([samples[position] for position in members])
            for position, distance, cosine in zip(members, distances.tolist(), cosines.tolist(), strict=True):
                rows[position] |= {"other_l2": distance, "other_cosine": cosine}
        for position, row in enumerate(rows):
            chosen = position in top
            pairs = [_l2_and_cosine(samples[position], samples[other]) for other in top] if chosen else None
            row["top_l2"] = [distance for distance, _ in pairs] if pairs else None
            row["top_cosine"] = [cosine for _, cosine in pairs] if pairs else None
        return rows

    def _beside_the_zoo(self, sample: Weights) -> dict[str, Any]:
        arch = architecture_of(sample)
        policies = self._zoo.hypernetwork_policies(arch)
        ghn = nearest_by_weights(sample, policies)
        if arch not in self._spreads:
            self._spreads[arch] = spread_by_weights(policies)
        alike = self._bank.nearest(sample)
        return {
            "ghn_seed": ghn.seed,
            "ghn_distance": ghn.distance,
            "ghn_spread": self._spreads[arch],
            "action_arch": architecture_name(alike.arch),
            "action_seed": alike.seed,
            "action_distance": alike.distance,
            "action_spread": self._bank.spread,
        }

    @cached_property
    def _bank(self) -> "ActionBank":
        return ActionBank.of(self._zoo.training_set(), self._zoo.states)


def nearest_by_weights(sample: Weights, policies: Mapping[int, Weights]) -> Neighbour:
    """L2 distance to the nearest of these policies of the same architecture, neurons matched; of equally near ones the
    lowest seed. Raises ValueError where there is none, or one of another architecture."""
    if not policies:
        raise ValueError("no policies to compare with, expected that of at least one hypernetwork")
    ours, ours_sorted = flatten_weights(sample), _invariants(sample)
    as_they_are, bounds = {}, {}
    for seed in sorted(policies):
        theirs = flatten_weights(policies[seed])
        if len(theirs) != len(ours):
            raise ValueError(f"the sample has {len(ours)} parameters, the policy of seed {seed} has {len(theirs)}")
        as_they_are[seed] = float((theirs - ours).norm())
        bounds[seed] = float((_invariants(policies[seed]) - ours_sorted).norm())
    nearest = min(as_they_are, key=as_they_are.__getitem__)
    best = Neighbour(nearest, as_they_are[nearest])
    # No order of the neurons brings a policy nearer than its bound, so most need not be matched to find the nearest.
    for seed in sorted(bounds, key=bounds.__getitem__):
        if bounds[seed] > best.distance or best.distance == 0:
            break
        distance = float((flatten_weights(align(policies[seed], sample)) - ours).norm())
        best = min(best, Neighbour(seed, distance), key=lambda found: (found.distance, found.seed))
    return best


def spread_by_weights(policies: Mapping[int, Weights]) -> float:
    """Median over at most eight of the policies of the distance to the nearest other; NaN where there is no other."""
    if len(policies) < 2:
        return float("nan")
    seeds = sorted(policies)
    chosen = np.linspace(0, len(seeds) - 1, min(_SPREAD_WEIGHTS, len(seeds))).round().astype(int)
    found = []
    for position in chosen:
        others = {seed: weights for seed, weights in policies.items() if seed != seeds[position]}
        found.append(nearest_by_weights(policies[seeds[position]], others).distance)
    return float(np.median(found))


@dataclass(frozen=True)
class ActionBank:
    """What the training policies do in the zoo's states."""

    states: Tensor  # (N, O)
    origins: tuple[tuple[Architecture, int], ...]  # (T,) architecture and GHN seed
    actions: Tensor  # (T, N, A), within [-1, 1]

    @classmethod
    def of(cls, training: TrainingSet, states: Tensor) -> "ActionBank":
        """All training policies of all architectures."""
        policies = {
            (arch, seed): weights
            for arch in training.architectures
            for seed, weights in training.networks(arch).items()
        }
        return cls(states, tuple(policies), torch.stack([act(weights, states) for weights in policies.values()]))

    def nearest(self, sample: Weights) -> Lookalike:
        """The training policy that acts most alike: mean over the states of the L2 distance of the actions."""
        distances = self._distances(act(sample, self.states))  # (T,)
        position = int(distances.argmin())
        return Lookalike(*self.origins[position], float(distances[position]))

    @cached_property
    def spread(self) -> float:
        """Median distance of a training policy to the nearest of another GHN, over a hundred of them; NaN if none."""
        seeds = torch.tensor([seed for _, seed in self.origins])
        found = []
        for position in np.linspace(0, len(seeds) - 1, min(_SPREAD_ACTIONS, len(seeds))).round().astype(int):
            others = self._distances(self.actions[position])[seeds != seeds[position]]
            if len(others):
                found.append(float(others.min()))
        return float(np.median(found)) if found else float("nan")

    def _distances(self, actions: Tensor) -> Tensor:
        parts = self.actions.split(_ACTIONS_AT_ONCE)
        return torch.cat([(part - actions).norm(dim=2).mean(dim=1) for part in parts])  # (T,)


def act(weights: Weights, states: Tensor) -> Tensor:
    """The policy's actions, (N, A), as the simulator executes them."""
    hidden = states
    layers = len(weights) // 2
    for layer in range(layers):
        hidden = hidden @ weights[f"{2 * layer}.weight"].T + weights[f"{2 * layer}.bias"]
        hidden = F.relu(hidden) if layer < layers - 1 else hidden
    return hidden.clamp(-1, 1)


def _invariants(weights: Weights) -> Tensor:
    """Numbers that no order of the hidden neurons changes, no further apart in L2 than the networks are: the norms of
    each neuron's incoming weights and bias, sorted within a hidden layer."""
    layers = len(weights) // 2
    found = []
    for layer in range(layers):
        rows = torch.cat([weights[f"{2 * layer}.weight"], weights[f"{2 * layer}.bias"][:, None]], dim=1)
        norms = rows.double().norm(dim=1)
        found.append(norms.sort().values if layer < layers - 1 else norms)
    return torch.cat(found)


def _l2_and_cosine(left: Weights, right: Weights) -> tuple[float, float]:
    """As they are, neurons not matched; NaN between two architectures."""
    a, b = flatten_weights(left).double(), flatten_weights(right).double()
    if architecture_of(left) != architecture_of(right):
        return float("nan"), float("nan")
    return float((a - b).norm()), float(F.cosine_similarity(a, b, dim=0))
