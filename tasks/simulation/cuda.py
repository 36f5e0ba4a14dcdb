"""Rollouts on a GPU: ManiSkill's own `physx_cuda`, as many environments as fit, one policy a row.

The interface is `Simulator`'s. PhysX on a GPU sums in no fixed order, so episodes repeat in distribution only.

N is the number of environments, K the number of episodes stepped together, T the horizon.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbench.tasks.policies.mlp import Actor
from nnbench.tasks.simulation.engine import Engine, Episodes, Task, check_actions, make_environment, summarise
from nnbench.tasks.simulation.workers import Rollout, Simulator


class CudaEngine:
    """N environments of one task in one ManiSkill scene."""

    def __init__(self, task: Task, environments: int, backend: str = "physx_cuda") -> None:
        self.task, self.scenes = task, environments
        self._env = make_environment(task, environments, backend)

    def rollout(self, initial_states: np.ndarray, actor: Actor, seeds: np.ndarray, record: bool) -> Episodes:
        """Whole episodes from these initial states; environments beyond the last are stepped and ignored.

        Raises SimulationError on an action that is not finite or of another shape.
        """
        import torch

        count = len(initial_states)
        # What is never read again is simulated all the same; a copy of a real state cannot blow up.
        padded = np.concatenate([initial_states, np.repeat(initial_states[-1:], self.scenes - count, axis=0)])
        observations, executed, rewards, success = [self._reset(padded)[:count]], [], [], []
        states = [self._states()[:count]] if record else None
        for t in range(self.task.horizon):
            actions = actor(observations[-1])
            check_actions(self.task, actions, seeds, t)
            executed.append(actions)
            idle = np.zeros((self.scenes - count, self.task.action_dim), np.float32)
            everyone = torch.from_numpy(np.concatenate([actions, idle])).to(self._env.device)
            observation, reward, _, _, info = self._env.step(everyone)
            observations.append(observation[:count].cpu().numpy())
            rewards.append(reward[:count].cpu().numpy().astype(np.float32))
            success.append(info["success"][:count].cpu().numpy())
            if states is not None:
                states.append(self._states()[:count])
        scored = np.stack(rewards, axis=1), np.stack(success, axis=1)
        return summarise(seeds, observations, executed, *scored, record, states)

    def _reset(self, initial_states: np.ndarray) -> np.ndarray:
        self._env.reset(seed=0)  # at rest
        self._place(initial_states)
        self._env.scene.step()  # in place: `is_grasped` speaks of the contacts of the last step
        self._place(initial_states)
        observation: np.ndarray = self._env.get_obs(self._env.get_info()).cpu().numpy()
        return observation

    def _states(self) -> np.ndarray:
        import torch

        env = self._env
        poses = [getattr(env, name).pose.raw_pose for name in self.task.bodies]
        states: np.ndarray = torch.cat([env.agent.robot.get_qpos(), *poses], dim=1).cpu().numpy()  # (N, 9 + 7 per body)
        return states

    def _place(self, initial_states: np.ndarray) -> None:
        import torch
        from mani_skill.utils.structs.pose import Pose

        env: Any = self._env
        states = torch.from_numpy(initial_states).to(env.device)  # (N, 9 + 7 per body)
        env.agent.robot.set_qpos(states[:, :9])
        env.agent.robot.set_qvel(torch.zeros_like(states[:, :9]))
        for b, name in enumerate(self.task.bodies):
            body = getattr(env, name)
            body.set_pose(Pose.create(states[:, 9 + 7 * b : 16 + 7 * b]))
            if body.px_body_type == "dynamic":
                body.set_linear_velocity(torch.zeros_like(states[:, :3]))
                body.set_angular_velocity(torch.zeros_like(states[:, :3]))
        if env.gpu_sim_enabled:
            env.scene._gpu_apply_all()
            env.scene.px.gpu_update_articulation_kinematics()
            env.scene._gpu_fetch_all()


class CudaSimulator:
    """`Simulator` with one engine instead of worker processes: units are joined until they fill the engine.

    `bank` is a Simulator of the task, one worker is enough: an episode's initial state is that of ManiSkill's reset on
    the CPU, and PhysX on the GPU wants a process without it.
    """

    def __init__(self, engine: CudaEngine | Engine, bank: Simulator) -> None:
        self.task = engine.task
        self.workers = 1
        self._engine = engine
        self._bank = bank

    def rollout(self, units: Iterable[Rollout]) -> Iterator[tuple[int, Episodes]]:
        """Run the units; yields (position in `units`, episodes) in their order."""
        batch: list[Rollout] = []
        first = 0
        for unit in units:
            if not 1 <= len(unit.seeds) <= self._engine.scenes:
                raise ValueError(f"a rollout of {len(unit.seeds)} episodes: expected 1 to {self._engine.scenes}")
            if sum(len(other.seeds) for other in batch) + len(unit.seeds) > self._engine.scenes:
                yield from enumerate(self._run(batch), first)
                first, batch = first + len(batch), []
            batch.append(unit)
        if batch:
            yield from enumerate(self._run(batch), first)

    def episodes(self, units: Sequence[Rollout]) -> list[Episodes]:
        """All units' episodes, in the order of the units."""
        return [episodes for _, episodes in self.rollout(units)]

    def _run(self, batch: list[Rollout]) -> list[Episodes]:
        bounds = np.cumsum([len(unit.seeds) for unit in batch])[:-1]
        seeds = np.concatenate([unit.seeds for unit in batch])
        actor = _Rows([unit.actor for unit in batch], bounds)
        record = any(unit.record for unit in batch)
        whole = self._engine.rollout(self._bank.initial_states(seeds.tolist()), actor, seeds, record)
        columns = [[None] * len(batch) if column is None else np.split(column, bounds) for column in whole]
        parts = [Episodes._make(values) for values in zip(*columns, strict=True)]
        return [
            part if unit.record else part._replace(observations=None, actions=None, rewards=None, states=None)
            for unit, part in zip(batch, parts, strict=True)
        ]


@dataclass(frozen=True)
class _Rows:
    """Several actors side by side, each for its own rows."""

    actors: list[Actor]
    bounds: np.ndarray
    """First row of every actor but the first."""

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        parts = np.split(observations, self.bounds)
        return np.concatenate([actor(part) for actor, part in zip(self.actors, parts, strict=True)])
