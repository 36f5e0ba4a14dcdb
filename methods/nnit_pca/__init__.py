"""`nnit` that holds the zoo's principal components: what the plain transformer would have to learn, given to it.

A zoo's policies come from few hypernetworks. Their principal components tell every token which of them a noisy network
is of, and each place of the grid writes its patches in a space of its own. The model then recalls the training
policies nearly exactly after little training. It is no longer NNiT's idea: its paper claims a map that is local to a
patch and the same for all.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from nnbench.errors import InputError
from nnbench.methods import nnit
from nnbench.methods._optimisation import seeded
from nnbench.methods.nnit.config import Config as PlainConfig
from nnbench.methods.nnit.model import NNiT
from nnbench.methods.nnit.training import Corpus
from nnbench.methods.nnit_pca.config import CPU, REHEARSAL, Config
from nnbench.methods.nnit_pca.model import PcaNNiT
from nnbench.tasks.policies.training_set import TrainingSet

_LEFT_OUT = 0.05
"""Of the norm of the training networks' patches at a place, what may lie outside the space of that place's map: with
more, policies fail whatever the model learns."""


class Method(nnit.Method):
    """Generates p(w | a), and p(a, w)."""

    name: ClassVar[str] = "nnit_pca"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "nnit",
        "every token is told the noisy network's scores on principal components of the training networks, every place "
        "of the grid has a linear map out of its own, and it has three layers",
    )
    version: ClassVar[int] = 1
    config: ClassVar[PlainConfig] = CPU
    rehearsal: ClassVar[PlainConfig] = REHEARSAL
    network: ClassVar[type[NNiT]] = PcaNNiT

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path, config: PlainConfig | None = None) -> Self:
        """As `nnit`'s, with ranks by the number of hypernetworks.

        Raises also InputError where the ranks are too small for the zoo.
        """
        config = config or (cls.rehearsal if training.rehearsal else cls.config)
        assert isinstance(config, Config)
        hypernetworks = {seed for arch in training.architectures for seed in training.networks(arch)}
        return super().fit(training, seed=seed, directory=directory, config=config.sized(len(hypernetworks)))

    @classmethod
    def build(cls, config: PlainConfig, corpora: Sequence[Corpus], seed: int) -> NNiT:
        """The model before training, with the components. Raises InputError where the ranks are too small."""
        assert isinstance(config, Config)
        left = left_out(corpora, config.place_rank)
        if left > _LEFT_OUT:
            raise InputError(
                f"{cls.name}: maps of rank {config.place_rank} leave out {100 * left:.0f} % of the training networks' "
                f"patches at some place, at most {100 * _LEFT_OUT:.0f} % may be: raise place_rank (two per "
                "hypernetwork of the zoo are the default)"
            )
        model = seeded(lambda: PcaNNiT(config).to(corpora[0].patches.device), seed)
        model.summary.components.copy_(principal_components(corpora, config.summary_rank, seed))
        return model


def left_out(corpora: Sequence[Corpus], rank: int) -> float:
    """Of the patches at the worst place of the grid, what no space of this rank holds, as a share of their norm."""
    patches = torch.cat([corpus.patches for corpus in corpora]).transpose(0, 1).double()  # (L, N, P)
    shares = []
    for place in patches:
        energies = torch.linalg.eigvalsh(place.T @ place).clamp(min=0).flip(0)  # (P,), the largest first
        if float(energies.sum()) > 0:
            shares.append(float((energies[rank:].sum() / energies.sum()).sqrt()))
    return max(shares)


def principal_components(corpora: Sequence[Corpus], rank: int, seed: int) -> Tensor:
    """Principal components of all training networks on the whole grid, (L, P, R), not centred; zero past the rank."""
    # On the CPU: the algorithm draws from its device's global generator, and `seeded` restores only the CPU's.
    networks = torch.cat([corpus.patches.flatten(1).cpu() for corpus in corpora])  # (N, L P)
    found = min(rank, *networks.shape)
    _, _, components = seeded(lambda: torch.svd_lowrank(networks, found, niter=4), seed)  # (L P, found)
    return F.pad(components, (0, rank - found)).unflatten(0, corpora[0].patches.shape[1:])
