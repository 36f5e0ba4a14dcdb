"""Filmed episodes: rolled out first, then looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from tqdm import tqdm

from nnbench.presentation.film.subjects import Subject
from nnbench.tasks.simulation.camera import Camera
from nnbench.tasks.simulation.workers import Rollout, Simulator

PICTURE = 240
"""Pixels across and up."""
FRAME_STEPS = 2
"""Control steps from one picture to the next."""


@dataclass(frozen=True)
class Take:
    """One recorded episode."""

    subject: Subject
    seed: int
    total: float
    """Sum of the normalised reward."""
    solved: bool
    states: np.ndarray  # (T + 1, S)

    @property
    def outcome(self) -> str:
        return "solved" if self.solved else "not solved"

    def describe(self) -> str:
        """One line, with what the stored rows say where that differs."""
        subject = self.subject
        line = f"{subject.title}  {subject.detail}  episode {self.seed}: {self.outcome}, return {self.total:.2f}"
        if subject.known is not None:
            total, solved = subject.known[self.seed]
            if abs(total - self.total) > 1e-3 or solved != self.solved:
                line += f"; the stored rows say {'solved' if solved else 'not solved'}, return {total:.2f}"
        return line


@dataclass(frozen=True)
class Film:
    """One take in pictures."""

    take: Take
    frames: Sequence[np.ndarray]
    """(PICTURE, PICTURE, 3) uint8 of every second state, the first and the last among them."""


def roll_out(subjects: Sequence[Subject], simulator: Simulator) -> list[Take]:
    """All subjects' episodes, in their order. Nothing is rendered."""
    units = [Rollout(subject.actor, np.array(subject.seeds), record=True) for subject in subjects]
    takes = []
    for subject, found in zip(subjects, simulator.episodes(units), strict=True):
        assert found.states is not None
        solved = getattr(found, subject.headline)
        for k, seed in enumerate(subject.seeds):
            takes.append(Take(subject, seed, float(found.returns[k]), bool(solved[k]), found.states[k]))
    return takes


def shoot(takes: Sequence[Take], camera: Camera) -> list[Film]:
    """Pictures of every take. Raises RenderError."""
    states = [take.states[::FRAME_STEPS] for take in takes]
    pictures = camera.pictures(np.concatenate(states))
    found = iter(tqdm(pictures, total=sum(map(len, states)), desc="pictures", disable=None))
    return [Film(take, list(islice(found, len(rows)))) for take, rows in zip(takes, states, strict=True)]
