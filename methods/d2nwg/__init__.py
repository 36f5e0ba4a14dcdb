"""D2NWG: a latent diffusion over whole networks as zero-padded vectors (arXiv 2402.18153).

`vectors.py` makes a vector of a network of any architecture, `model.py` has the autoencoder and the UNet, `training.py`
their two stages. The NNiT paper (section 6.4) speaks of "explicit architecture conditioning" and of a "fixed
zero-padded vectorization", and hardly says more of its adaptation. Here the architecture's codes take the place of the
authors' encoded data set. docs/adaptations/d2nwg.md lists what else differs from their code.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from nnbench.api import Generator
from nnbench.methods._diffusion import Process, draw_samples
from nnbench.methods._model_files import Manifest, describe, load_model, round_as_saved, save_model
from nnbench.methods._noise import noise_sources
from nnbench.methods._optimisation import Run
from nnbench.methods._validation import can_validate, validate
from nnbench.methods.d2nwg.config import CPU, REHEARSAL, Config
from nnbench.methods.d2nwg.model import D2NWG, VAE, UNet
from nnbench.methods.d2nwg.training import (
    ENCODE_BATCH,
    build_corpus,
    encode_all,
    train_autoencoder,
    train_diffusion,
    with_all_components,
)
from nnbench.methods.d2nwg.vectors import devectorise, vector_size, vectorise
from nnbench.methods.nnit.tokens import HIDDEN_LAYERS, encode_architecture
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.policies.training_set import TrainingSet


class Method(Generator):
    """Generates p(w | a)."""

    name: ClassVar[str] = "d2nwg"
    reference: ClassVar[str | None] = (
        "Soro et al., Diffusion-Based Neural Network Weights Generation, ICLR 2025, arXiv 2402.18153"
    )
    version: ClassVar[int] = 2
    config: ClassVar[Config] = CPU
    rehearsal: ClassVar[Config] = REHEARSAL

    def __init__(self, model: D2NWG, manifest: Manifest[Config]) -> None:
        self.model, self.manifest = model.eval(), manifest
        self._device = model.latent_scale.device

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path, config: Config | None = None) -> Self:
        """Train on the zoo, resuming from what a killed run left in the directory.

        Raises TrainingStateError if that belongs to another run, InputError if an architecture has no symbols, and
        TrainingError if the loss diverges.
        """
        config = config or (cls.rehearsal if training.rehearsal else cls.config)
        corpus = build_corpus(training, config)
        if config.principal:
            config = with_all_components(corpus, config, cls.name)
        run = Run(cls.name, training, config, seed, directory)
        facts = describe(run)
        validating = can_validate(training)

        def score_round_trips(vae: VAE) -> dict[str, float]:
            def encoded_and_decoded(arch: Architecture, n: int) -> list[Weights]:
                return _round_trip(vae, facts, list(training.networks(arch).values())[:n], arch)

            return validate(training, encoded_and_decoded)

        first = train_autoencoder(run, corpus, score_round_trips if validating else None)
        round_as_saved(first.model)
        latents = encode_all(first.model, corpus, config)

        def assemble(unet: UNet) -> D2NWG:
            model = D2NWG(first.model, unet)
            model.latent_scale = latents.scale
            return model

        def score_samples(unet: UNet) -> dict[str, float]:
            return validate(training, cls(assemble(unet), facts).generate)

        second = train_diffusion(run, corpus, latents, _process(config), score_samples if validating else None)
        round_as_saved(second.model)
        return cls(assemble(second.model), facts.after(first, second))

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture made of known widths, float32 on the CPU.

        Policy i comes from noise of its own: asking for fewer gives the first of them, up to rounding (about 1e-6).
        Raises InputError for a width or depth that the model does not know.
        """
        facts, config = self.manifest, self.manifest.config
        codes = encode_architecture(arch).to(self._device)

        def predict(x: list[Tensor], t: Tensor) -> list[Tensor]:
            (noisy,) = x
            return [self.model.unet(noisy, codes.expand(len(noisy), -1, -1), t)]

        shape = (config.picture[0], torch.Size(config.picture[1:]).numel())
        policies: list[Weights] = []
        for sources in noise_sources(n, (seed, *arch), self.name):
            (pictures,) = draw_samples(
                _process(config), predict, [shape], sources, config.sampling_steps, config.sampler, self._device
            )
            with torch.no_grad():
                vectors = self.model.decode(pictures)
            policies += _write(vectors, facts, arch)
        return policies

    def reconstruct(self, policies: Sequence[Weights], arch: Architecture) -> list[Weights]:
        """The policies encoded to the mean of their latents, and decoded. Raises InputError for another `arch`."""
        return _round_trip(self.model.vae, self.manifest, policies, arch)

    def save(self, directory: Path) -> None:
        """Write `model.safetensors` (float16) and `config.json` into an existing directory."""
        save_model(directory, self.model, self.manifest)

    @classmethod
    def load(cls, directory: Path, training: TrainingSet) -> Self:
        """Read what `save` wrote. Raises ModelFileError where it does not fit the zoo or this code."""

        def build(facts: Manifest[Config]) -> D2NWG:
            numbers = vector_size(HIDDEN_LAYERS, facts.observation_dim, facts.action_dim)
            return D2NWG(VAE(numbers, facts.config), UNet(facts.config))

        return cls(*load_model(cls.name, directory, training, Config.from_json, build))


def _process(config: Config) -> Process:
    return Process(config.timesteps, config.target, learned_variance=False, schedule=config.schedule, draw=config.draw)


@torch.no_grad()
def _round_trip(vae: VAE, facts: Manifest[Config], policies: Sequence[Weights], arch: Architecture) -> list[Weights]:
    encode_architecture(arch)  # a width that the model does not know is refused
    device, layout = next(vae.parameters()).device, facts.config.layout
    written: list[Weights] = []
    for first in range(0, len(policies), ENCODE_BATCH):
        vectors = torch.stack(
            [
                vectorise(policy, arch, layout, facts.observation_dim, facts.action_dim)
                for policy in policies[first : first + ENCODE_BATCH]
            ]
        )
        mean, _ = vae.encode((vectors * facts.scale).to(device))
        written += _write(vae.decode(mean), facts, arch)
    return written


def _write(vectors: Tensor, facts: Manifest[Config], arch: Architecture) -> list[Weights]:
    layout = facts.config.layout
    return [
        devectorise(vector, arch, layout, facts.observation_dim, facts.action_dim)
        for vector in vectors.cpu() / facts.scale
    ]
