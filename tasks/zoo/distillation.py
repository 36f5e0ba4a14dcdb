"""From one expert to an ensemble of hypernetworks, by DAgger or from a pool of states that DAgger gathered.

A GHN learns by DAgger (Ross et al. 2011; paper, appendix A): its policies of random training architectures are rolled
out, mixed with the expert, and every visited state is labelled with the expert's action. The paper trains each of its
128 GHNs like this. On two cores that takes too long. There only one GHN, the pilot, learns like this; the states
gathered with it make one pool, on which any number of further GHNs learn without simulation.
"""

import math
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from nnbench.tasks.policies.architectures import Architecture, load_splits
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.tensors import load_tensors, save_tensors
from nnbench.tasks.training_state import load_training_state, save_training_state
from nnbench.tasks.zoo.ghn import GHNConfig, GHNEnsemble
from nnbench.tasks.zoo.presets import DaggerConfig, DistillationConfig, PoolConfig
from nnbench.tasks.zoo.states import LabelledStates, gather

_SIDE_BY_SIDE = 8
"""GHNs that are trained together on a pool."""
_KEEP_EVERY = 500
"""Updates on a pool after which the state is kept."""
_REMEDY = "delete it and run the same command again, which makes it anew"


class Ensemble(Protocol):
    """S networks that are trained side by side, each with a seed of its own: GHNs, or policies themselves."""

    seeds: tuple[int, ...]

    def actions(self, widths: Tensor, observations: Tensor) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


def distil(
    simulator: Simulator, expert: Weights, seeds: Sequence[int], directory: Path, config: DistillationConfig
) -> GHNEnsemble:
    """The GHNs of these seeds. Finished ones in `directory` are kept."""
    group = _SIDE_BY_SIDE if config.pool else 1
    members = []
    for start in range(0, len(seeds), group):
        part = tuple(seeds[start : start + group])
        path = ensemble_file(directory, part)
        if not path.exists():
            if config.pool:
                ensemble = GHNEnsemble(part, simulator.task.observation_dim, simulator.task.action_dim, config.ghn)
                pool = build_pool(simulator, expert, directory, config)
                learn_from(pool, ensemble, _architectures(config), config, state=_state_file(directory, part))
            else:
                ensemble = _dagger(simulator, expert, part[0], directory / f"dagger-{part[0]}", config)
            save_tensors(path, ensemble.state_dict())
        # Also where a kill came between: a buffer is large.
        shutil.rmtree(directory / f"dagger-{part[0]}", ignore_errors=True)
        _state_file(directory, part).unlink(missing_ok=True)
        members.append(load_tensors(path, _REMEDY))
    whole = GHNEnsemble(seeds, simulator.task.observation_dim, simulator.task.action_dim, config.ghn)
    whole.load_state_dict({key: torch.cat([member[key] for member in members]) for key in members[0]})
    return whole


def ensemble_file(directory: Path, seeds: Sequence[int]) -> Path:
    """Where `distil` keeps the finished GHNs of consecutive seeds, one without a pool, several with."""
    return directory / "ensemble" / f"ghns-{seeds[0]}-{seeds[-1]}.safetensors"


def _state_file(directory: Path, seeds: Sequence[int]) -> Path:
    """From which a killed training of these GHNs on a pool resumes."""
    return directory / "ensemble" / f"state-{seeds[0]}-{seeds[-1]}.safetensors"


def pool_file_of(directory: Path) -> Path:
    """Where `build_pool` keeps the pool."""
    return directory / "pool.safetensors"


def build_pool(simulator: Simulator, expert: Weights, directory: Path, config: DistillationConfig) -> LabelledStates:
    """Train the pilot and gather the pool. Finished files in `directory` are kept."""
    pool_file, numbers = pool_file_of(directory), config.pool
    assert numbers is not None
    if pool_file.exists():
        return LabelledStates.load(pool_file)
    # The pilot only gathers states; its seed is none of the ensemble's, nor need its decoder be.
    pilot = _dagger(simulator, expert, 1_000_000 + config.seed, directory / "pilot", replace(config, ghn=GHNConfig()))
    pairs = [(beta, noise) for beta in numbers.betas for noise in numbers.noises]
    repeats = math.ceil(numbers.episodes / len(pairs))
    beta, noise = (np.repeat([pair[i] for pair in pairs], repeats) for i in (0, 1))
    pool = gather(simulator, expert, pilot, _architectures(config), beta, noise, (config.seed, 1), "pool")
    pool.save(pool_file)
    return pool


def _architectures(config: DistillationConfig) -> tuple[Architecture, ...]:
    splits = load_splits()
    return splits.train if config.architectures == "train" else splits.train + splits.unseen


def learn_from(
    pool: LabelledStates,
    ensemble: Ensemble,
    architectures: Sequence[Architecture],
    config: DistillationConfig,
    *,
    state: Path | None = None,
    quiet: bool = False,
) -> None:
    """Train all members on the pool, each on batches of its own; `quiet` without a progress bar.

    A training that was killed goes on from the file `state`, and ends as if it had not been.
    """
    numbers = config.pool
    assert numbers is not None
    optimizer = torch.optim.Adam(ensemble.parameters(), numbers.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, numbers.learning_rate, numbers.updates, pct_start=0.05, cycle_momentum=False
    )
    name = None if quiet else f"{type(ensemble).__name__} {ensemble.seeds[0]}-{ensemble.seeds[-1]}"
    _fit(
        ensemble,
        optimizer,
        pool,
        architectures,
        numbers,
        config.gradient_norm,
        schedule.step,
        description=name,
        state=state,
    )


def _dagger(
    simulator: Simulator, expert: Weights, seed: int, directory: Path, config: DistillationConfig
) -> GHNEnsemble:
    """Train one GHN by DAgger. Finished iterations in `directory` are kept."""
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
        gathered.append(gather(simulator, expert, student, _architectures(config), beta, noise, (seed, 0, i), name))
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


def _fit(
    ensemble: Ensemble,
    optimizer: torch.optim.Optimizer,
    states: LabelledStates,
    architectures: Sequence[Architecture],
    numbers: DaggerConfig | PoolConfig,
    gradient_norm: float,
    after_step: Callable[[], None] | None = None,
    *,
    description: str | None,
    stream: int = 0,
    state: Path | None = None,
) -> None:
    """Minimise the mean squared error of the policies' actions, every member on batches of its own."""
    unused, first = torch.Generator(), 0  # batches are drawn anew up to where the training was
    if state is not None and state.exists():
        first = load_training_state(state, {"ensemble": _module(ensemble)}, optimizer, unused)["updates"]
    widths = torch.tensor(architectures)
    generators = [torch.Generator().manual_seed(1_000_003 * stream + seed) for seed in ensemble.seeds]
    bar = tqdm(range(numbers.updates), desc=description, leave=False, disable=True if description is None else None)
    for step in bar:
        pick = torch.stack([torch.randperm(len(widths), generator=g)[: numbers.architectures] for g in generators])
        shape = (numbers.architectures, numbers.batch)
        index = torch.stack([torch.randint(len(states.actions), shape, generator=g) for g in generators])  # (S, A, B)
        if step < first:
            _advance(after_step)
            continue
        actions = ensemble.actions(widths[pick], states.observations[index])
        loss = (actions - states.actions[index]).square().mean(dim=(1, 2, 3))  # (S,)
        optimizer.zero_grad()
        loss.sum().backward()
        _clip_each(ensemble, gradient_norm)
        optimizer.step()
        if after_step is not None:
            after_step()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.mean().item():.4f}")
        if state is not None and (step + 1) % _KEEP_EVERY == 0:
            save_training_state(state, {"ensemble": _module(ensemble)}, optimizer, unused, {"updates": step + 1})


def _module(ensemble: Ensemble) -> nn.Module:
    assert isinstance(ensemble, nn.Module)
    return ensemble


def _advance(after_step: Callable[[], None] | None) -> None:
    """What follows an update, where the update was made before this process."""
    if after_step is not None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            after_step()


def _clip_each(ensemble: Ensemble, limit: float) -> None:
    """Clip every member's gradient norm by itself."""
    gradients = [parameter.grad for parameter in ensemble.parameters() if parameter.grad is not None]
    square = sum(gradient.flatten(1).square().sum(dim=1) for gradient in gradients)
    scale = (limit / (torch.sqrt(torch.as_tensor(square)) + 1e-6)).clamp(max=1)  # (S,)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
