"""The contract of a weight generator: all that a method sees of the harness.

A method is a module with a class `Method` that satisfies `Generator`. The smallest one:

    class Method(Generator):
        name = "mine"

        @classmethod
        def fit(cls, training, *, seed, directory):
            return cls()                       # learn from training.networks(arch) for arch in training.architectures

        def generate(self, arch, n, *, seed=0):
            return [...]                       # n state dicts of architecture `arch`

        def save(self, directory): ...

        @classmethod
        def load(cls, directory, training): return cls()
"""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

from nnbench.facts import Further, Reading, Role
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.policies.training_set import TrainingSet

__all__ = ["Architecture", "Autoencoder", "Generator", "JointGenerator", "TrainingSet", "Untrained", "Weights"]


class Generator(Protocol):
    """Learns from a zoo of policies and writes policies of any architecture asked for.

    The harness seeds, times and validates; a method touches no global random state.

    The class attributes are the method's facts (`nnbench.facts.Facts` explains them). State those that differ from the
    defaults as literals in the class body: tables read them there, without importing the method.
    """

    name: ClassVar[str]
    """The word after `--method`, and the name of the file."""
    role: ClassVar[Role] = "generator"
    variant_of: ClassVar[tuple[str, str] | None] = None
    reads: ClassVar[tuple[Reading, ...]] = ("weights",)
    """Only a method that names `hypernetworks` here may ask for `training.hypernetwork_policies`."""
    reference: ClassVar[str | None] = None
    seen_only: ClassVar[bool] = False
    writes: ClassVar[tuple[Further, ...]] = ()
    trains_each: ClassVar[bool] = False
    trained_as: ClassVar[str | None] = None
    """Then `load` is given what the method of this name saved, and `fit` only examines (`nnbench check`)."""
    version: ClassVar[int] = 1

    @classmethod
    @abstractmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path) -> Self:
        """Learn from the training networks; seconds are enough where `training.rehearsal` is true.

        `directory` is the method's own for resume state; it survives a kill, and the same call then goes on from there.
        """
        ...

    @abstractmethod
    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of an architecture, as state dicts of `nn.Sequential(Linear, ReLU, ..., Linear)`.

        A function of its arguments alone: equal calls give equal weights.
        """
        ...

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write what `load` needs into an existing empty directory: safetensors and JSON, no pickle."""
        ...

    @classmethod
    @abstractmethod
    def load(cls, directory: Path, training: TrainingSet) -> Self:
        """Read what `save` wrote. Raises an error that names the file where it does not fit."""
        ...


@runtime_checkable
class JointGenerator(Protocol):
    """A `Generator` with this method also chooses architectures (the split `joint`)."""

    def generate_joint(self, n: int, *, seed: int = 0) -> list[tuple[Architecture, Weights]]:
        """n architectures, each with one policy. A function of its arguments alone."""
        ...


@runtime_checkable
class Autoencoder(Protocol):
    """A `Generator` with this method encodes policies and decodes them again (`nnbench roundtrip`)."""

    def reconstruct(self, policies: list[Weights], arch: Architecture) -> list[Weights]:
        """Each policy of an architecture, encoded and decoded, its neurons in the order they were in.

        A function of its arguments alone: where encoding is random, take its mean.
        """
        ...


class Untrained(Generator):
    """A baseline: it learns nothing, stores nothing, and only keeps the training set."""

    role: ClassVar[Role] = "baseline"

    def __init__(self, training: TrainingSet) -> None:
        self.training = training

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path) -> Self:
        """Look at nothing yet."""
        return cls(training)

    def save(self, directory: Path) -> None:
        """Nothing to write."""

    @classmethod
    def load(cls, directory: Path, training: TrainingSet) -> Self:
        """Nothing to read."""
        return cls(training)
