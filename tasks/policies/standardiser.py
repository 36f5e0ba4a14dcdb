"""What a policy reads: the task's observations, each number standardised by constants of the task.

Joint positions of some radians that vary by tenths make a policy's action the small difference of large numbers. Of 5 %
noise on its weights a policy of PickCube-v1 that reads observations as they are then keeps hardly any success; one that
reads them standardised keeps most. Every policy of a task, distilled or generated, reads the same.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

LEAST_SCALE = 0.05
"""In the observations' units: metres, radians, rad/s. What hardly moves must not be blown up where it does."""

_FILE = Path(__file__).parent / "standardisers.json"


@dataclass(frozen=True)
class Standardiser:
    """(observation - mean) / scale."""

    mean: np.ndarray  # (O,) float64
    scale: np.ndarray  # (O,) float64

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """(..., O) to (..., O), float32."""
        standardised: np.ndarray = ((observations - self.mean) / self.scale).astype(np.float32)
        return standardised

    @classmethod
    def of(cls, observations: np.ndarray) -> "Standardiser":
        """By mean and standard deviation of these observations, (B, O), to four digits."""
        mean, scale = observations.mean(axis=0, dtype=np.float64), observations.std(axis=0, dtype=np.float64)
        return cls(mean.round(4), scale.clip(min=LEAST_SCALE).round(4))

    @property
    def sha256(self) -> str:
        """Its identity: the hash of its numbers."""
        return hashlib.sha256(np.concatenate([self.mean, self.scale]).astype("<f8").tobytes()).hexdigest()


@cache
def load_standardiser(task_name: str) -> Standardiser:
    """Of a task; `nnbench expert observations` measured it."""
    numbers = json.loads(_FILE.read_text())[task_name]
    return Standardiser(np.array(numbers["mean"]), np.array(numbers["scale"]))
