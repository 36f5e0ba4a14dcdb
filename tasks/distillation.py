"""From one expert to an ensemble of hypernetworks: DAgger for a pilot, supervised distillation for the ensemble.

A pilot GHN learns by DAgger (Ross et al. 2011; paper, appendix A): rolled out on random training architectures, mixed
with the expert, every visited state labelled with the expert's action. States gathered with the finished pilot then
make one pool, on which any number of further GHNs are trained without simulation. The paper trains each of its
128 GHNs by DAgger; the pool costs one of them. Held-out architectures take part in neither stage.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from nnbench.tasks.architectures import load_splits
from nnbench.tasks.checkpoint import load_training_state, save_training_state
from nnbench.tasks.expert import join_episodes
from nnbench.tasks.files import write_atomically
from nnbench.tasks.ghn import GHNEnsemble, act
from nnbench.tasks.policy import GaussianActor, MixtureActor, PolicyActor, Weights
from nnbench.tasks.simulation import SCENES_PER_WORKER, Rollout, Simulator


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """The numbers of both stages; the values are this project's, chosen for two CPU cores."""

    iterations: int = 25
    """DAgger iterations of the pilot."""
    episodes: int = 150
    """Episodes an iteration."""
    beta: float = 0.85
    """In iteration i the expert acts with probability beta^i."""
    pilot_updates: int = 80
    """Adam steps an iteration."""
    pilot_batch: int = 512
    """States an architecture and step."""
    pilot_learning_rate: float = 1e-3
    pool_episodes: int = 4_500
    """Pool episodes, spread evenly over the nine pairs of `pool_betas` and `pool_noises`."""
    pool_betas: tuple[float, ...] = (0.0, 0.3, 0.7)
    pool_noises: tuple[float, ...] = (0.0, 0.1, 0.3)
    updates: int = 4_000
    """Adam steps of an ensemble member."""
    batch: int = 256
    learning_rate: float = 2e-3
    architectures: int = 8
    """Architectures a step."""
    gradient_norm: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class LabelledStates:
    """Visited states and the expert's action in each, clamped to what the robot executes."""

    observations: Tensor  # (B, O)
    actions: Tensor  # (B, A)

    def save(self, path: Path) -> None:
        """One safetensors file, atomically."""
        tensors = {"observations": self.observations, "actions": self.actions}
        write_atomically(path, partial(save_file, tensors))

    @classmethod
    def load(cls, *paths: Path) -> "LabelledStates":
        """Concatenate files that `save` wrote."""
        parts = [load_file(path) for path in paths]
        return cls(*(torch.cat([part[key] for part in parts]) for key in ("observations", "actions")))


def build_pool(simulator: Simulator, expert: Weights, directory: Path, config: DistillationConfig) -> LabelledStates:
    """Train the pilot and gather the pool; files in `directory` are kept and not made again."""
    pool_file = directory / "pool.safetensors"
    if pool_file.exists():
        return LabelledStates.load(pool_file)
    pilot = _train_pilot(simulator, expert, directory / "pilot", config)
    pairs = [(beta, noise) for beta in config.pool_betas for noise in config.pool_noises]
    repeats = math.ceil(config.pool_episodes / len(pairs))
    beta, noise = (np.repeat([pair[i] for pair in pairs], repeats) for i in (0, 1))
    pool = _gather(simulator, expert, pilot, beta, noise, stream=(config.seed, 1), description="pool")
    pool.save(pool_file)
    return pool


def train_ensemble(
    pool: LabelledStates, seeds: Sequence[int], directory: Path, config: DistillationConfig, group: int = 8
) -> GHNEnsemble:
    """GHNs trained on the pool, `group` side by side; finished groups in `directory` are kept."""
    observation_dim, action_dim = pool.observations.shape[1], pool.actions.shape[1]
    members = []
    for start in range(0, len(seeds), group):
        part = tuple(seeds[start : start + group])
        path = directory / f"ghns-{part[0]}-{part[-1]}.safetensors"
        if not path.exists():
            ensemble = GHNEnsemble(part, observation_dim, action_dim)
            optimizer = torch.optim.Adam(ensemble.parameters(), config.learning_rate, fused=True)
            # One cycle: a short warm-up, then a cosine to almost zero.
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, config.learning_rate, config.updates, pct_start=0.05, cycle_momentum=False
            )
            _fit(ensemble, optimizer, pool, config.updates, config.batch, config, schedule.step, f"GHNs {part}")
            tensors = {key: value.contiguous() for key, value in ensemble.state_dict().items()}
            write_atomically(path, partial(save_file, tensors))
        members.append(load_file(path))
    whole = GHNEnsemble(seeds, observation_dim, action_dim)
    whole.load_state_dict({key: torch.cat([member[key] for member in members]) for key in members[0]})
    return whole


def _train_pilot(simulator: Simulator, expert: Weights, directory: Path, config: DistillationConfig) -> GHNEnsemble:
    task = simulator.task
    directory.mkdir(parents=True, exist_ok=True)
    # The pilot only gathers states; its seed lies outside the ensemble's.
    pilot = GHNEnsemble([1_000_000 + config.seed], task.observation_dim, task.action_dim)
    optimizer = torch.optim.Adam(pilot.parameters(), config.pilot_learning_rate, fused=True)
    state, first = directory / "state.safetensors", 0
    generator = torch.Generator().manual_seed(config.seed)
    if state.exists():
        first = load_training_state(state, {"pilot": pilot}, optimizer, generator)["iteration"]
    files = [directory / f"states-{i:03d}.safetensors" for i in range(config.iterations)]
    for i in range(first, config.iterations):
        beta, noise = np.full(config.episodes, config.beta**i), np.zeros(config.episodes)
        name = f"pilot {i + 1}/{config.iterations}"
        gathered = _gather(simulator, expert, pilot, beta, noise, (config.seed, 0, i), name)
        gathered.save(files[i])
        for group in optimizer.param_groups:
            group["lr"] = config.pilot_learning_rate * (0.55 + 0.45 * math.cos(math.pi * i / config.iterations))
        states = LabelledStates.load(*files[: i + 1])
        _fit(pilot, optimizer, states, config.pilot_updates, config.pilot_batch, config, description=name, stream=i)
        save_training_state(state, {"pilot": pilot}, optimizer, generator, {"iteration": i + 1})
    return pilot


def _gather(
    simulator: Simulator,
    expert: Weights,
    student: GHNEnsemble,
    beta: np.ndarray,
    noise: np.ndarray,
    stream: tuple[int, ...],
    description: str,
) -> LabelledStates:
    """Episode n: the student on a random training architecture, mixed with the expert (beta[n]), with noise[n]."""
    rng = np.random.default_rng(stream)
    train = load_splits().train
    policies = [student.policies(arch)[student.seeds[0]] for arch in train]
    seeds = rng.integers(500_000, size=len(beta))  # below every validation, selection and test seed
    archs = rng.integers(len(train), size=len(beta))
    teacher = GaussianActor.from_state_dict(expert)
    units = []
    for start in range(0, len(beta), SCENES_PER_WORKER):
        part = slice(start, start + SCENES_PER_WORKER)
        actor = MixtureActor(
            teacher,
            PolicyActor.stack([policies[a] for a in archs[part]], np.arange(len(archs[part]))),
            beta[part],
            noise[part].astype(np.float32),
            np.random.default_rng(rng.integers(2**63)),
        )
        units.append(Rollout(actor, seeds[part], record=True))
    bar = tqdm(simulator.rollout(units), total=len(units), desc=f"states {description}", leave=False, disable=None)
    finished = dict(bar)
    episodes = join_episodes([finished[position] for position in range(len(units))])
    assert episodes.observations is not None
    observations = episodes.observations[:, :-1].reshape(-1, simulator.task.observation_dim)
    actions = np.clip(teacher(observations), -1, 1)
    return LabelledStates(torch.from_numpy(observations), torch.from_numpy(actions))


def _fit(
    ensemble: GHNEnsemble,
    optimizer: torch.optim.Optimizer,
    states: LabelledStates,
    updates: int,
    batch: int,
    config: DistillationConfig,
    after_step: Callable[[], None] | None = None,
    description: str = "GHN",
    stream: int = 0,
) -> None:
    """Mean squared error of the written policies' actions, every member on batches of its own."""
    train = torch.tensor(load_splits().train)  # (64, 4)
    generators = [torch.Generator().manual_seed(1_000_003 * stream + seed) for seed in ensemble.seeds]
    bar = tqdm(range(updates), desc=description, leave=False, disable=None)
    for step in bar:
        pick = torch.stack([torch.randperm(len(train), generator=g)[: config.architectures] for g in generators])
        shape = (config.architectures, batch)
        index = torch.stack([torch.randint(len(states.actions), shape, generator=g) for g in generators])  # (S, A, B)
        weights, biases = ensemble(train[pick])
        actions = act(weights, biases, states.observations[index])[..., : states.actions.shape[1]]
        loss = (actions - states.actions[index]).square().mean(dim=(1, 2, 3))  # (S,)
        optimizer.zero_grad()
        loss.sum().backward()
        _clip_each(ensemble, config.gradient_norm)
        optimizer.step()
        if after_step is not None:
            after_step()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.mean().item():.4f}")


def _clip_each(ensemble: nn.Module, limit: float) -> None:
    """Clip every member's gradient norm by itself."""
    gradients = [parameter.grad for parameter in ensemble.parameters() if parameter.grad is not None]
    square = sum(gradient.flatten(1).square().sum(dim=1) for gradient in gradients)
    scale = (limit / (torch.sqrt(torch.as_tensor(square)) + 1e-6)).clamp(max=1)  # (S,)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
