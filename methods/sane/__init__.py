"""SANE: an autoencoder of rows of weights, sampled around encoded training networks (arXiv 2406.09997).

`tokens.py` makes a sequence of a policy, `model.py` has the autoencoder, `training.py` its loss, `sampling.py` the
density estimates. This file puts them together. docs/adaptations/sane.md compares the authors' code, what the NNiT
paper says of it, and this.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from nnbench.api import Generator
from nnbench.facts import Further
from nnbench.methods import _validation
from nnbench.methods._model_files import Manifest, describe, load_model, round_as_saved, save_model
from nnbench.methods._noise import noise_source
from nnbench.methods._optimisation import Run
from nnbench.methods.sane.config import CPU, Config, Sampling, rehearsal
from nnbench.methods.sane.model import Autoencoder, Learner, Standard
from nnbench.methods.sane.sampling import Rows, collect_anchors, draw, keep_best, keep_first, stack
from nnbench.methods.sane.tokens import LAYERS, check_architecture, detokenise, layout, tokenise
from nnbench.methods.sane.training import build_corpus, canonical_networks, train
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.policies.rebasin import match, permute
from nnbench.tasks.policies.training_set import TrainingSet

GENERATE_BATCH = 50

Item = TypeVar("Item")


class Method(Generator):
    """Samples near the latent sequences of training networks. A variant is a subclass with another `config`, or with
    another `sampling`; then it is trained as this one."""

    name: ClassVar[str] = "sane"
    writes: ClassVar[tuple[Further, ...]] = ("widths",)
    version: ClassVar[int] = 4
    reference: ClassVar[str | None] = (
        "Schürholt et al., Towards Scalable and Versatile Weight Space Learning, ICML 2024, arXiv 2406.09997"
    )
    config: ClassVar[Config] = CPU
    sampling: ClassVar[Sampling] = Sampling()

    def __init__(
        self, model: Autoencoder, manifest: Manifest[Config], training: TrainingSet, sampling: Sampling | None = None
    ) -> None:
        """`sampling` is the class's where it is not given; no policy of a toy zoo is worth bootstrapping on."""
        self.model, self.manifest, self.training = model.eval(), manifest, training
        self._sampling = sampling or (replace(self.sampling, draws=1) if training.rehearsal else self.sampling)
        self._encoded: dict[tuple[Architecture, Architecture], dict[int, Rows]] = {}

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path, config: Config | None = None) -> Self:
        """Train on the zoo, resuming from what a killed run left in the directory.

        Raises TrainingStateError if that belongs to another run, InputError if an architecture does not fit the model,
        and TrainingError if the loss diverges.
        """
        config = config or (rehearsal(cls.config) if training.rehearsal else cls.config)
        run = Run(cls.name, training, config, seed, directory)
        manifest, corpus = describe(run), build_corpus(training, config)

        def score(learner: Learner) -> dict[str, float]:
            return _validation.validate(training, cls(learner.autoencoder, manifest, training).generate)

        trained = train(run, corpus, score if _validation.can_validate(training) else None)
        round_as_saved(trained.model.autoencoder)
        return cls(trained.model.autoencoder, manifest.after(trained), training)

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of an architecture, float32 on the CPU; no layer may be wider than that of every training network.

        Policy i is a draw of its own: asking for fewer gives the first of them, up to rounding (about 1e-6).
        Bootstrapping needs the simulator. Raises InputError for an architecture that the model has no place for, or
        the zoo no anchor.
        """
        sampling = self._sampling
        check_architecture(arch)
        encoded = partial(self._encode_networks, cut_to=arch)
        anchors = collect_anchors(arch, self.manifest.action_dim, self.training, encoded)
        for round_ in range(sampling.draws - 1):
            samples = self._draw(anchors, sampling.population, partial(_source, seed, arch, round_))
            scores = _validation.score(self.training, self._decode(samples, arch))
            anchors = stack(keep_best(samples, scores, sampling.kept))
        return self._decode(self._draw(anchors, n, partial(_source, seed, arch, sampling.draws - 1)), arch)

    def _draw(self, anchors: Rows, n: int, source: Callable[[int], torch.Generator]) -> list[Rows]:
        """n samples. Fewer are the first of them."""
        return [draw(anchors, self._sampling.coupling, self._sampling.bandwidth, source(i)) for i in range(n)]

    def reconstruct(self, policies: list[Weights], arch: Architecture) -> list[Weights]:
        """The policies encoded and decoded, each with its neurons in the order they were in."""
        orders = [self._canonical_order(policy, arch) for policy in policies]
        encoded = self._encode([permute(policy, order) for policy, order in zip(policies, orders, strict=True)], arch)
        decoded = self._decode(encoded, arch)
        return [permute(weights, [*map(np.argsort, order)]) for weights, order in zip(decoded, orders, strict=True)]

    def _canonical_order(self, policy: Weights, arch: Architecture) -> list[np.ndarray]:
        networks = self.training.networks(arch) if arch in self.training.architectures else {}
        if self.manifest.config.align == "none" or not networks:
            return [np.arange(width) for width in arch]
        return match(policy, next(iter(networks.values())))

    def _encode_networks(self, arch: Architecture, cut_to: Architecture) -> dict[int, Rows]:
        """GHN seed to that training network, encoded, with the rows first that `cut_to` has room for."""
        if (arch, cut_to) not in self._encoded:
            networks = canonical_networks(self.training, arch, self.manifest.config.align)
            ordered = [permute(network, keep_first(network, cut_to)) for network in networks.values()]
            self._encoded[arch, cut_to] = dict(zip(networks, self._encode(ordered, arch), strict=True))
        return self._encoded[arch, cut_to]

    @torch.no_grad()
    def _encode(self, policies: list[Weights], arch: Architecture) -> list[Rows]:
        places, valid = layout(arch, self.manifest.observation_dim, self.manifest.action_dim)
        encoded: list[Rows] = []
        for part in _batches(policies):
            tokens, (where, present) = torch.stack([*map(tokenise, part)]), self._whole(places, len(part))
            read = self.model.standard.apply_to(tokens.to(self._device), where, valid.to(self._device))
            encoded += [Rows(latents, valid) for latents in self.model.encode(read, where, present).cpu()]
        return encoded

    @torch.no_grad()
    def _decode(self, samples: list[Rows], arch: Architecture) -> list[Weights]:
        facts = self.manifest
        places, _ = layout(arch, facts.observation_dim, facts.action_dim)
        policies: list[Weights] = []
        for part in map(stack, _batches(samples)):
            where, present = self._whole(places, len(part.latents))
            tokens = self.model.decode(part.latents.to(self._device), where, present)
            weights = self.model.standard.undo(tokens, where).cpu() * part.held
            policies += [detokenise(rows, arch, facts.observation_dim, facts.action_dim) for rows in weights]
        return policies

    def _whole(self, places: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Places (B, T, 3) and present (B, T) of policies of one architecture, among which there is no padding."""
        places = places.expand(count, -1, -1).to(self._device)
        return places, torch.ones(places.shape[:2], dtype=torch.bool, device=self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def save(self, directory: Path) -> None:
        """Write `model.safetensors` (float16) and `config.json` into an existing directory."""
        save_model(directory, self.model, self.manifest)

    @classmethod
    def load(cls, directory: Path, training: TrainingSet) -> Self:
        """Read what `save` wrote. Raises ModelFileError where it does not fit the zoo or this code."""

        def build(facts: Manifest[Config]) -> Autoencoder:
            unread = Standard(torch.zeros(LAYERS), torch.ones(LAYERS))
            return Autoencoder(facts.config, facts.observation_dim, facts.action_dim, unread)

        return cls(*load_model(cls.name, directory, training, lambda raw: Config(**raw), build), training)


def _source(seed: int, arch: Architecture, draws: int, index: int) -> torch.Generator:
    """The noise source of policy `index` after so many draws, independent of all others."""
    return noise_source(seed, index, *arch, draws)


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    for first in range(0, len(items), GENERATE_BATCH):
        yield items[first : first + GENERATE_BATCH]
