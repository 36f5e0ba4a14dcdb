"""What a task is: which bodies of a ManiSkill environment are read, what is made of them, and every fact about it.

K is the number of scenes stepped together, O and A the observation and action dimensions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from nnbench.errors import NnbenchError
from nnbench.tasks.policies.standardiser import Standardiser

ReportedRow = Mapping[str, str | float]
"""One row that the paper printed: what it is about (`method`, `partition`, `arch`) and its numbers by name."""


class TaskError(NnbenchError, ValueError):
    """A task that is unknown, cannot be loaded, or lacks a fact that is asked for."""


class State(NamedTuple):
    """What the bodies of K scenes are doing; all float32 unless said otherwise."""

    qpos: np.ndarray  # (K, 9) rad, fingers m
    qvel: np.ndarray  # (K, 9) rad/s, fingers m/s
    tcp_pose: np.ndarray  # (K, 7) position m, quaternion wxyz
    grasped: np.ndarray  # (K,) bool
    poses: dict[str, np.ndarray]  # body to (K, 7)
    velocities: dict[str, np.ndarray]  # body to (K, 6) linear m/s, angular rad/s


class Evaluation(NamedTuple):
    """What a task makes of a state."""

    observation: np.ndarray  # (K, O) float32
    reward: np.ndarray  # (K,) float32 in [0, 1]
    success: np.ndarray  # (K,) bool


class View(NamedTuple):
    """Where pictures are taken from, so that everything an episode places is in sight; positions in metres."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    field_rad: float
    """Opening angle, across and up."""


class Actor(Protocol):
    """What the simulator asks for actions: observations (K, O) in, actions (K, A) out, both float32."""

    def __call__(self, observations: np.ndarray, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Filter:
    """Which policies are good enough to learn from (paper, table 5).

    Thresholds on the mean return and on the share of success at the end, and the episodes that these are judged on.
    """

    min_return: float = 35.0
    min_success: float = 0.9
    episodes: int = 64
    first_seed: int = 500_200
    best: int = 100
    """At most this many policies per architecture, by mean return."""


@dataclass(frozen=True, kw_only=True)
class PaperDagger:
    """How the paper trains a hypernetwork by DAgger on this task (paper, table 5)."""

    iterations: int
    beta: float
    """In iteration i the expert acts with probability beta^i."""
    architectures: int
    """Architectures per Adam step."""


@dataclass(frozen=True)
class Task:
    """A ManiSkill task with the Panda arm, and everything that nnbench knows about it."""

    name: str
    """The environment id of gymnasium."""
    observation_dim: int
    action_dim: int
    horizon: int
    """Control steps per episode; none ends earlier."""
    bodies: tuple[str, ...]
    """Attributes of the ManiSkill environment: everything that an episode places, and whose poses the task reads."""
    evaluate: Callable[[State], Evaluation]
    view: View
    grasped: str | None = None
    """The body that `State.grasped` is about; without one it is false."""
    velocities: tuple[str, ...] = ()
    """Those of the bodies whose velocities the task reads."""
    registers: str | None = None
    """The module whose import registers the environment with gymnasium, where ManiSkill does not."""
    teacher: Callable[[Actor], Actor] | None = None
    """Adapts another task's expert to this task, so that it succeeds now and then: a new expert starts from it."""
    filter: Filter = Filter()
    standardised_by: Standardiser | None = None
    """None until the task has an expert: its numbers are measured on what the expert sees."""
    paper_dagger: PaperDagger | None = None
    """None where the paper does not train hypernetworks on this task."""
    reported: Mapping[int, tuple[ReportedRow, ...]] = field(default_factory=dict)
    """What the NNiT paper printed for this task: the number of its table to the rows there, in its order."""
    file: Path | None = None
    """The Python file that defines a task which does not ship; `load_task` sets it."""
    code_sha256: str | None = None
    """Identity of that file's code and of what it imports; `load_task` sets it too."""

    @property
    def source(self) -> str:
        """What `load_task` takes in any process to return this task."""
        return str(self.file) if self.file is not None else self.name

    @property
    def standardiser(self) -> Standardiser:
        """Standardises what this task's policies read. Raises TaskError where the task has none yet."""
        if self.standardised_by is None:
            raise TaskError(
                f"{self.name}: its observations have no standardiser yet; train an expert (`nnbench expert train --task"
                f" {self.source}`), and write what `nnbench expert observations --task {self.source}` prints into the "
                "task's file"
            )
        return self.standardised_by


def closeness(distance_m: np.ndarray) -> np.ndarray:
    """1 at no distance, falling to 0: the shape of most terms of ManiSkill's dense rewards."""
    return 1 - np.tanh(5 * distance_m)
