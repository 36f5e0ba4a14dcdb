"""Visited states, labelled with what the expert does there.

B is the number of states, O and A the observation and action dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nnbench.tasks.policies.architectures import Architecture, load_splits
from nnbench.tasks.policies.mlp import GaussianActor, MixtureActor, PolicyActor, Weights
from nnbench.tasks.simulation.episodes import join_episodes
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator
from nnbench.tasks.tensors import load_tensors, save_tensors
from nnbench.tasks.zoo.sources import Source


@dataclass(frozen=True)
class LabelledStates:
    """Visited states and the expert's action in each, clamped to what the robot executes."""

    observations: Tensor  # (B, O), standardised
    actions: Tensor  # (B, A)

    def save(self, path: Path) -> None:
        """One safetensors file, atomically."""
        save_tensors(path, {"observations": self.observations, "actions": self.actions})

    @classmethod
    def load(cls, path: Path) -> "LabelledStates":
        """Read what `save` wrote. Raises DamagedError."""
        tensors = load_tensors(path, f"delete {path.parent} and run the same command again")
        return cls(tensors["observations"], tensors["actions"])

    @classmethod
    def join(cls, parts: Sequence["LabelledStates"]) -> "LabelledStates":
        """Concatenate."""
        return cls(torch.cat([part.observations for part in parts]), torch.cat([part.actions for part in parts]))

    def latest(self, count: int) -> "LabelledStates":
        """The last `count`, or all."""
        return LabelledStates(self.observations[-count:], self.actions[-count:])


def gather(
    simulator: Simulator,
    expert: Weights,
    student: Source,
    architectures: Sequence[Architecture],
    beta: np.ndarray,
    noise: np.ndarray,
    stream: tuple[int, ...],
    description: str,
) -> LabelledStates:
    """Roll out len(beta) episodes and label every visited state.

    In episode n the student acts on a random architecture; the expert takes its place with probability beta[n] at each
    step, and noise of standard deviation noise[n] is added. `stream` seeds all draws.
    """
    task, rng = simulator.task, np.random.default_rng(stream)
    policies = [student.policies(arch)[student.seeds[0]] for arch in architectures]
    seeds = rng.integers(500_000, size=len(beta))  # below every validation, selection and test seed
    archs = rng.integers(len(architectures), size=len(beta))
    teacher = GaussianActor.from_state_dict(expert)
    units = []
    for start in range(0, len(beta), SCENES_PER_WORKER):
        part = slice(start, start + SCENES_PER_WORKER)
        chosen = [policies[a] for a in archs[part]]
        acting = PolicyActor.stack(chosen, np.arange(len(chosen)), task.standardiser)
        spread, mixture = noise[part].astype(np.float32), np.random.default_rng(rng.integers(2**63))
        units.append(Rollout(MixtureActor(teacher, acting, beta[part], spread, mixture), seeds[part], record=True))
    bar = tqdm(simulator.rollout(units), total=len(units), desc=f"states {description}", leave=False, disable=None)
    finished = dict(bar)
    episodes = join_episodes([finished[position] for position in range(len(units))])
    assert episodes.observations is not None
    observations = episodes.observations[:, :-1].reshape(-1, task.observation_dim)
    actions = np.clip(teacher(observations), -1, 1)
    return LabelledStates(torch.from_numpy(task.standardiser(observations)), torch.from_numpy(actions))


def sample_states(
    simulator: Simulator, expert: Weights, source: Source, count: int, episodes: int, stream: int
) -> Tensor:
    """States that the expert and policies of the first seed visit, half of the episodes each: (count, O), standardised.

    `stream` tells draws for different ends apart.
    """
    beta = np.resize([0.0, 1.0], episodes)
    train, silent = load_splits().train, np.zeros(episodes)
    visited = gather(simulator, expert, source, train, beta, silent, (source.seeds[0], stream), "states")
    chosen = torch.randperm(len(visited.observations), generator=torch.Generator().manual_seed(0))[:count]
    return visited.observations[chosen].contiguous()


def save_bank(path: Path, states: Tensor) -> None:
    """Write a bank of states (`manifest.BANK`) as float16, atomically; it carries its own checksum."""
    save_tensors(path, {"observations": states.to(torch.float16)})
