"""How many hypernetworks or policies a zoo is made of, and how they are trained."""

from dataclasses import dataclass, field
from typing import Literal

from nnbench.errors import InputError
from nnbench.tasks.task import Task
from nnbench.tasks.zoo.ghn import GHNConfig

MOST_SEEDS = 10_000
"""Far more than the paper's 128, and few enough that seeds and policies are numbers of a table."""
DIRECT_SEEDS = 32
"""Policies of an architecture that are trained one by one: as many as hypernetworks write with the preset `cpu`."""


@dataclass(frozen=True, kw_only=True)
class DaggerConfig:
    """One GHN that simulates while it learns."""

    iterations: int = 25
    episodes: int = 150
    """Episodes per iteration."""
    beta: float = 0.85
    """In iteration i the expert acts with probability beta^i."""
    buffer: int = 1_000_000
    """The latest so many states are learned from."""
    updates: int = 80
    """Adam steps per iteration."""
    architectures: int = 8
    """Architectures per step."""
    batch: int = 512
    """States per architecture and step."""
    learning_rate: float = 5e-3
    """At the start, falling as a cosine to `final_learning_rate`."""
    final_learning_rate: float = 5e-4


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """Many GHNs that learn from the states that one of them gathered."""

    episodes: int = 4_500
    """Spread evenly over the pairs of `betas`, the expert's share of the actions, and `noises`, their spread."""
    betas: tuple[float, ...] = (0.0, 0.3, 0.7)
    noises: tuple[float, ...] = (0.0, 0.1, 0.3)
    updates: int = 4_000
    """Adam steps of a GHN."""
    architectures: int = 8
    """Architectures per step."""
    batch: int = 128
    """States per architecture and step."""
    learning_rate: float = 1e-2
    """The peak: a short warm-up, then a cosine to almost zero."""


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """From expert to ensemble. The defaults are this project's, chosen for two CPU cores."""

    dagger: DaggerConfig = field(default_factory=DaggerConfig)
    """Numbers of the pilot, or of every GHN where there is no pool."""
    pool: PoolConfig | None = field(default_factory=PoolConfig)
    ghn: GHNConfig = field(default_factory=GHNConfig)
    architectures: Literal["train", "space"] = "train"
    """The 64 that generators learn from, or all 72 of the space, which includes the held-out ones."""
    gradient_norm: float = 1.0
    bank: int = 16_384
    """States that ship with the zoo, for methods that learn from states."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class DirectConfig:
    """Policies that are trained one by one on the expert's actions in a pool of states."""

    states: DistillationConfig = field(default_factory=DistillationConfig)
    """How the pool was gathered."""
    updates: int = 3_000
    """Adam steps of a policy."""
    batch: int = 256
    """States per step."""
    learning_rate: float = 2e-3
    """The peak, as of `PoolConfig`."""
    gradient_norm: float = 1.0


def preset(name: Literal["cpu", "upsample", "paper"], task: Task) -> tuple[int, DistillationConfig]:
    """How many GHNs, and how they are trained.

    `cpu` is ours. `upsample` is the same on the same states, with the convolutional decoder, which learns more slowly:
    eight GHNs, twice the steps. `paper` is the paper's appendix A and table 5, where every GHN has a buffer of its own;
    the paper leaves open the episodes and Adam steps per iteration, the batch, the optimiser and the clipping, and
    these are ours. Raises InputError where the paper trains none on this task.
    """
    if name == "cpu":
        return 32, DistillationConfig()
    if name == "upsample":
        pool = PoolConfig(updates=8_000, learning_rate=3e-3)
        return 8, DistillationConfig(pool=pool, ghn=GHNConfig(decoder="upsample"))
    numbers = task.paper_dagger
    if numbers is None:
        raise InputError(f"{task.name}: the paper trains no hypernetworks on this task; choose the preset cpu")
    dagger = DaggerConfig(
        iterations=numbers.iterations,
        episodes=64,
        beta=numbers.beta,
        updates=100,
        architectures=numbers.architectures,
        batch=4096 // numbers.architectures,
        learning_rate=1e-3,
        final_learning_rate=7e-4,
    )
    return 128, DistillationConfig(dagger=dagger, pool=None, ghn=GHNConfig(channels=128))
