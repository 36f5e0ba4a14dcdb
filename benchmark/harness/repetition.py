"""Rolls tested networks out again on their test episodes, and tells rounding from another result.

Rows of another make of processor differ by rounding, which contacts amplify: the numbers and where they were measured
are in `nnbench.tasks.zoo.validation`. On the same make nearly all episodes are equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from nnbench.harness.verification import Examined
from nnbench.tasks.policies.architectures import parse_architecture
from nnbench.tasks.policies.mlp import PolicyActor, check_weights
from nnbench.tasks.simulation.episodes import join_episodes
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator
from nnbench.tasks.zoo.validation import SPREAD

TOLERANCE = 5.0
"""Standard errors of the difference that rounding makes; `nnbench zoo verify` allows as many."""
REDRAWN = 0.25
"""Share of a network's episodes that another make of processor turns into other episodes of the same network.

`SPREAD` was measured on the zoo's policies, which nearly always solve the task. What solves it now and then differs by
more. Fitted once to such networks of StackCubeEasy-v1, of rows of one make rolled out on the other; no command repeats
that.
"""
_DIGIT = 1e-4
"""The last bits of a return are the machine's."""


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """What rows say of a tested network, or of several in the mean, and what came out when rolled out again."""

    samples: int
    """How many networks."""
    about: str
    """Which."""
    episodes: int
    equal: int
    """Episodes that came out as the rows say, to the digit."""
    stated: Mapping[str, float]
    """Means over the episodes of `return`, `success_once` and `success_at_end`, by the rows."""
    found: Mapping[str, float]
    """The same, rolled out again."""
    spread: Mapping[str, float]
    """Standard deviation of the difference that rounding makes to an episode."""

    @property
    def explained(self) -> bool:
        """Whether rounding explains the differences."""
        limits = {name: TOLERANCE * spread / np.sqrt(self.episodes) for name, spread in self.spread.items()}
        return all(abs(self.found[name] - self.stated[name]) <= limit for name, limit in limits.items())

    def __str__(self) -> str:
        return (
            f"{self.about} rolled out again: return {self.found['return']:.2f} (rows {self.stated['return']:.2f}), "
            f"success {self.found['success_at_end']:.1%} ({self.stated['success_at_end']:.1%}), {self.equal} of "
            f"{self.episodes} episodes equal"
        )


def repeat(examined: Examined, rank: int, simulator: Simulator) -> Repetition:
    """Roll out the tested network of this rank. Raises InvalidWeights where it is no policy of the simulator's task."""
    sample, task = examined.sample(rank), simulator.task
    tests = pc.and_(pc.equal(examined.rows["sample"], sample), pc.equal(examined.rows["stage"].cast("string"), "test"))
    rows = examined.rows.filter(tests)
    arch, owner = parse_architecture(rows["arch"][0].as_py()), f"{examined.unit.key}, sample {sample}"
    policy = check_weights(examined.weights[sample], arch, task.observation_dim, task.action_dim, owner)
    seeds = rows["episode_seed"].to_numpy()
    parts = [seeds[start : start + SCENES_PER_WORKER] for start in range(0, len(seeds), SCENES_PER_WORKER)]
    units = [Rollout(PolicyActor.stack([policy], np.zeros(len(part), int), task.standardiser), part) for part in parts]
    episodes = join_episodes(simulator.episodes(units))
    found = {
        "return": episodes.returns,
        "success_once": episodes.success_once,
        "success_at_end": episodes.success_at_end,
    }
    stated = {name: np.array(rows[name].to_pylist(), found[name].dtype) for name in SPREAD}
    equal = np.all([np.abs(stated[name].astype(float) - found[name]) < _DIGIT for name in SPREAD], axis=0)
    return Repetition(
        samples=1,
        about=f"sample {sample} (rank {rank})",
        episodes=len(seeds),
        equal=int(equal.sum()),
        stated={name: float(values.mean()) for name, values in stated.items()},
        found={name: float(values.mean()) for name, values in found.items()},
        spread={name: max(SPREAD[name], float(np.sqrt(2 * REDRAWN) * values.std())) for name, values in found.items()},
    )


def average(networks: Sequence[Repetition]) -> Repetition:
    """The mean of several: what is too little to be seen of one is seen of many. One alone stays as it is."""
    if len(networks) == 1:
        return networks[0]
    stated, found = (
        {name: float(np.mean([scores[name] for scores in sides])) for name in SPREAD}
        for sides in ([one.stated for one in networks], [one.found for one in networks])
    )
    return Repetition(
        samples=len(networks),
        about=f"{len(networks)} networks",
        episodes=sum(one.episodes for one in networks),
        equal=sum(one.equal for one in networks),
        stated=stated,
        found=found,
        spread={name: float(np.sqrt(np.mean([one.spread[name] ** 2 for one in networks]))) for name in SPREAD},
    )
