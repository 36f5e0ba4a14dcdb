"""`latent_ghn` without the zoo's states: it asks its teachers about observations that it makes up.

Of the zoo it reads weights alone. Policies can be asked about any observation, and they agree on what to do where they
have learned something. So many observations are drawn from a standard normal distribution, as they would be if a
robot's were not only standardised but independent of one another, and those are kept on which the teachers agree most.

Shapes: S observations of O numbers, T teachers, A action numbers.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from tqdm import tqdm

from nnbench.facts import Reading
from nnbench.methods import latent_ghn
from nnbench.methods.latent_ghn import Config
from nnbench.tasks.policies.mlp import Weights, act
from nnbench.tasks.policies.training_set import TrainingSet

DRAWN = 1_500_000
KEPT = 20
"""One in so many."""
AT_A_TIME = 50_000


class Method(latent_ghn.Method):
    """`latent_ghn` that learns on observations which it makes up."""

    name: ClassVar[str] = "latent_ghn_weights"
    variant_of: ClassVar[tuple[str, str] | None] = (
        "latent_ghn",
        "on made-up observations where its teachers agree; actions are not pushed apart",
    )
    reads: ClassVar[tuple[Reading, ...]] = ("weights",)
    version: ClassVar[int] = 2
    config: ClassVar[Config] = replace(Config(), spread_actions=0.0)

    @staticmethod
    def collect_states(training: TrainingSet, teachers: list[Weights], rng: torch.Generator) -> Tensor:
        """Observations that are made up, (S, O)."""
        drawn = 4_000 if training.rehearsal else DRAWN
        parts = [min(AT_A_TIME, drawn - first) for first in range(0, drawn, AT_A_TIME)]
        kept = [
            agreed(torch.randn(count, training.task.observation_dim, generator=rng), teachers)
            for count in tqdm(parts, desc="observations", unit="part", disable=None)
        ]
        return torch.cat(kept)


def agreed(observations: Tensor, teachers: list[Weights]) -> Tensor:
    """One in KEPT of the observations, (S, O): those in which the teachers' actions vary least, summed over numbers."""
    actions = torch.stack([act(teacher, observations) for teacher in teachers])  # (T, S, A)
    varies = actions.var(dim=0).sum(dim=1)  # (S,)
    return observations[varies.argsort()[: len(observations) // KEPT]]
