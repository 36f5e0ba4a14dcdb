"""Proximal policy optimisation (Schulman et al. 2017): its numbers, its losses, its update.

Network and scale follow the paper's appendix A (three hidden layers of 256, tanh); the other numbers are those of
ManiSkill's state-based PPO baseline.

B is a batch of states, N episodes per iteration of T steps each, O and A the observation and action dimensions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnbench.errors import InputError
from nnbench.tasks.simulation.episodes import Episodes
from nnbench.tasks.zoo.actor_critic import ActorCritic


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """Numbers of PPO, and of the lessons before it."""

    steps: int = 2_600_000
    episodes: int = 100
    """Episodes per iteration (N), from `initial_states` distinct initial states."""
    initial_states: int = 8192
    retried: float = 0.5
    """At most this share of an iteration's episodes starts where the last attempt failed (cf. Jiang et al. 2021)."""
    hidden: tuple[int, ...] = (256, 256, 256)
    gamma: float = 0.8
    gae_lambda: float = 0.9
    learning_rate: float = 3e-4
    """The critic's, and the upper limit of the actor's, at the start; falls linearly to zero."""
    kl_target: float = 0.01
    """How far an iteration should move the actor, at the start: the actor's learning rate is adapted to it."""
    epochs: int = 5
    minibatches: int = 8
    clip: float = 0.2
    gradient_norm: float = 0.5
    kl_limit: float = 0.1
    """Beyond it an epoch ends early; the next epoch is tried all the same."""
    bounds: float = 0.1
    """Weight of the squared excess of mean actions beyond 1.1. The robot executes at most 1: far beyond it noise
    changes nothing, and the actor never learns about smaller actions."""
    averaging: float = 0.95
    """The expert averages the actors of all iterations; each weighs this factor less than the next."""
    validate_every: int = 40
    validation_episodes: int = 200
    """At most the 200 of `VALIDATION_SEEDS`. With a hundred the luckiest iterate is chosen, not the best."""
    lessons: int = 15
    """Iterations of imitating the teacher before PPO, where there is a teacher."""
    lesson_updates: int = 500
    """Adam steps per lesson, each on 1,024 of all states gathered so far."""
    lesson_learning_rate: float = 5e-4
    taught_std: float = 0.15
    """Standard deviation of the actions at the start, where the actor starts from another expert."""
    critic_iterations: int = 10
    """Iterations at the start in which only the critic learns, where the actor starts from another expert."""
    seed: int = 0

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "steps": (1, 10**12),
            "seed": (0, 2**31 - 1),
            "lessons": (0, 10_000),
            "gamma": (0.0, 1.0),
            "learning_rate": (1e-9, 1.0),
            "taught_std": (1e-3, 10.0),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:  # so that NaN is refused
                raise InputError(f"expert training: {name}={getattr(self, name)}, expected {low:g} to {high:g}")


def update(
    agent: ActorCritic,
    optimizer: torch.optim.Optimizer,
    episodes: Episodes,
    config: ExpertConfig,
    generator: torch.Generator,
    *,
    only_critic: bool,
) -> float:
    """PPO's epochs over one iteration's episodes; returns the mean KL divergence of the new actor from the acting one.

    Where the divergence exceeds `config.kl_limit`, the rest of the epoch's minibatches are skipped and the next epoch
    starts on a new permutation. CleanRL ends all epochs there.
    """
    assert episodes.observations is not None and episodes.actions is not None and episodes.rewards is not None
    observations, rewards = torch.from_numpy(episodes.observations), torch.from_numpy(episodes.rewards)
    with torch.no_grad():
        values = agent.value(observations)  # (N, T + 1)
        advantages = generalised_advantages(rewards, values, config)  # (N, T)
        returns = (advantages + values[:, :-1]).flatten()
        advantages = advantages.flatten()
        states = observations[:, :-1].flatten(0, 1)  # (N T, O)
        actions = torch.from_numpy(episodes.actions).flatten(0, 1)  # (N T, A)
        old_log_prob = log_prob(agent.act(states), actions)
    parts = [*agent.actor.parameters(), agent.log_std], list(agent.critic.parameters())
    for _ in range(config.epochs):
        for batch in torch.randperm(len(states), generator=generator).chunk(config.minibatches):
            acting = agent.act(states[batch])
            log_ratio = log_prob(acting, actions[batch]) - old_log_prob[batch]
            ratio = log_ratio.exp()
            if float((ratio - 1 - log_ratio).mean().detach()) > config.kl_limit:
                break  # of this epoch only
            advantage = advantages[batch]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
            policy_loss = torch.max(-advantage * ratio, -advantage * clipped).mean()
            excess = (acting.mean.abs() - 1.1).clamp(min=0).square().sum(dim=-1).mean()
            value_loss = 0.5 * (agent.value(states[batch]) - returns[batch]).square().mean()
            optimizer.zero_grad()
            (value_loss + (0 if only_critic else policy_loss + config.bounds * excess)).backward()
            for parameters in parts:
                nn.utils.clip_grad_norm_(parameters, config.gradient_norm)
            optimizer.step()
    with torch.no_grad():
        log_ratio = log_prob(agent.act(states), actions) - old_log_prob
        return float((log_ratio.exp() - 1 - log_ratio).mean())


def log_prob(acting: torch.distributions.Normal, actions: Tensor) -> Tensor:
    """(B, A) to (B,): of the actions that the robot executes, clamped to [-1, 1] (Fujita & Maeda 2018).

    All actions beyond a limit are one and the same, so a mean far beyond it may move without changing the policy.
    """
    mean, std = acting.mean, acting.stddev
    above = torch.special.log_ndtr((mean - 1) / std)
    below = torch.special.log_ndtr((-1 - mean) / std)
    inside = acting.log_prob(actions)
    return torch.where(actions >= 1, above, torch.where(actions <= -1, below, inside)).sum(dim=-1)


def generalised_advantages(rewards: Tensor, values: Tensor, config: ExpertConfig) -> Tensor:
    """GAE (Schulman et al. 2016, eq. 16); the horizon cuts an episode without ending it, so V(s_T) bootstraps."""
    advantages = torch.empty_like(rewards)  # (N, T)
    running = torch.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + config.gamma * values[:, t + 1] - values[:, t]
        running = delta + config.gamma * config.gae_lambda * running
        advantages[:, t] = running
    return advantages
