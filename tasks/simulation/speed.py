"""How fast rollouts are: ManiSkill's own loop, the engine, and PhysX alone, measured in one run.

All play the same wild actions. For PhysX alone, only `step()` of the same scenes is timed, so no loop around it can be
faster.
"""

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from nnbench.tasks.policies.mlp import GaussianActor
from nnbench.tasks.simulation.engine import Engine
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator
from nnbench.tasks.task import Task


def measure_speed(task: Task, rounds: int = 7) -> dict[str, float]:
    """Control steps per second: `env_step`, `engine_1` and `engine_2` (workers), `physx_only`.

    Each is the median of the rounds. The four take turns, so that other work on the machine slows all of them.
    """
    with Simulator(task, 1) as one, Simulator(task, 2) as two:
        measures = {
            "env_step": _env_step(task),
            "engine_1": _simulator(one, 2 * SCENES_PER_WORKER),
            "engine_2": _simulator(two, 4 * SCENES_PER_WORKER),
            "physx_only": _physx_only(task),
        }
        turns = [{name: measure() for name, measure in measures.items()} for _ in range(rounds)]
    return {name: median(turn[name] for turn in turns) for name in measures}


def wild_actor(task: Task, seed: int) -> GaussianActor:
    """Standard normal actions whatever the observation; a third of them lie beyond the limits."""
    weights = np.zeros((task.action_dim, task.observation_dim), np.float32)
    std = np.ones(task.action_dim, np.float32)
    return GaussianActor((weights,), (np.zeros(task.action_dim, np.float32),), std, np.random.default_rng(seed))


def _env_step(task: Task) -> Callable[[], float]:
    import torch

    env = Engine(task, 1).environment
    actor = wild_actor(task, 0)

    def measure() -> float:
        elapsed, episodes = 0.0, 2
        for seed in range(episodes):
            env.reset(seed=seed)
            actions = torch.from_numpy(actor(np.zeros((task.horizon, task.observation_dim), np.float32)))
            began = time.perf_counter()
            for action in actions:
                env.step(action)
            elapsed += time.perf_counter() - began
        return episodes * task.horizon / elapsed

    return measure


def _physx_only(task: Task) -> Callable[[], float]:
    engine = Engine(task, SCENES_PER_WORKER)
    states = engine.capture_initial_states(range(SCENES_PER_WORKER))
    actor = wild_actor(task, 0)

    def measure() -> float:
        elapsed = 0.0
        observation = engine.reset(states).observation
        for _ in range(task.horizon):
            engine.drive(actor(observation))
            began = time.perf_counter()
            engine.simulate(SCENES_PER_WORKER)
            elapsed += time.perf_counter() - began
            observation = engine.observe(SCENES_PER_WORKER).observation
        return SCENES_PER_WORKER * task.horizon / elapsed

    return measure


def _simulator(simulator: Simulator, episodes: int) -> Callable[[], float]:
    task = simulator.task
    units = [
        Rollout(wild_actor(task, int(seeds[0])), seeds)
        for seeds in np.split(np.arange(episodes), episodes // SCENES_PER_WORKER)
    ]
    simulator.episodes(units)  # the workers are up and their bank of initial states is full

    def measure() -> float:
        began = time.perf_counter()
        simulator.episodes(units)
        return episodes * task.horizon / (time.perf_counter() - began)

    return measure
