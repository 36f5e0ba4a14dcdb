"""The expert that the zoo is distilled from: PPO (Schulman et al. 2017) in one file.

Network and scale follow the paper's appendix A (three hidden layers of 256, tanh); the other numbers are those of
ManiSkill's state-based PPO baseline. One expert a task: the tasks' state spaces differ, so the paper's "single
multi-task expert" cannot be taken literally.

T steps an episode, N episodes an iteration, O and A the observation and action dimensions.
"""

import csv
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from nnbench.tasks.files import write_atomically
from nnbench.tasks.policies.mlp import GaussianActor, MixtureActor, Weights
from nnbench.tasks.policies.standardiser import Standardiser
from nnbench.tasks.simulation.episodes import Episodes
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator
from nnbench.tasks.task import Actor
from nnbench.tasks.training_state import load_training_state, save_training_state

VALIDATION_SEEDS = range(500_000, 500_200)
"""Episodes on which the best iterate is chosen; disjoint from training, selection and test episodes."""

SCORING_SEEDS = range(510_000, 510_200)
"""Episodes that the finished expert is scored on."""


_LEAST_SCALE = 0.03
"""In the observations' units: metres, radians, rad/s."""


OBSERVED_SEEDS = range(450_000, 450_075)
"""Episodes that a task's standardiser is measured on, a third with each noise; below all others that are held out."""

_OBSERVED_NOISES = (0.0, 0.1, 0.3)


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """PPO's numbers."""

    steps: int = 2_600_000
    episodes: int = 100
    """Episodes an iteration (N), from `initial_states` distinct initial states."""
    initial_states: int = 8192
    retried: float = 0.5
    """At most this share of an iteration's episodes begins where the last attempt failed (cf. Jiang et al. 2021)."""
    hidden: tuple[int, ...] = (256, 256, 256)
    gamma: float = 0.8
    gae_lambda: float = 0.9
    learning_rate: float = 3e-4
    """Of the critic, and the actor's largest, at the start; falls linearly to nothing."""
    kl_target: float = 0.01
    """What an iteration may move the actor by, at the start: the actor's learning rate follows from it."""
    epochs: int = 5
    minibatches: int = 8
    clip: float = 0.2
    gradient_norm: float = 0.5
    kl_limit: float = 0.1
    bounds: float = 0.1
    """Weight of the squared excess of mean actions beyond 1.1. The robot executes no more than 1: far beyond it noise
    changes nothing and nothing is learned of smaller actions."""
    averaging: float = 0.95
    """The expert is the average of the actors of all iterations, each weighing this much less than the next."""
    validate_every: int = 40
    validation_episodes: int = 200
    """At most the 200 of `VALIDATION_SEEDS`; of a hundred the luckiest iterate is chosen, not the best."""
    lessons: int = 15
    """Iterations of imitating a teacher before PPO, where there is one."""
    lesson_updates: int = 500
    """Adam steps a lesson, on 1,024 of all states gathered so far."""
    lesson_learning_rate: float = 5e-4
    taught_std: float = 0.15
    """Standard deviation of the actions of an actor that does not begin from nothing."""
    critic_iterations: int = 10
    """Iterations at the start in which only the critic learns, where the actor does not begin from nothing."""
    seed: int = 0


class ActorCritic(nn.Module):
    """Tanh networks for the mean action and the value; a state-independent log standard deviation.

    Both learn on standardised observations, metres and radians of very different size otherwise. Outside, an actor is
    one that reads observations as they are: `read` and `written` translate its first layer.
    """

    shift: Tensor  # (O,)
    scale: Tensor  # (O,)

    def __init__(self, observation_dim: int, action_dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(observation_dim))
        self.register_buffer("scale", torch.ones(observation_dim))
        # A small last layer makes the first policy nearly zero-mean: exploration starts from standing still.
        self.actor = _tanh_network((observation_dim, *hidden, action_dim), last_gain=0.01 * math.sqrt(2))
        self.critic = _tanh_network((observation_dim, *hidden, 1), last_gain=1.0)
        self.log_std = nn.Parameter(torch.full((action_dim,), -0.5))

    def standardise(self, observations: Tensor) -> None:
        """From now on by the mean and the standard deviation of these observations, (..., O)."""
        flat = observations.flatten(0, -2)
        self.shift.copy_(flat.mean(dim=0))
        # What hardly moves yet, as a cube before the first grasp, must not be blown up when it does.
        self.scale.copy_(flat.std(dim=0).clamp(min=_LEAST_SCALE))

    def read(self, weights: Weights) -> None:
        """Make this the actor. RuntimeError where it does not fit."""
        weights = dict(weights)
        first = weights["0.weight"]
        if first.shape[1:] == self.shift.shape:
            weights["0.bias"] = weights["0.bias"] + first @ self.shift
            weights["0.weight"] = first * self.scale
        self.actor.load_state_dict(weights)

    def written(self, actor: nn.Module) -> Weights:
        """An actor, or an average of actors, that learned here."""
        weights = {key: value.detach().clone() for key, value in actor.state_dict().items()}
        weights["0.weight"] = weights["0.weight"] / self.scale
        weights["0.bias"] = weights["0.bias"] - weights["0.weight"] @ self.shift
        return weights

    def act(self, observations: Tensor) -> torch.distributions.Normal:
        """(B, O) to a distribution over (B, A)."""
        return torch.distributions.Normal(self.actor((observations - self.shift) / self.scale), self.log_std.exp())

    def value(self, observations: Tensor) -> Tensor:
        """(..., O) to (...)."""
        return self.critic((observations - self.shift) / self.scale).squeeze(-1)


def measure_observations(simulator: Simulator, expert: Weights) -> Standardiser:
    """From what an expert and two noisy ones see."""
    seeds = np.array(OBSERVED_SEEDS).reshape(len(_OBSERVED_NOISES), -1)
    actors = [GaussianActor.from_state_dict(expert, std) for std in _OBSERVED_NOISES]
    units = [Rollout(actor, row, record=True) for actor, row in zip(actors, seeds, strict=True)]
    observed = [episodes.observations for episodes in simulator.episodes(units)]
    return Standardiser.of(np.concatenate([part.reshape(-1, part.shape[-1]) for part in observed if part is not None]))


def _tanh_network(widths: tuple[int, ...], last_gain: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        linear = nn.Linear(inputs, outputs)
        last = layer == len(widths) - 2
        nn.init.orthogonal_(linear.weight, last_gain if last else math.sqrt(2))
        nn.init.zeros_(linear.bias)
        layers += [linear] if last else [linear, nn.Tanh()]
    return nn.Sequential(*layers)


def train_expert(
    simulator: Simulator, directory: Path, config: ExpertConfig | None = None, start: Weights | None = None
) -> Path:
    """Train, resuming from `directory` if it holds a run; returns the path of the best iterate's actor.

    `start` is the actor to begin with, an expert of a task with the same observations, taught first where the task has
    a teacher; ValueError where it does not fit. `log.csv` has one line an iteration.
    """
    config = config or ExpertConfig()
    task = simulator.task
    directory.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        agent = ActorCritic(task.observation_dim, task.action_dim, config.hidden)
    parts: list[dict[str, Any]] = [
        {"params": [*agent.actor.parameters(), agent.log_std]},
        {"params": list(agent.critic.parameters())},
    ]
    optimizer = torch.optim.Adam(parts, lr=config.learning_rate, eps=1e-5)
    average = AveragedModel(agent.actor, multi_avg_fn=get_ema_multi_avg_fn(config.averaging))
    modules = {"agent": agent, "average": average}

    state, best, log = directory / "state.safetensors", directory / "expert.safetensors", directory / "log.csv"
    run = json.loads(json.dumps(asdict(config))) | {"start": _fingerprint(start) if start else None}
    iteration, best_score, failed, rate = 0, -math.inf, set[int](), 0.1 * config.learning_rate
    if state.exists():
        progress = load_training_state(state, modules, optimizer, generator)
        if progress["run"] != run:
            raise ValueError(
                f"{state}: a training with another configuration or start; delete it to start anew, or train into "
                "another directory"
            )
        iteration, best_score, failed = progress["iteration"], progress["best_score"], set(progress["failed"])
        rate = progress["rate"]
    else:
        if start is not None:
            try:
                agent.read(start)
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                raise ValueError(f"{task.name}: the actor to start from does not fit ({reason})") from error
            nn.init.constant_(agent.log_std, math.log(config.taught_std))
            if task.teacher is not None and config.lessons > 0:
                taught = directory / "taught.safetensors"
                if not taught.exists():
                    teacher = task.teacher(GaussianActor.from_state_dict(start))
                    _imitate(simulator, agent.actor, teacher, config, generator)
                    _save_actor(taught, agent.actor.state_dict(), config, {})
                start = load_file(taught)
                agent.read(start)
        first = _collect(simulator, agent, np.arange(config.episodes), np.random.default_rng(config.seed))
        agent.standardise(torch.from_numpy(first.observations))
        if start is not None:
            agent.read(start)
        average.module.load_state_dict(agent.actor.state_dict())
    steps_per_iteration = config.episodes * task.horizon
    iterations = math.ceil(config.steps / steps_per_iteration)
    _keep_lines(log, 1 + iteration)
    bar = tqdm(total=iterations, initial=iteration, unit="it", desc=f"expert {task.name}", disable=None)
    while iteration < iterations:
        left = 1 - iteration / iterations
        for group, initial in zip(optimizer.param_groups, (rate, config.learning_rate), strict=True):
            group["lr"] = initial * left
        rng = np.random.default_rng([config.seed, iteration])
        retried = rng.permutation(sorted(failed))[: int(config.retried * config.episodes)].astype(np.int64)
        fresh = rng.choice(config.initial_states, config.episodes - len(retried), replace=False)
        seeds = np.concatenate([fresh, retried])
        episodes = _collect(simulator, agent, seeds, rng)
        failed = failed - set(seeds.tolist()) | set(seeds[~episodes.success_once].tolist())  # noise decides the end
        only_critic = start is not None and iteration < config.critic_iterations
        kl = _update(agent, optimizer, episodes, config, generator, only_critic=only_critic)
        if not only_critic:
            goal = config.kl_target * left**2  # the divergence grows with the square of the step
            rate = rate / 1.5 if kl > 2 * goal else min(config.learning_rate, rate * 1.5) if kl < goal / 2 else rate
        average.update_parameters(agent.actor)
        iteration += 1
        row = {
            "iteration": iteration,
            "steps": iteration * steps_per_iteration,
            "return": float(episodes.returns[: len(fresh)].mean()),
            "success_once": float(episodes.success_once[: len(fresh)].mean()),
            "success_at_end": float(episodes.success_at_end[: len(fresh)].mean()),
            "std": float(agent.log_std.detach().exp().mean()),
            "kl": kl,
            "validation_return": "",
            "validation_success_at_end": "",
        }
        if iteration % config.validate_every == 0 or iteration == iterations:
            actor = agent.written(average.module)
            seeds = np.array(VALIDATION_SEEDS[: config.validation_episodes])
            validation = roll_out(simulator, GaussianActor.from_state_dict(actor), seeds)
            score = float(validation.returns.mean())
            row |= {"validation_return": score, "validation_success_at_end": float(validation.success_at_end.mean())}
            if score > best_score:
                best_score = score
                _save_actor(best, actor, config, row)
        bar.update()
        bar.set_postfix({key: f"{row[key]:.2f}" for key in ("return", "success_at_end")})
        with log.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        if iteration % 20 == 0 or iteration == iterations:
            progress = {
                "run": run,
                "iteration": iteration,
                "best_score": best_score,
                "failed": sorted(failed),
                "rate": rate,
            }
            save_training_state(state, modules, optimizer, generator, progress)
    bar.close()
    return best


def load_expert(path: Path) -> Weights:
    """The actor's state dict. Raises ValueError naming the file where it is missing."""
    if not path.exists():
        raise ValueError(f"{path}: no expert; `nnbench expert train` writes one")
    return load_file(path)


def score_expert(simulator: Simulator, expert: Weights) -> dict[str, float]:
    """The deterministic expert on 200 episodes that no training, validation or benchmark episode is among."""
    episodes = roll_out(simulator, GaussianActor.from_state_dict(expert), np.array(SCORING_SEEDS))
    columns = {name: getattr(episodes, name) for name in ("returns", "success_once", "success_at_end")}
    return {name: round(float(values.mean()), 4) for name, values in columns.items()} | {"episodes": len(SCORING_SEEDS)}


def roll_out(simulator: Simulator, actor: Actor, seeds: np.ndarray) -> Episodes:
    """Episodes of one actor on these seeds, in their order."""
    chunks = [seeds[start : start + SCENES_PER_WORKER] for start in range(0, len(seeds), SCENES_PER_WORKER)]
    return join_episodes(simulator.episodes([Rollout(actor, chunk) for chunk in chunks]))


def join_episodes(parts: list[Episodes]) -> Episodes:
    """Concatenate along the episodes."""
    columns: list[tuple[Any, ...]] = list(zip(*parts, strict=True))
    return Episodes._make(None if column[0] is None else np.concatenate(column) for column in columns)


def _imitate(
    simulator: Simulator, actor: nn.Sequential, teacher: Actor, config: ExpertConfig, generator: torch.Generator
) -> None:
    """DAgger (Ross et al. 2011): states that the actor visits, ever less with the teacher's help, as it would act."""
    optimizer = torch.optim.Adam(actor.parameters(), lr=config.lesson_learning_rate)
    states, actions = [], []
    for lesson in tqdm(range(config.lessons), desc=f"lessons {simulator.task.name}", disable=None):
        rng = np.random.default_rng([config.seed, lesson])
        seeds = rng.choice(config.initial_states, config.episodes, replace=False)
        help_, quiet = np.full(SCENES_PER_WORKER, 0.5**lesson), np.zeros(SCENES_PER_WORKER, np.float32)
        student = GaussianActor.from_state_dict(actor.state_dict())
        units = []
        for start in range(0, config.episodes, SCENES_PER_WORKER):
            part = seeds[start : start + SCENES_PER_WORKER]
            mixture = np.random.default_rng(rng.integers(2**63))
            mixed = MixtureActor(teacher, student, help_[: len(part)], quiet[: len(part)], mixture)
            units.append(Rollout(mixed, part, record=True))
        observations = join_episodes(simulator.episodes(units)).observations
        assert observations is not None
        visited = observations[:, :-1].reshape(-1, simulator.task.observation_dim)
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


def _collect(simulator: Simulator, agent: ActorCritic, seeds: np.ndarray, rng: np.random.Generator) -> Episodes:
    weights, std = agent.written(agent.actor), agent.log_std.detach().exp().numpy()
    units = [
        Rollout(
            GaussianActor.from_state_dict(weights, std, seed=int(rng.integers(2**63))),
            seeds[start : start + SCENES_PER_WORKER],
            record=True,
        )
        for start in range(0, len(seeds), SCENES_PER_WORKER)
    ]
    return join_episodes(simulator.episodes(units))


def _update(
    agent: ActorCritic,
    optimizer: torch.optim.Optimizer,
    episodes: Episodes,
    config: ExpertConfig,
    generator: torch.Generator,
    *,
    only_critic: bool,
) -> float:
    """PPO's epochs over one batch; returns the mean KL divergence of the new policy from the acting one."""
    assert episodes.observations is not None and episodes.actions is not None and episodes.rewards is not None
    observations, rewards = torch.from_numpy(episodes.observations), torch.from_numpy(episodes.rewards)
    with torch.no_grad():
        values = agent.value(observations)  # (N, T + 1)
        advantages = _generalised_advantages(rewards, values, config)  # (N, T)
        returns = (advantages + values[:, :-1]).flatten()
        advantages = advantages.flatten()
        states = observations[:, :-1].flatten(0, 1)  # (N T, O)
        actions = torch.from_numpy(episodes.actions).flatten(0, 1)  # (N T, A)
        old_log_prob = _log_prob(agent.act(states), actions)
    parts = [*agent.actor.parameters(), agent.log_std], list(agent.critic.parameters())
    for _ in range(config.epochs):
        for batch in torch.randperm(len(states), generator=generator).chunk(config.minibatches):
            acting = agent.act(states[batch])
            log_ratio = _log_prob(acting, actions[batch]) - old_log_prob[batch]
            ratio = log_ratio.exp()
            if float((ratio - 1 - log_ratio).mean().detach()) > config.kl_limit:
                break
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
        log_ratio = _log_prob(agent.act(states), actions) - old_log_prob
        return float((log_ratio.exp() - 1 - log_ratio).mean())


def _log_prob(acting: torch.distributions.Normal, actions: Tensor) -> Tensor:
    """(B, A) to (B,): of the actions that the robot executes, clamped to [-1, 1] (Fujita & Maeda 2018).

    All actions beyond a limit are one and the same, so a mean far beyond it may move without changing the policy.
    """
    mean, std = acting.mean, acting.stddev
    above = torch.special.log_ndtr((mean - 1) / std)
    below = torch.special.log_ndtr((-1 - mean) / std)
    inside = acting.log_prob(actions)
    return torch.where(actions >= 1, above, torch.where(actions <= -1, below, inside)).sum(dim=-1)


def _generalised_advantages(rewards: Tensor, values: Tensor, config: ExpertConfig) -> Tensor:
    """GAE (Schulman et al. 2016, eq. 16); the horizon cuts an episode without ending it, so V(s_T) bootstraps."""
    advantages = torch.empty_like(rewards)  # (N, T)
    running = torch.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + config.gamma * values[:, t + 1] - values[:, t]
        running = delta + config.gamma * config.gae_lambda * running
        advantages[:, t] = running
    return advantages


def _save_actor(path: Path, actor: Weights, config: ExpertConfig, row: dict[str, object]) -> None:
    tensors = {key: value.contiguous() for key, value in actor.items()}
    metadata = {key: str(value) for key, value in (asdict(config) | row).items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))


def _fingerprint(weights: Weights) -> str:
    return hashlib.sha256(save({key: value.contiguous() for key, value in weights.items()})).hexdigest()


def _keep_lines(path: Path, count: int) -> None:
    """Drop what a killed run logged after its last checkpoint."""
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)
        write_atomically(path, lambda temporary: temporary.write_text("".join(lines[:count])))
