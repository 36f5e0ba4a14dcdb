"""How far generated policies are from the zoo's policies and from one another, by their weights and by their actions.

Weights are compared after balancing and matching the neurons, so that a copy with rescaled or reordered neurons has
distance 0. Actions are compared on states that the zoo stores, which works across architectures. Neither distance says
much by itself, so each is stored with a spread: how far the policies of different hypernetworks (GHNs) are from one
another.

Where no hypernetworks wrote the zoo, its policies are those that were trained one by one, of all 81 listed
architectures. A sample of another architecture then has no policy of its own to be compared with by weights.

Whoever has no policy of an architecture can pad one of a narrower architecture, and disturb it, the padding too. So
samples are compared with padded training policies as well.

S samples, T training policies, N states, O observation and A action dimensions, P parameters, L layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nnbench.errors import InputError
from nnbench.store.schemas import COMPARISON, FAR, NO_SEED
from nnbench.tasks.policies.architectures import Architecture, Splits, architecture_name
from nnbench.tasks.policies.balancing import balance
from nnbench.tasks.policies.mlp import (
    Weights,
    act,
    architecture_of,
    flatten_weights,
    nearest_neighbours,
    weights_sha256,
)
from nnbench.tasks.policies.rebasin import Neurons, align
from nnbench.tasks.policies.resizing import resize
from nnbench.tasks.policies.silent import without_silent
from nnbench.tasks.policies.tracks import contains
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.zoo.zoo import Zoo

_SPREAD_WEIGHTS = 8
"""The spread of weights is the median over at most this many of the zoo's policies."""
_SPREAD_ACTIONS = 100
"""The same for the spread of actions."""
_MUTUAL = 32
"""Of the samples of an architecture, the first so many are compared with one another: as many as a zoo has policies."""
_ACTIONS_AT_ONCE = 16
"""The actions of this many training policies are compared at once, few enough for a processor's cache."""
_STATES_AT_ONCE = 16
"""The same for the states in which many training policies are compared with all."""
_ROUNDING = 1e-6
"""Distances are of single precision."""


class Neighbour(NamedTuple):
    """The zoo's policy of the architecture that is nearest to a sample by its weights."""

    seed: int
    """Of the hypernetwork, or of the policy's own training."""
    distance: float
    """L2 of what was compared, neurons matched."""


class Lookalike(NamedTuple):
    """The training policy that is nearest to a sample by its actions."""

    arch: Architecture
    seed: int
    """As of `Neighbour`."""
    distance: float
    """Mean over the states of the L2 distance of the actions."""


class Novelty:
    """Compares samples with the policies of one zoo. Expensive parts are computed on first use and kept."""

    def __init__(self, zoo: Zoo) -> None:
        self._zoo = zoo
        self._policies: dict[Architecture, dict[int, Weights]] = {}
        self._spreads: dict[Architecture, float] = {}
        self._padded_to: dict[Architecture, Padded] = {}

    @property
    def splits(self) -> Splits:
        """Those of the zoo's track."""
        return self._zoo.track.splits

    def columns(self, samples: Sequence[Weights], top: Sequence[int]) -> list[dict[str, Any]]:
        """The columns of `store.schemas.POLICY_SCHEMA` from `ghn_seed` on, one dictionary per sample.

        `top` are the positions of the selected samples, best first.
        """
        distinct = {weights_sha256(sample): sample for sample in samples}
        described = {sha: self._beside_the_zoo(sample) for sha, sample in distinct.items()}
        rows = [dict(described[weights_sha256(sample)]) for sample in samples]
        archs = [architecture_of(sample) for sample in samples]
        for arch in dict.fromkeys(archs):
            members = [position for position, other in enumerate(archs) if other == arch]
            distances, cosines = nearest_neighbours([samples[position] for position in members])
            for position, distance, cosine in zip(members, distances.tolist(), cosines.tolist(), strict=True):
                rows[position] |= {"other_l2": distance, "other_cosine": cosine}
            for position, apart in zip(members, self._mutual([samples[position] for position in members]), strict=True):
                rows[position] |= apart
        for position, row in enumerate(rows):
            chosen = position in top
            pairs = [_l2_and_cosine(samples[position], samples[other]) for other in top] if chosen else None
            row["top_l2"] = [distance for distance, _ in pairs] if pairs else None
            row["top_cosine"] = [cosine for _, cosine in pairs] if pairs else None
        return rows

    def _mutual(self, samples: Sequence[Weights]) -> list[dict[str, float | None]]:
        """How far each of the first samples of one architecture is from the nearest other of them."""
        compared = {position: balance(sample) for position, sample in enumerate(samples[:_MUTUAL])}
        if len(compared) < 2:
            return [{"mutual_distance": None, "mutual_actions": None} for _ in samples]
        actions = torch.stack([act(samples[position], self._zoo.states) for position in compared])  # (S, N, A)
        found: list[dict[str, float | None]] = []
        for position in range(len(samples)):
            if position not in compared:
                found.append({"mutual_distance": None, "mutual_actions": None})
                continue
            others = {other: weights for other, weights in compared.items() if other != position}
            apart = (actions - actions[position]).norm(dim=2).mean(dim=1)  # (S,)
            apart[position] = torch.inf
            distance = nearest_by_weights(compared[position], others).distance
            found.append({"mutual_distance": distance, "mutual_actions": float(apart.min())})
        return found

    def _balanced(self, arch: Architecture) -> dict[int, Weights]:
        """The zoo's policies of an architecture, by seed."""
        if arch not in self._policies:
            self._policies[arch] = {seed: balance(weights) for seed, weights in self._zoo.policies(arch).items()}
        return self._policies[arch]

    def _spread(self, arch: Architecture) -> float:
        if arch not in self._spreads:
            self._spreads[arch] = spread_by_weights(self._balanced(arch))
        return self._spreads[arch]

    def _beside_trained(self, sample: Weights, near: Neighbour) -> dict[str, Any]:
        """The sample without silent neurons beside the training policies of the architecture that is left, and beside
        those of narrower architectures, padded.

        `near` is the nearest to the sample of all the zoo's policies of its architecture.
        """
        bare = without_silent(sample)
        left, ratios = architecture_of(bare), self._beside_padded(bare)
        if left in self.splits.train and (trained := self._training.networks(left)):
            if left == architecture_of(sample) and near.seed in trained:  # nothing was silent: it is the nearest here
                distance = near.distance
            else:
                balanced = self._balanced(left)
                distance = nearest_by_weights(balance(bare), {seed: balanced[seed] for seed in trained}).distance
            ratios.append(distance / self._spread(left))
        return {"effective_arch": architecture_name(left), "trained_ratio": min(ratios, default=None)}

    def _beside_padded(self, bare: Weights) -> list[float]:
        """The distance to the nearest padded policy of a narrower training architecture, over the spread there; nothing
        unless the sample is a copy of it."""
        arch, ours = architecture_of(bare), balance(bare)
        if arch not in self._padded_to:
            self._padded_to[arch] = self._pad(arch)
        padded, least = self._padded_to[arch], FAR
        bounds = padded.bounds(ours)

        def how_far(narrow: Architecture) -> float:
            return min(bounds[place] for place in padded.places[narrow]) - FAR * padded.spreads_at_most[narrow]

        for narrow in sorted(padded.places, key=how_far):  # a near one leaves little to look at in the others
            allowed = least * padded.spreads_at_most[narrow]
            near = [place for place in padded.places[narrow] if bounds[place] <= allowed]
            if near:
                policies = {padded.seeds[place]: padded.policies[place] for place in near}
                least = min(least, nearest_by_weights(ours, policies).distance / self._spread(narrow))
        return [least] if least < FAR else []

    def _pad(self, arch: Architecture) -> "Padded":
        sizes = self._training.task.observation_dim, self._training.task.action_dim
        padded: dict[Architecture, dict[int, Weights]] = {}
        for narrow in self.splits.train:
            if narrow != arch and contains(arch, narrow):
                policies = {seed: self._balanced(narrow)[seed] for seed in self._training.networks(narrow)}
                fitted = {seed: resize(policy, arch, *sizes) for seed, policy in policies.items()}
                # What only gets silent neurons stays balanced.
                deeper = len(arch) > len(narrow)
                padded[narrow] = {seed: balance(policy) if deeper else policy for seed, policy in fitted.items()}
        padded = {narrow: policies for narrow, policies in padded.items() if policies}
        return Padded.of(padded, {narrow: spread_at_most(self._balanced(narrow)) for narrow in padded})

    def _beside_the_zoo(self, sample: Weights) -> dict[str, Any]:
        arch = architecture_of(sample)
        policies = self._balanced(arch)
        near = nearest_by_weights(balance(sample), policies) if policies else Neighbour(NO_SEED, float("nan"))
        similar = self._bank.nearest(sample)
        return {
            "comparison": COMPARISON,
            **self._beside_trained(sample, near),
            "ghn_seed": near.seed,
            "ghn_distance": near.distance,
            "ghn_spread": self._spread(arch),
            "action_arch": architecture_name(similar.arch),
            "action_seed": similar.seed,
            "action_distance": similar.distance,
            "action_spread": self._bank.spread,
        }

    @cached_property
    def _bank(self) -> "ActionBank":
        alone = self._zoo.source_name == "sgd"
        return ActionBank.of(self._training, self._zoo.states, trained_alone=alone)

    @cached_property
    def _training(self) -> TrainingSet:
        return self._zoo.training_set()


@dataclass(frozen=True)
class Padded:
    """All training policies of narrower architectures, padded to one architecture, P of them."""

    places: Mapping[Architecture, Sequence[int]]
    """Of the architecture that was padded, which of the P are of it."""
    seeds: Sequence[int]  # (P,)
    policies: Sequence[Weights]  # (P,) balanced
    inputs: Tensor  # (P, width, O + 1) what the first layer reads, and its bias
    spreads_at_most: Mapping[Architecture, float]

    @classmethod
    def of(
        cls, policies: Mapping[Architecture, Mapping[int, Weights]], spreads_at_most: Mapping[Architecture, float]
    ) -> "Padded":
        """Of balanced policies by the architecture that was padded and the seed, and `spread_at_most` there."""
        places, count = {}, 0
        for narrow, alike in policies.items():
            places[narrow] = range(count, count := count + len(alike))
        every = [policy for alike in policies.values() for policy in alike.values()]
        inputs = torch.stack([*map(_inputs, every)]) if every else torch.empty(0)
        return cls(places, [seed for alike in policies.values() for seed in alike], every, inputs, spreads_at_most)

    def bounds(self, sample: Weights) -> list[float]:
        """P distances that no order of the neurons brings the balanced sample and a policy below.

        Each neuron of a policy's first layer is matched by itself, to the nearest of the sample's.
        """
        if not self.policies:
            return []
        apart = torch.cdist(self.inputs, _inputs(sample), compute_mode="donot_use_mm_for_euclid_dist")
        found: list[float] = (apart.amin(dim=2).norm(dim=1) * (1 - _ROUNDING)).tolist()
        return found


def _inputs(weights: Weights) -> Tensor:  # (width, O + 1)
    return torch.cat([weights["0.weight"], weights["0.bias"][:, None]], dim=1)


def nearest_by_weights(sample: Weights, policies: Mapping[int, Weights]) -> Neighbour:
    """The nearest of these policies, by seed, after matching the neurons; of equally near ones that of the lowest seed.

    Raises InputError where there are no policies, or where one has another number of parameters than the sample.
    """
    if not policies:
        raise InputError("no policies to compare with, expected that of at least one hypernetwork")
    ours, our_neurons = flatten_weights(sample), Neurons.of(sample)
    as_they_are, bounds = {}, {}
    for seed in sorted(policies):
        theirs = flatten_weights(policies[seed])
        if len(theirs) != len(ours):
            raise InputError(f"the sample has {len(ours)} parameters, the policy of seed {seed} has {len(theirs)}")
        as_they_are[seed] = float((theirs - ours).norm())
        bounds[seed] = Neurons.of(policies[seed]).bound(our_neurons)
    nearest = min(as_they_are, key=as_they_are.__getitem__)
    best = Neighbour(nearest, as_they_are[nearest])
    # No order of the neurons brings a policy nearer than its bound: beside a near one, the others need no matching.
    for seed in sorted(bounds, key=bounds.__getitem__):
        if bounds[seed] > best.distance * (1 + _ROUNDING) or best.distance == 0:
            break
        distance = float((flatten_weights(align(policies[seed], sample)) - ours).norm())
        best = min(best, Neighbour(seed, distance), key=lambda found: (found.distance, found.seed))
    return best


def spread_by_weights(policies: Mapping[int, Weights]) -> float:
    """The median distance from a policy to the nearest other, over at most eight policies; NaN for a single policy."""
    if len(policies) < 2:
        return float("nan")
    seeds, found = sorted(policies), []
    for position in _chosen(len(seeds)):
        others = {seed: weights for seed, weights in policies.items() if seed != seeds[position]}
        found.append(nearest_by_weights(policies[seeds[position]], others).distance)
    return float(np.median(found))


def spread_at_most(policies: Mapping[int, Weights]) -> float:
    """What `spread_by_weights` is not above: the same without matching, which is quick; NaN for a single policy."""
    if len(policies) < 2:
        return float("nan")
    flat = torch.stack([flatten_weights(policies[seed]) for seed in sorted(policies)])
    apart = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    return float(np.median(apart.amin(dim=1).numpy()[_chosen(len(flat))])) * (1 + _ROUNDING)


def _chosen(count: int) -> np.ndarray:
    """Which of so many policies the spread of weights is a median of."""
    found: np.ndarray = np.linspace(0, count - 1, min(_SPREAD_WEIGHTS, count)).round().astype(int)
    return found


@dataclass(frozen=True)
class ActionBank:
    """The actions of all training policies in the states that the zoo stores."""

    states: Tensor  # (N, O)
    origins: tuple[tuple[Architecture, int], ...]  # (T,) architecture and seed
    writers: Tensor  # (T,) equal for policies that one hypernetwork wrote
    actions: Tensor  # (T, N, A), within [-1, 1]

    @classmethod
    def of(cls, training: TrainingSet, states: Tensor, *, trained_alone: bool = False) -> "ActionBank":
        """Of the training policies of all architectures; states are (N, O), standardised.

        `trained_alone`: policies of equal seeds are not of one hypernetwork, each was trained by itself.
        """
        policies = {
            (arch, seed): weights
            for arch in training.architectures
            for seed, weights in training.networks(arch).items()
        }
        writers = torch.arange(len(policies)) if trained_alone else torch.tensor([seed for _, seed in policies])
        actions = torch.stack([act(weights, states) for weights in policies.values()])
        return cls(states, tuple(policies), writers, actions)

    def nearest(self, sample: Weights) -> Lookalike:
        """The training policy whose actions are the most similar to the sample's."""
        distances = self._distances(act(sample, self.states))  # (T,)
        position = int(distances.argmin())
        return Lookalike(*self.origins[position], float(distances[position]))

    @cached_property
    def spread(self) -> float:
        """The median distance from a training policy to the nearest one of another hypernetwork, over at most a hundred
        training policies; NaN where all are of one hypernetwork."""
        count = len(self.writers)
        chosen = np.linspace(0, count - 1, min(_SPREAD_ACTIONS, count)).round().astype(int)
        apart = torch.zeros(len(chosen), count, dtype=torch.float64)  # sums over the states
        for part in self.actions.transpose(0, 1).split(_STATES_AT_ONCE):  # (some N, T, A)
            apart += torch.cdist(part[:, chosen], part, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=0)
        nearest = apart.masked_fill(self.writers[chosen, None] == self.writers, torch.inf).amin(dim=1)
        found = nearest[nearest.isfinite()] / len(self.states)
        return float(np.median(found)) if len(found) else float("nan")

    def _distances(self, actions: Tensor) -> Tensor:
        parts = self.actions.split(_ACTIONS_AT_ONCE)
        return torch.cat([(part - actions).norm(dim=2).mean(dim=1) for part in parts])  # (T,)


def _l2_and_cosine(left: Weights, right: Weights) -> tuple[float, float]:
    """Of the weights as they are, neurons not matched; NaN between two architectures."""
    a, b = flatten_weights(left).double(), flatten_weights(right).double()
    if architecture_of(left) != architecture_of(right):
        return float("nan"), float("nan")
    return float((a - b).norm()), float(F.cosine_similarity(a, b, dim=0))
