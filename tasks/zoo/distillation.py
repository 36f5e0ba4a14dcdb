"""From one expert to an ensemble of hypernetworks, by DAgger or from a pool of states that DAgger gathered.

A GHN learns by DAgger (Ross et al. 2011; paper, appendix A): rolled out on random training architectures, mixed with
the expert, every visited state labelled with the expert's action. The paper trains each of its 128 GHNs so. Two cores
cannot: there one GHN, the pilot, learns so, and the states gathered with it make one pool, on which any number of
further GHNs learn without simulation.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from nnbench.errors import InputError
from nnbench.tasks.files import write_atomically
from nnbench.tasks.policies.architectures import Architecture, load_splits
from nnbench.tasks.policies.mlp import GaussianActor, MixtureActor, PolicyActor, Weights
from nnbench.tasks.simulation.episodes import join_episodes
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator
from nnbench.tasks.task import Task
from nnbench.tasks.training_state import load_training_state, save_training_state
from nnbench.tasks.zoo.ghn import GHNConfig, GHNEnsemble, act

_SIDE_BY_SIDE = 8
"""GHNs trained at a time on a pool."""


@dataclass(frozen=True, kw_only=True)
class DaggerConfig:
    """One GHN that simulates while it learns."""

    iterations: int = 25
    episodes: int = 150
    """Episodes an iteration."""
    beta: float = 0.85
    """In iteration i the expert acts with probability beta^i."""
    buffer: int = 1_000_000
    """States that are learned from, the latest."""
    updates: int = 80
    """Adam steps an iteration."""
    architectures: int = 8
    """Architectures a step."""
    batch: int = 512
    """States an architecture and step."""
    learning_rate: float = 5e-3
    """At the start, falling as a cosine to `final_learning_rate`."""
    final_learning_rate: float = 5e-4


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """Many GHNs that learn from the states one has gathered."""

    episodes: int = 4_500
    """Spread evenly over the pairs of `betas`, the expert's share of the actions, and `noises`, their spread."""
    betas: tuple[float, ...] = (0.0, 0.3, 0.7)
    noises: tuple[float, ...] = (0.0, 0.1, 0.3)
    updates: int = 4_000
    """Adam steps of a GHN."""
    architectures: int = 8
    """Architectures a step."""
    batch: int = 128
    """States an architecture and step."""
    learning_rate: float = 1e-2
    """The peak: a short warm-up, then a cosine to almost zero."""


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """From expert to ensemble. The defaults are this project's, chosen for two CPU cores."""

    dagger: DaggerConfig = field(default_factory=DaggerConfig)
    """Of the pilot, or of every GHN where there is no pool."""
    pool: PoolConfig | None = field(default_factory=PoolConfig)
    ghn: GHNConfig = field(default_factory=GHNConfig)
    architectures: Literal["train", "space"] = "train"
    """The 64 that generators learn from, or all 72 of the space, the held-out ones among them."""
    gradient_norm: float = 1.0
    seed: int = 0


def preset(name: Literal["cpu", "paper"], task: Task) -> tuple[int, DistillationConfig]:
    """How many GHNs, and how they are trained.

    `paper` is its appendix A and table 5, where every GHN has a buffer of its own. Those leave the episodes and the
    Adam steps of an iteration open, the batch, the optimiser and the clipping: these are ours.
    """
    if name == "cpu":
        return 32, DistillationConfig()
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


class Ensemble(Protocol):
    """S networks that write policies, each of a seed of its own, as `GHNEnsemble`."""

    seeds: tuple[int, ...]

    def __call__(self, widths: Tensor) -> tuple[Tensor, Tensor]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


@dataclass(frozen=True)
class LabelledStates:
    """Visited states and the expert's action in each, clamped to what the robot executes."""

    observations: Tensor  # (B, O), standardised
    actions: Tensor  # (B, A)

    def save(self, path: Path) -> None:
        """One safetensors file, atomically."""
        tensors = {"observations": self.observations, "actions": self.actions}
        write_atomically(path, partial(save_file, tensors))

    @classmethod
    def load(cls, path: Path) -> "LabelledStates":
        """Read what `save` wrote."""
        return cls(**load_file(path))

    @classmethod
    def join(cls, parts: Sequence["LabelledStates"]) -> "LabelledStates":
        """Concatenate."""
        return cls(torch.cat([part.observations for part in parts]), torch.cat([part.actions for part in parts]))

    def latest(self, count: int) -> "LabelledStates":
        """The last `count`, or all."""
        return LabelledStates(self.observations[-count:], self.actions[-count:])


def distil(
    simulator: Simulator, expert: Weights, seeds: Sequence[int], directory: Path, config: DistillationConfig
) -> GHNEnsemble:
    """The GHNs of these seeds. What is finished in `directory` is kept and not made again."""
    group = _SIDE_BY_SIDE if config.pool else 1
    members = []
    for start in range(0, len(seeds), group):
        part = tuple(seeds[start : start + group])
        path = ensemble_file(directory, part)
        if not path.exists():
            if config.pool:
                ensemble = GHNEnsemble(part, simulator.task.observation_dim, simulator.task.action_dim, config.ghn)
                pool = build_pool(simulator, expert, directory, config)
                learn_from(pool, ensemble, _architectures(config), config)
            else:
                ensemble = _dagger(simulator, expert, part[0], directory / f"dagger-{part[0]}", config)
            tensors = {key: value.contiguous() for key, value in ensemble.state_dict().items()}
            write_atomically(path, partial(save_file, tensors))
            shutil.rmtree(directory / f"dagger-{part[0]}", ignore_errors=True)  # its buffer is large
        members.append(load_file(path))
    whole = GHNEnsemble(seeds, simulator.task.observation_dim, simulator.task.action_dim, config.ghn)
    whole.load_state_dict({key: torch.cat([member[key] for member in members]) for key in members[0]})
    return whole


def ensemble_file(directory: Path, seeds: Sequence[int]) -> Path:
    """Where `distil` keeps the finished GHNs of consecutive seeds, one without a pool, several with."""
    return directory / "ensemble" / f"ghns-{seeds[0]}-{seeds[-1]}.safetensors"


def build_pool(simulator: Simulator, expert: Weights, directory: Path, config: DistillationConfig) -> LabelledStates:
    """Train the pilot and gather the pool; files in `directory` are kept and not made again."""
    pool_file, numbers = directory / "pool.safetensors", config.pool
    assert numbers is not None
    if pool_file.exists():
        return LabelledStates.load(pool_file)
    # The pilot only gathers states; its seed lies outside the ensemble's.
    pilot = _dagger(simulator, expert, 1_000_000 + config.seed, directory / "pilot", config)
    pairs = [(beta, noise) for beta in numbers.betas for noise in numbers.noises]
    repeats = math.ceil(numbers.episodes / len(pairs))
    beta, noise = (np.repeat([pair[i] for pair in pairs], repeats) for i in (0, 1))
    pool = _gather(simulator, expert, pilot, _architectures(config), beta, noise, (config.seed, 1), "pool")
    pool.save(pool_file)
    return pool


def sample_states(simulator: Simulator, expert: Weights, ensemble: GHNEnsemble, count: int) -> Tensor:
    """States of the expert and of what the first GHN writes, standardised, (count, O): to compare policies there."""
    episodes = 64
    beta = np.resize([0.0, 1.0], episodes)
    train, silent = load_splits().train, np.zeros(episodes)
    visited = _gather(simulator, expert, ensemble, train, beta, silent, (ensemble.seeds[0], 2), "states")
    chosen = torch.randperm(len(visited.observations), generator=torch.Generator().manual_seed(0))[:count]
    return visited.observations[chosen].contiguous()


def _architectures(config: DistillationConfig) -> tuple[Architecture, ...]:
    splits = load_splits()
    return splits.train if config.architectures == "train" else splits.train + splits.unseen


def learn_from(
    pool: LabelledStates, ensemble: Ensemble, architectures: Sequence[Architecture], config: DistillationConfig
) -> None:
    """Train all members on the pool, each on batches of its own."""
    numbers = config.pool
    assert numbers is not None
    optimizer = torch.optim.Adam(ensemble.parameters(), numbers.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, numbers.learning_rate, numbers.updates, pct_start=0.05, cycle_momentum=False
    )
    name = f"{type(ensemble).__name__} {ensemble.seeds[0]}-{ensemble.seeds[-1]}"
    _fit(ensemble, optimizer, pool, architectures, numbers, config.gradient_norm, schedule.step, description=name)


def _dagger(
    simulator: Simulator, expert: Weights, seed: int, directory: Path, config: DistillationConfig
) -> GHNEnsemble:
    """One GHN. An iteration finished in `directory` is kept."""
    task, numbers = simulator.task, config.dagger
    student = GHNEnsemble([seed], task.observation_dim, task.action_dim, config.ghn)
    optimizer = torch.optim.Adam(student.parameters(), numbers.learning_rate, fused=True)
    state, first = directory / "state.safetensors", 0
    generator = torch.Generator().manual_seed(seed)
    if state.exists():
        first = load_training_state(state, {"student": student}, optimizer, generator)["iteration"]
    files = [directory / f"states-{i:04d}.safetensors" for i in range(numbers.iterations)]
    gathered = [LabelledStates.load(path) for path in files[:first]]
    lowest, highest = numbers.final_learning_rate, numbers.learning_rate
    for i in range(first, numbers.iterations):
        beta, noise = np.full(numbers.episodes, numbers.beta**i), np.zeros(numbers.episodes)
        name = f"GHN {seed} {i + 1}/{numbers.iterations}"
        gathered.append(_gather(simulator, expert, student, _architectures(config), beta, noise, (seed, 0, i), name))
        gathered[i].save(files[i])
        for group in optimizer.param_groups:
            group["lr"] = lowest + (highest - lowest) * (1 + math.cos(math.pi * i / numbers.iterations)) / 2
        states = LabelledStates.join(gathered).latest(numbers.buffer)
        _fit(
            student,
            optimizer,
            states,
            _architectures(config),
            numbers,
            config.gradient_norm,
            description=name,
            stream=i,
        )
        save_training_state(state, {"student": student}, optimizer, generator, {"iteration": i + 1})
    return student


def _gather(
    simulator: Simulator,
    expert: Weights,
    student: GHNEnsemble,
    architectures: Sequence[Architecture],
    beta: np.ndarray,
    noise: np.ndarray,
    stream: tuple[int, ...],
    description: str,
) -> LabelledStates:
    """Episode n: the student on a random architecture, mixed with the expert (beta[n]), with noise[n]."""
    task, rng = simulator.task, np.random.default_rng(stream)
    policies = [student.policies(arch)[student.seeds[0]] for arch in architectures]
    seeds = rng.integers(500_000, size=len(beta))  # below every validation, selection and test seed
    archs = rng.integers(len(architectures), size=len(beta))
    teacher = GaussianActor.from_state_dict(expert)
    units = []
    for start in range(0, len(beta), SCENES_PER_WORKER):
        part = slice(start, start + SCENES_PER_WORKER)
        actor = MixtureActor(
            teacher,
            PolicyActor.stack([policies[a] for a in archs[part]], np.arange(len(archs[part])), task.standardiser),
            beta[part],
            noise[part].astype(np.float32),
            np.random.default_rng(rng.integers(2**63)),
        )
        units.append(Rollout(actor, seeds[part], record=True))
    bar = tqdm(simulator.rollout(units), total=len(units), desc=f"states {description}", leave=False, disable=None)
    finished = dict(bar)
    episodes = join_episodes([finished[position] for position in range(len(units))])
    assert episodes.observations is not None
    observations = episodes.observations[:, :-1].reshape(-1, task.observation_dim)
    actions = np.clip(teacher(observations), -1, 1)
    return LabelledStates(torch.from_numpy(task.standardiser(observations)), torch.from_numpy(actions))


def _fit(
    ensemble: Ensemble,
    optimizer: torch.optim.Optimizer,
    states: LabelledStates,
    architectures: Sequence[Architecture],
    numbers: DaggerConfig | PoolConfig,
    gradient_norm: float,
    after_step: Callable[[], None] | None = None,
    *,
    description: str,
    stream: int = 0,
) -> None:
    """Mean squared error of the written policies' actions, every member on batches of its own."""
    widths = torch.tensor(architectures)
    generators = [torch.Generator().manual_seed(1_000_003 * stream + seed) for seed in ensemble.seeds]
    bar = tqdm(range(numbers.updates), desc=description, leave=False, disable=None)
    for step in bar:
        pick = torch.stack([torch.randperm(len(widths), generator=g)[: numbers.architectures] for g in generators])
        shape = (numbers.architectures, numbers.batch)
        index = torch.stack([torch.randint(len(states.actions), shape, generator=g) for g in generators])  # (S, A, B)
        weights, biases = ensemble(widths[pick])
        actions = act(weights, biases, states.observations[index])[..., : states.actions.shape[1]]
        loss = (actions - states.actions[index]).square().mean(dim=(1, 2, 3))  # (S,)
        optimizer.zero_grad()
        loss.sum().backward()
        _clip_each(ensemble, gradient_norm)
        optimizer.step()
        if after_step is not None:
            after_step()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.mean().item():.4f}")


def _clip_each(ensemble: Ensemble, limit: float) -> None:
    """Clip every member's gradient norm by itself."""
    gradients = [parameter.grad for parameter in ensemble.parameters() if parameter.grad is not None]
    square = sum(gradient.flatten(1).square().sum(dim=1) for gradient in gradients)
    scale = (limit / (torch.sqrt(torch.as_tensor(square)) + 1e-6)).clamp(max=1)  # (S,)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
