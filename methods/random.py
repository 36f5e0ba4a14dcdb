"""The floor `random`: networks at initialisation. What scores no better has learned nothing."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch

from nnbench.tasks.architectures import Architecture
from nnbench.tasks.policy import Weights, random_policy
from nnbench.tasks.zoo import TrainingSet


class Method:
    """He-initialised weights, zero biases; the training set is not looked at."""

    name: ClassVar[str] = "random"
    reads_ghn: ClassVar[bool] = False

    def __init__(self, training: TrainingSet) -> None:
        self.task = training.task

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path) -> Self:
        return cls(training)

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture, the i-th from a seed of its own."""
        states = [np.random.SeedSequence((seed, i, *arch)).generate_state(1, np.uint64) for i in range(n)]
        generators = [torch.Generator().manual_seed(int(state[0])) for state in states]
        return [random_policy(arch, self.task.observation_dim, self.task.action_dim, g) for g in generators]

    def save(self, directory: Path) -> None:
        """Nothing to write."""

    @classmethod
    def load(cls, directory: Path, training: TrainingSet) -> Self:
        return cls(training)
