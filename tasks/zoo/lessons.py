"""Imitation of a teacher, for an expert that would not find its first success by itself."""

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from nnbench.tasks.policies.mlp import GaussianActor, MixtureActor
from nnbench.tasks.simulation.episodes import join_episodes
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator
from nnbench.tasks.task import Actor
from nnbench.tasks.zoo.ppo import ExpertConfig


def imitate(
    simulator: Simulator, actor: nn.Sequential, teacher: Actor, config: ExpertConfig, generator: torch.Generator
) -> None:
    """DAgger (Ross et al. 2011): the actor learns the teacher's actions in the states that the actor visits.

    In lesson i the teacher acts with probability 0.5^i. Changes `actor` in place.
    """
    optimizer = torch.optim.Adam(actor.parameters(), lr=config.lesson_learning_rate)
    states, actions = [], []
    for lesson in tqdm(range(config.lessons), desc=f"lessons {simulator.task.name}", disable=None):
        student = GaussianActor.from_state_dict(actor.state_dict())
        visited = _visit(simulator, teacher, student, lesson, config)
        states.append(torch.from_numpy(visited))
        # Beyond its limits an action does nothing more, and what is far beyond is hard to unlearn.
        actions.append(torch.from_numpy(teacher(visited).clip(-1.5, 1.5)))
        seen, wanted = torch.cat(states), torch.cat(actions)
        for _ in range(config.lesson_updates):
            batch = torch.randint(len(seen), (1024,), generator=generator)
            loss = (actor(seen[batch]) - wanted[batch]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def _visit(simulator: Simulator, teacher: Actor, student: Actor, lesson: int, config: ExpertConfig) -> np.ndarray:
    """States (N T, O) of one lesson's episodes."""
    rng = np.random.default_rng([config.seed, lesson])
    seeds = rng.choice(config.initial_states, config.episodes, replace=False)
    units = []
    for start in range(0, config.episodes, SCENES_PER_WORKER):
        part = seeds[start : start + SCENES_PER_WORKER]
        beta, noise = np.full(len(part), 0.5**lesson), np.zeros(len(part), np.float32)
        mixed = MixtureActor(teacher, student, beta, noise, np.random.default_rng(rng.integers(2**63)))
        units.append(Rollout(mixed, part, record=True))
    observations = join_episodes(simulator.episodes(units)).observations
    assert observations is not None
    return observations[:, :-1].reshape(-1, simulator.task.observation_dim)
