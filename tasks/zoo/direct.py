"""Policies that are trained one by one, each from a random start of its own: no hypernetwork aligns their weights.

They learn the expert's actions in the pool of states that hypernetworks learn from too. Several policies of one
architecture are trained side by side, which costs little more than training one.

S policies, B states, O and A the observation and action dimensions.
"""

import math
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import torch
from pebble import ProcessExpired, ProcessPool
from torch import Tensor, nn
from tqdm import tqdm

from nnbench.errors import NnbenchError
from nnbench.tasks.policies.architectures import Architecture, architecture_name, parameter_shapes
from nnbench.tasks.policies.mlp import Weights, forward
from nnbench.tasks.simulation.workers import end_with_parent
from nnbench.tasks.task import Task
from nnbench.tasks.tensors import load_tensors, save_tensors
from nnbench.tasks.zoo.distillation import learn_from
from nnbench.tasks.zoo.presets import DirectConfig, DistillationConfig, PoolConfig
from nnbench.tasks.zoo.sources import StoredPolicies, stacked_name
from nnbench.tasks.zoo.states import LabelledStates

_SIDE_BY_SIDE = 8
"""Policies of one architecture that are trained together: those of the seeds 0 to 7, 8 to 15, ...

A batch is always whole, also where fewer seeds are asked for: the last digits of a policy may depend on how many are
beside it.
"""
_REMEDY = "delete it and run the same command again, which makes it anew"


class TrainingError(NnbenchError, RuntimeError):
    """A process that trained policies and is lost. Says which policies, and what to do."""


class DirectPolicies(nn.Module):
    """S policies of one architecture whose weights are parameters, initialised as `nn.Linear` is."""

    def __init__(self, seeds: Sequence[int], arch: Architecture, observation_dim: int, action_dim: int) -> None:
        super().__init__()
        self.seeds, self.shapes = tuple(seeds), parameter_shapes(arch, observation_dim, action_dim)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        drawn = {key: torch.empty(len(seeds), *shape) for key, shape in self.shapes.items()}
        for s, generator in enumerate(generators):
            for key, shape in self.shapes.items():
                fan_in = self.shapes[key.replace("bias", "weight")][1]
                drawn[key][s] = (2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(fan_in)
        self.weights = nn.ParameterList([value for key, value in drawn.items() if key.endswith("weight")])
        self.biases = nn.ParameterList([value for key, value in drawn.items() if key.endswith("bias")])

    def actions(self, widths: Tensor, observations: Tensor) -> Tensor:
        """Observations (S, 1, B, O) to actions (S, 1, B, A)."""
        del widths  # there is one architecture only
        return forward(list(self.weights), list(self.biases), observations[:, 0])[:, None]

    @torch.no_grad()
    def stacked(self) -> dict[str, Tensor]:
        """The weights of all policies by key, (S, ...) each."""
        parameters = [value for pair in zip(self.weights, self.biases, strict=True) for value in pair]
        return {key: value.detach().clone() for key, value in zip(self.shapes, parameters, strict=True)}

    def policies(self, arch: Architecture) -> dict[int, Weights]:
        """The policies by seed."""
        del arch
        stacked = self.stacked()
        return {seed: {key: value[s].clone() for key, value in stacked.items()} for s, seed in enumerate(self.seeds)}


def train_policies(
    task: Task,
    pool_file: Path,
    directory: Path,
    archs: Sequence[Architecture],
    seeds: Sequence[int],
    config: DirectConfig,
    *,
    workers: int,
) -> StoredPolicies:
    """Policies of all these architectures and seeds, trained on a pool, rounded to half precision.

    A policy depends on its architecture, its seed, the pool and the numbers alone. Finished batches in `directory` are
    kept. Raises TrainingError where a process is lost, and WriteError.
    """
    firsts = sorted({seed // _SIDE_BY_SIDE * _SIDE_BY_SIDE for seed in seeds})
    batches = [(arch, first) for first in firsts for arch in archs]  # all widths early, so that the time left is right
    missing = [batch for batch in batches if not _batch_file(directory, *batch).exists()]
    done = _SIDE_BY_SIDE * (len(batches) - len(missing))
    with tqdm(
        total=_SIDE_BY_SIDE * len(batches), initial=done, desc=f"train {task.name}", unit="policy", disable=None
    ) as bar:
        for _ in _train_batches(missing, pool_file, directory, config, workers):
            bar.update(_SIDE_BY_SIDE)
    tensors: dict[str, Tensor] = {}
    for arch in archs:
        parts = [load_tensors(_batch_file(directory, arch, first), _REMEDY) for first in firsts]
        trained = [seed for first in firsts for seed in _batch_seeds(first)]
        chosen = torch.tensor([trained.index(seed) for seed in seeds])
        for key in parts[0]:
            tensors[stacked_name(arch, key)] = torch.cat([part[key] for part in parts])[chosen]
    return StoredPolicies(tuple(seeds), task.observation_dim, task.action_dim, tensors)


def _train_batches(
    batches: Sequence[tuple[Architecture, int]], pool_file: Path, directory: Path, config: DirectConfig, workers: int
) -> Iterable[tuple[Architecture, int]]:
    """Train batches in processes of one thread each; yields each batch when its file is there."""
    if not batches:
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(min(workers, len(batches)), context=context, initializer=_start_worker, initargs=(pool_file,))
    try:
        futures: dict[Future[None], tuple[Architecture, int]] = {
            pool.schedule(_train_batch, (*batch, _batch_file(directory, *batch), config)): batch for batch in batches
        }
        for future in as_completed(futures):
            try:
                future.result()
            except (ProcessExpired, BrokenProcessPool) as error:
                arch, first = futures[future]
                raise TrainingError(
                    f"policies {first} to {first + _SIDE_BY_SIDE - 1} of {architecture_name(arch)}: the process that "
                    "trained them died (its own message is above). Finished policies are stored; run the same command "
                    "again, with fewer --workers if memory is short"
                ) from error
            yield futures[future]
    finally:
        pool.stop()
        pool.join()


_pool: LabelledStates
"""The worker process's own copy of the pool."""


def _start_worker(pool_file: Path) -> None:
    global _pool
    end_with_parent()
    torch.set_num_threads(1)  # one process per core: more threads would only wait for one another
    _pool = LabelledStates.load(pool_file)


def _train_batch(arch: Architecture, first: int, path: Path, config: DirectConfig) -> None:
    starts = [_start_of(arch, seed) for seed in _batch_seeds(first)]
    policies = DirectPolicies(starts, arch, _pool.observations.shape[1], _pool.actions.shape[1])
    numbers = PoolConfig(
        updates=config.updates, batch=config.batch, architectures=1, learning_rate=config.learning_rate
    )
    learning = DistillationConfig(pool=numbers, gradient_norm=config.gradient_norm)
    learn_from(_pool, policies, [arch], learning, quiet=True)
    save_tensors(path, {key: value.half() for key, value in policies.stacked().items()})


def _start_of(arch: Architecture, seed: int) -> int:
    """Seeds what a policy draws. Equal seeds of two architectures have nothing in common."""
    return int(np.random.SeedSequence((seed, *arch)).generate_state(1, np.uint64)[0])


def _batch_seeds(first: int) -> range:
    return range(first, first + _SIDE_BY_SIDE)


def _batch_file(directory: Path, arch: Architecture, first: int) -> Path:
    return directory / f"{architecture_name(arch)}-from-{first}.safetensors"
