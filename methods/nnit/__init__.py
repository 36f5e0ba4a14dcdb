"""NNiT: a diffusion transformer over architecture tokens and patches of weight matrices (arXiv 2603.00180v1).

`tokens.py` is section 5.1, `model.py` 5.2, `training.py` 5.3 and appendix C; `methods/_diffusion.py` has the diffusion
process and the samplers, which the paper leaves open. This file puts them together. `config.py` and
docs/adaptations/nnit.md name what the paper leaves open and where this departs from it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from nnbench.api import Generator
from nnbench.methods._diffusion import Process, draw_samples
from nnbench.methods._machine import pick_device
from nnbench.methods._model_files import Manifest, describe, load_model, round_as_saved, save_model
from nnbench.methods._noise import noise_sources
from nnbench.methods._optimisation import Run, seeded
from nnbench.methods._validation import can_validate, validate
from nnbench.methods.nnit.config import CPU, REHEARSAL, Config
from nnbench.methods.nnit.model import NNiT
from nnbench.methods.nnit.tokens import (
    SYMBOLS,
    decode_architecture,
    encode_architecture,
    positions,
    unpatchify,
    valid_patches,
)
from nnbench.methods.nnit.training import Corpus, build_corpora, train
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.policies.training_set import TrainingSet


class Method(Generator):
    """Generates p(w | a), and p(a, w)."""

    name: ClassVar[str] = "nnit"
    reference: ClassVar[str | None] = (
        "Kim et al., NNiT: Width-Agnostic Neural Network Generation with Structurally Aligned Weight Spaces, "
        "arXiv 2603.00180, 2026"
    )
    version: ClassVar[int] = 3
    config: ClassVar[Config] = CPU
    rehearsal: ClassVar[Config] = REHEARSAL
    network: ClassVar[type[NNiT]] = NNiT

    def __init__(self, model: NNiT, manifest: Manifest[Config]) -> None:
        self.model, self.manifest = model.eval(), manifest
        config = manifest.config
        self._process = Process(config.timesteps, config.target, config.learned_variance)
        self._device = next(model.parameters()).device

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path, config: Config | None = None) -> Self:
        """Train on the zoo, resuming from what a killed run left in the directory.

        Raises TrainingStateError if that belongs to another run, InputError if an architecture has no symbols, and
        TrainingError if the loss diverges.
        """
        config = config or (cls.rehearsal if training.rehearsal else cls.config)
        run = Run(cls.name, training, config, seed, directory)
        manifest, corpora = describe(run), build_corpora(training, config.token_shape, pick_device())

        def score(model: NNiT) -> dict[str, float]:
            return validate(training, cls(model, manifest).generate)

        model = cls.build(config, corpora, seed)
        trained = train(run, model, corpora, score if can_validate(training) else None)
        round_as_saved(trained.model)
        return cls(trained.model, manifest.after(trained))

    @classmethod
    def build(cls, config: Config, corpora: Sequence[Corpus], seed: int) -> NNiT:
        """The model before training, where the training networks are."""
        return seeded(lambda: cls.network(config).to(corpora[0].patches.device), seed)

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture made of known widths (section 5.4), float32 on the CPU.

        Policy i comes from noise of its own: asking for fewer gives the first of them, up to rounding (about 1e-6).
        Raises InputError for a width or depth that the model does not know.
        """
        facts, config = self.manifest, self.manifest.config
        patch = config.token_shape
        codes = encode_architecture(arch).to(self._device)
        valid = valid_patches(arch, facts.observation_dim, facts.action_dim, patch)
        seen = valid.nonzero()[:, 0] if config.tokens == "valid" else torch.arange(len(valid))
        place = positions(patch)[seen].to(self._device)

        def predict(x: list[Tensor], t: Tensor) -> list[Tensor]:
            (noisy,) = x
            return [self.model(codes.expand(len(noisy), -1, -1), noisy, place, torch.zeros_like(t), t)[1]]

        policies: list[Weights] = []
        for sources in noise_sources(n, (seed, *arch), self.name):
            (clean,) = draw_samples(
                self._process,
                predict,
                [(len(seen), patch[0] * patch[1])],
                sources,
                config.sampling_steps,
                config.sampler,
                self._device,
            )
            grids = torch.zeros(len(clean), len(valid), patch[0] * patch[1])
            grids[:, seen] = clean.cpu() / facts.scale
            policies += [unpatchify(grid, arch, facts.observation_dim, facts.action_dim, patch) for grid in grids]
        return policies

    def generate_joint(self, n: int, *, seed: int = 0) -> list[tuple[Architecture, Weights]]:
        """n architectures, each with a policy of it, generated together (section 5.4)."""
        facts, config = self.manifest, self.manifest.config
        patch = config.token_shape
        place = positions(patch).to(self._device)

        def predict(x: list[Tensor], t: Tensor) -> list[Tensor]:
            return list(self.model(x[0], x[1], place, t, t))

        shapes = [(len(self.model.place_embedding.weight), SYMBOLS), (len(place), patch[0] * patch[1])]
        pairs = []
        for sources in noise_sources(n, (seed,), self.name):
            codes, grids = draw_samples(
                self._process, predict, shapes, sources, config.sampling_steps, config.sampler, self._device
            )
            for code, grid in zip(codes.cpu(), grids.cpu() / facts.scale, strict=True):
                arch = decode_architecture(code)
                pairs.append((arch, unpatchify(grid, arch, facts.observation_dim, facts.action_dim, patch)))
        return pairs

    def save(self, directory: Path) -> None:
        """Write `model.safetensors` (float16) and `config.json` into an existing directory."""
        save_model(directory, self.model, self.manifest)

    @classmethod
    def load(cls, directory: Path, training: TrainingSet) -> Self:
        """Read what `save` wrote. Raises ModelFileError where it does not fit the zoo or this code."""
        config = type(cls.config)
        return cls(
            *load_model(
                cls.name, directory, training, lambda raw: config(**raw), lambda found: cls.network(found.config)
            )
        )
