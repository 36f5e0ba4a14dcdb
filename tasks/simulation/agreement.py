"""Whether a task's own formulas give what ManiSkill's environment gives, step by step.

K is the number of episodes, T the horizon, O the observation dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbench.tasks.simulation.engine import Engine
from nnbench.tasks.simulation.scene import make_environment
from nnbench.tasks.task import Actor, Evaluation, Task


@dataclass(frozen=True)
class Agreement:
    """How far a task's observations, rewards and successes are from those of `env.step`."""

    steps: int
    successes: int
    """Steps at which the environment reports success; without any, success and its reward are untested."""
    observation: float
    """Largest absolute difference of a number in an observation."""
    reward: float
    """Largest absolute difference of a reward."""
    success: int
    """Steps at which only one of the two reports success."""


def compare_with_maniskill(task: Task, actor: Actor, seeds: Sequence[int]) -> Agreement:
    """Play the actor's episodes on these seeds in the engine, repeat its actions in ManiSkill, and compare.

    An actor that moves the bodies tests more than one that does not. Rounding makes differences of up to 1e-4.
    """
    engine = Engine(task, len(seeds))
    ours = [engine.reset(engine.capture_initial_states(seeds))]
    actions = []
    for _ in range(task.horizon):
        actions.append(actor(ours[-1].observation))
        ours.append(engine.step(actions[-1]))
    played = np.stack(actions, axis=1)  # (K, T, A)
    environment = make_environment(task)
    theirs = [_play(environment, seed, row) for seed, row in zip(seeds, played, strict=True)]
    observations = np.stack([part.observation for part in theirs], axis=1)  # (T + 1, K, O)
    rewards, success = (np.stack([getattr(part, name) for part in theirs], axis=1) for name in ("reward", "success"))
    return Agreement(
        steps=success.size,
        successes=int(success.sum()),
        observation=_largest(np.stack([step.observation for step in ours]), observations),
        reward=_largest(np.stack([step.reward for step in ours[1:]]), rewards),
        success=int((np.stack([step.success for step in ours[1:]]) != success).sum()),
    )


def _play(environment: Any, seed: int, actions: np.ndarray) -> Evaluation:
    """One episode's observations (T + 1, O), rewards (T,) and successes (T,)."""
    import torch

    # In a scene that was used before, ManiSkill's reset reports a grasp of the last episode's last contacts.
    first, _ = environment.reset(seed=int(seed), options={"reconfigure": True})
    observations, rewards, success = [first.numpy()[0]], [], []
    for action in torch.from_numpy(actions):
        observation, reward, _, _, info = environment.step(action)
        observations.append(observation.numpy()[0])
        rewards.append(float(reward))
        success.append(bool(info["success"]))
    return Evaluation(np.stack(observations), np.array(rewards), np.array(success))


def _largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs).max())
