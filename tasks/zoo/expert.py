"""The expert that the zoo is distilled from: its training by PPO, its file, its scores.

Every task has an expert of its own. The paper's "single multi-task expert" cannot be taken literally, because the
state spaces of the tasks differ.
"""

import csv
import hashlib
import io
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from nnbench.errors import NnbenchError
from nnbench.tasks.files import file_sha256, make_folder, write_bytes
from nnbench.tasks.integrity import read_manifest, read_stored
from nnbench.tasks.policies.mlp import GaussianActor, Weights
from nnbench.tasks.policies.standardiser import Standardiser
from nnbench.tasks.simulation.episodes import Episodes, join_episodes
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator
from nnbench.tasks.task import Actor
from nnbench.tasks.tensors import load_tensors, parse_tensors, save_tensors
from nnbench.tasks.training_state import TrainingStateError, load_training_state, save_training_state
from nnbench.tasks.zoo.actor_critic import ActorCritic
from nnbench.tasks.zoo.lessons import imitate
from nnbench.tasks.zoo.ppo import ExpertConfig, update

VALIDATION_SEEDS = range(500_000, 500_200)
"""Episodes on which the best iterate is chosen; disjoint from training, selection and test episodes."""

SCORING_SEEDS = range(510_000, 510_200)
"""Episodes that the finished expert is scored on."""

OBSERVED_SEEDS = range(450_000, 450_075)
"""Episodes that a task's standardiser is measured on, a third with each noise; below all others that are held out."""

_OBSERVED_NOISES = (0.0, 0.1, 0.3)
_SAVE_EVERY = 20
"""Iterations."""


class ExpertError(NnbenchError, ValueError):
    """An expert that is missing, or an actor that does not fit the task."""


def train_expert(
    simulator: Simulator, directory: Path, config: ExpertConfig | None = None, start: Weights | None = None
) -> Path:
    """Train, resuming from `directory` if it holds a run; returns the path of the best iterate's actor.

    `start` is the actor to start from, an expert of a task with the same observations; where the task has a teacher,
    the actor imitates it first. `log.csv` gets one line per iteration. Raises ExpertError where `start` does not fit,
    and TrainingStateError where `directory` holds a run with another configuration or start.
    """
    training = _Training(simulator, directory, config or ExpertConfig(), start)
    if not training.resume():
        training.begin(start)
    training.keep_lines(1 + training.iteration)
    name = f"expert {simulator.task.name}"
    with tqdm(total=training.iterations, initial=training.iteration, unit="it", desc=name, disable=None) as bar:
        while training.iteration < training.iterations:
            row = training.iterate()
            bar.update()
            bar.set_postfix({key: f"{row[key]:.2f}" for key in ("return", "success_at_end")})
    return training.best


class _Training:
    """A run of PPO: what was learned so far, and how it goes on. A directory holds all of it."""

    def __init__(self, simulator: Simulator, directory: Path, config: ExpertConfig, start: Weights | None) -> None:
        task = simulator.task
        self.simulator, self.directory, self.config = simulator, directory, config
        self.best = directory / "expert.safetensors"
        make_folder(directory)
        self.generator = torch.Generator().manual_seed(config.seed)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.agent = ActorCritic(task.observation_dim, task.action_dim, config.hidden)
        parts: list[dict[str, Any]] = [
            {"params": [*self.agent.actor.parameters(), self.agent.log_std]},
            {"params": list(self.agent.critic.parameters())},
        ]
        self.optimizer = torch.optim.Adam(parts, lr=config.learning_rate, eps=1e-5)
        self.average = AveragedModel(self.agent.actor, multi_avg_fn=get_ema_multi_avg_fn(config.averaging))
        self.starts_from_expert = start is not None
        self.identity = json.loads(json.dumps(asdict(config))) | {"start": _fingerprint(start) if start else None}
        self.identity |= {"task_code": task.code_sha256} if task.code_sha256 else {}
        self.steps_per_iteration = config.episodes * task.horizon
        self.iterations = math.ceil(config.steps / self.steps_per_iteration)
        self.iteration, self.best_score = 0, -math.inf
        self.failed: set[int] = set()
        """Initial states whose last attempt failed."""
        self.rate = 0.1 * config.learning_rate
        """The actor's, before its decay."""

    def resume(self) -> bool:
        """Restore the stored run; False where there is none."""
        path = self.directory / "state.safetensors"
        if not path.exists():
            return False
        progress = load_training_state(path, self._modules, self.optimizer, self.generator)
        if progress["run"] != self.identity:
            raise TrainingStateError(
                f"{path}: a training with another configuration or start; delete it to start anew, or train into "
                "another directory"
            )
        self.iteration, self.best_score = progress["iteration"], progress["best_score"]
        self.failed, self.rate = set(progress["failed"]), progress["rate"]
        return True

    def begin(self, start: Weights | None) -> None:
        """Initialise actor and standardisation, from another expert where there is one."""
        agent, config = self.agent, self.config
        if start is not None:
            try:
                agent.read(start)
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                name = self.simulator.task.name
                raise ExpertError(f"{name}: the actor to start from does not fit ({reason})") from error
            nn.init.constant_(agent.log_std, math.log(config.taught_std))
            start = self._taught(start)
        first = self._collect(np.arange(config.episodes), np.random.default_rng(config.seed))
        assert first.observations is not None
        agent.standardise(torch.from_numpy(first.observations))
        if start is not None:
            agent.read(start)
        self.average.module.load_state_dict(agent.actor.state_dict())

    def iterate(self) -> dict[str, Any]:
        """Roll out, learn, log and, now and then, validate and save; returns the line of the log."""
        config, iteration = self.config, self.iteration
        left = 1 - iteration / self.iterations
        for group, initial in zip(self.optimizer.param_groups, (self.rate, config.learning_rate), strict=True):
            group["lr"] = initial * left
        rng = np.random.default_rng([config.seed, iteration])
        retried = rng.permutation(sorted(self.failed))[: int(config.retried * config.episodes)].astype(np.int64)
        fresh = rng.choice(config.initial_states, config.episodes - len(retried), replace=False)
        seeds = np.concatenate([fresh, retried])
        episodes = self._collect(seeds, rng)
        # One attempt decides, noise and all.
        self.failed = self.failed - set(seeds.tolist()) | set(seeds[~episodes.success_once].tolist())
        only_critic = self.starts_from_expert and iteration < config.critic_iterations
        kl = update(self.agent, self.optimizer, episodes, config, self.generator, only_critic=only_critic)
        if not only_critic:
            self._adapt_rate(kl, config.kl_target * left**2)  # the divergence grows with the square of the step
        self.average.update_parameters(self.agent.actor)
        self.iteration += 1
        row = self._row(episodes, len(fresh), kl)
        if self.iteration % config.validate_every == 0 or self.iteration == self.iterations:
            row = self._validate(row)
        self._log(row)
        if self.iteration % _SAVE_EVERY == 0 or self.iteration == self.iterations:
            self._save()
        return row

    def keep_lines(self, count: int) -> None:
        """Drop what a killed run logged after it was last saved."""
        if self._log_file.exists():
            lines = self._log_file.read_bytes().splitlines(keepends=True)
            write_bytes(self._log_file, b"".join(lines[:count]))

    @property
    def _log_file(self) -> Path:
        return self.directory / "log.csv"

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"agent": self.agent, "average": self.average}

    def _taught(self, start: Weights) -> Weights:
        """The actor after its lessons, or `start` where there are none. A finished file is kept."""
        task, config = self.simulator.task, self.config
        if task.teacher is None or config.lessons == 0:
            return start
        path = self.directory / "taught.safetensors"
        if not path.exists():
            teacher = task.teacher(GaussianActor.from_state_dict(start))
            imitate(self.simulator, self.agent.actor, teacher, config, self.generator)
            _save_actor(path, self.agent.actor.state_dict(), config, {})
        taught = load_tensors(path, "delete it and run the same command again, which makes it anew")
        self.agent.read(taught)
        return taught

    def _collect(self, seeds: np.ndarray, rng: np.random.Generator) -> Episodes:
        """Recorded episodes of the noisy actor."""
        weights, std = self.agent.written(self.agent.actor), self.agent.log_std.detach().exp().numpy()
        units = [
            Rollout(GaussianActor.from_state_dict(weights, std, seed=int(rng.integers(2**63))), part, record=True)
            for part in _chunks(seeds)
        ]
        return join_episodes(self.simulator.episodes(units))

    def _adapt_rate(self, kl: float, goal: float) -> None:
        if kl > 2 * goal:
            self.rate = self.rate / 1.5
        elif kl < goal / 2:
            self.rate = min(self.config.learning_rate, self.rate * 1.5)

    def _row(self, episodes: Episodes, fresh: int, kl: float) -> dict[str, Any]:
        """The log's line; scores are those of the fresh initial states."""
        return {
            "iteration": self.iteration,
            "steps": self.iteration * self.steps_per_iteration,
            "return": float(episodes.returns[:fresh].mean()),
            "success_once": float(episodes.success_once[:fresh].mean()),
            "success_at_end": float(episodes.success_at_end[:fresh].mean()),
            "std": float(self.agent.log_std.detach().exp().mean()),
            "kl": kl,
            "validation_return": "",
            "validation_success_at_end": "",
        }

    def _validate(self, row: dict[str, Any]) -> dict[str, Any]:
        """Score the averaged actor, and store it if it is the best so far."""
        actor = self.agent.written(self.average.module)
        seeds = np.array(VALIDATION_SEEDS[: self.config.validation_episodes])
        validation = roll_out(self.simulator, GaussianActor.from_state_dict(actor), seeds)
        score, success = float(validation.returns.mean()), float(validation.success_at_end.mean())
        row = row | {"validation_return": score, "validation_success_at_end": success}
        if score > self.best_score:
            self.best_score = score
            _save_actor(self.best, actor, self.config, row)
        return row

    def _log(self, row: dict[str, Any]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, row)
        before = self._log_file.read_bytes() if self._log_file.exists() else b""
        if not before:
            writer.writeheader()
        writer.writerow(row)
        write_bytes(self._log_file, before + text.getvalue().encode())

    def _save(self) -> None:
        progress = {
            "run": self.identity,
            "iteration": self.iteration,
            "best_score": self.best_score,
            "failed": sorted(self.failed),
            "rate": self.rate,
        }
        path = self.directory / "state.safetensors"
        save_training_state(path, self._modules, self.optimizer, self.generator, progress)


def load_expert(path: Path) -> Weights:
    """The actor's state dict. Raises ExpertError where the file is missing, and DamagedError.

    A zoo's expert is what the manifest beside it says.
    """
    if not path.exists():
        raise ExpertError(f"{path}: no expert; `nnbench expert train` writes one")
    remedy, beside = "restore it, or train another with `nnbench expert train`", path.with_name("manifest.json")
    files = read_manifest(beside, remedy).get("files") if beside.exists() else None
    sha256 = files.get(path.name) if isinstance(files, dict) else None
    return read_stored(path, parse_tensors, remedy, sha256=sha256)[0]


def score_expert(simulator: Simulator, expert: Weights) -> dict[str, float]:
    """The deterministic expert on 200 episodes that no training, validation or benchmark uses."""
    episodes = roll_out(simulator, GaussianActor.from_state_dict(expert), np.array(SCORING_SEEDS))
    columns = {name: getattr(episodes, name) for name in ("returns", "success_once", "success_at_end")}
    return {name: round(float(values.mean()), 4) for name, values in columns.items()} | {"episodes": len(SCORING_SEEDS)}


def roll_out(simulator: Simulator, actor: Actor, seeds: np.ndarray) -> Episodes:
    """Episodes of one actor on these seeds, in their order."""
    return join_episodes(simulator.episodes([Rollout(actor, part) for part in _chunks(seeds)]))


def measure_observations(simulator: Simulator, expert: Weights) -> Standardiser:
    """The standardiser of a task, from what its expert sees without noise and with two levels of it.

    For `Task.standardised_by`: `Standardiser.literal` is the text to write there.
    """
    seeds = np.array(OBSERVED_SEEDS).reshape(len(_OBSERVED_NOISES), -1)
    actors = [GaussianActor.from_state_dict(expert, std) for std in _OBSERVED_NOISES]
    units = [Rollout(actor, row, record=True) for actor, row in zip(actors, seeds, strict=True)]
    observed = [episodes.observations for episodes in simulator.episodes(units)]
    return Standardiser.of(np.concatenate([part.reshape(-1, part.shape[-1]) for part in observed if part is not None]))


def describe_standardiser(standardiser: Standardiser, expert: Path) -> str:
    """What to write into a task's file, after `measure_observations` of the expert in this file."""
    return f"# Measured on the expert of sha256 {file_sha256(expert)}.\nSTANDARDISER = {standardiser.literal()}"


def _chunks(seeds: np.ndarray) -> list[np.ndarray]:
    return [seeds[start : start + SCENES_PER_WORKER] for start in range(0, len(seeds), SCENES_PER_WORKER)]


def _save_actor(path: Path, actor: Weights, config: ExpertConfig, row: dict[str, object]) -> None:
    save_tensors(path, actor, {key: str(value) for key, value in (asdict(config) | row).items()})


def _fingerprint(weights: Weights) -> str:
    return hashlib.sha256(save({key: value.contiguous() for key, value in weights.items()})).hexdigest()
