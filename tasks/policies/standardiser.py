"""What a policy reads: the task's observations, each number standardised by constants of the task.

Joint positions are some radians and vary by tenths. A policy that reads them as they are makes its action of small
differences between large numbers. 5 % noise on the weights of such a policy of PickCube-v1 costs it almost all success;
a policy that reads standardised observations keeps most of it. All policies of a task read the same, whether distilled
or generated.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

LEAST_SCALE = 0.05
"""In the observations' units: metres, radians, rad/s. What hardly moves must not be blown up where it does."""

_LINE = 120


@dataclass(frozen=True, eq=False)
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

    def literal(self) -> str:
        """Python source that makes this standardiser, for the file of its task."""
        mean, scale = (_array_literal(values) for values in (self.mean, self.scale))
        return f"Standardiser(\n    mean={mean},\n    scale={scale},\n)  # fmt: skip"


def _array_literal(values: np.ndarray) -> str:
    lines = [""]
    for value in values.tolist():
        word = f"{value!r},"
        if len(lines[-1]) + len(word) + 9 > _LINE:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(["np.array([", *(f"        {line}" for line in lines), "    ])"])
