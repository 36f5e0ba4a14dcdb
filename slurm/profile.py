"""Profiles: where jobs run and what they ask for, as small TOML files. `cpu`, `gpu` and `local` ship."""

from dataclasses import dataclass
from pathlib import Path

from nnbench.errors import InputError
from nnbench.slurm.configuration import ConfigurationError, read_configuration

SHIPPED = Path(__file__).parent / "profiles"

_SIGNAL_SLACK_S = 60
"""SLURM sends the signal before the time limit up to this much too early."""


def require_word(name: str, value: str | None) -> None:
    """Raise InputError for text that is no one word of printable signs: SLURM would read something else."""
    if value is not None and (not value or not value.isprintable() or " " in value):
        raise InputError(f"{name} = {value!r}, expected one word")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job asks for. Raises InputError for what no job can have."""

    minutes: int
    """Time limit. A training that needs longer goes on in another job."""
    cpus: int | None = None
    """Cores and simulation workers, default all of the machine; needed on SLURM."""
    memory_gb: float | None = None
    gpus: int = 0
    gres: str | None = None
    """As of `sbatch --gres`, where `gpus` (`--gpus-per-node`) is not the cluster's way."""
    partition: str | None = None
    qos: str | None = None
    pack_minutes: int = 60
    """Units are packed into a job until their estimates sum up to this."""

    def __post_init__(self) -> None:
        ranges = {"minutes": (1, 10**7), "pack_minutes": (1, 10**7), "cpus": (1, 10**5), "gpus": (0, 10**4)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                expected = f"at least {low}" if value < low else f"at most {high}"
                raise InputError(f"{name} = {value}, expected {expected}")
        if self.memory_gb is not None and not 0 < self.memory_gb <= 10**6:  # so that NaN is refused
            raise InputError(f"memory_gb = {self.memory_gb}, expected more than 0, at most {10**6}")
        for name in ("gres", "partition", "qos"):
            require_word(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A cluster as one user sees it."""

    training: Resources
    """Of jobs that train hypernetworks and generators."""
    rollouts: Resources
    """Of jobs that validate policies, roll out, and write tables."""
    account: str | None = None
    setup: tuple[str, ...] = ()
    """Shell lines before each job, to load modules or activate an environment."""
    parallel: int = 1
    """Jobs of an array that run at a time."""
    requeues: int = 3
    """How often a job that met its time limit goes on by itself."""
    signal_s: int = 120
    """How long before its time limit a job is told to stop."""

    def __post_init__(self) -> None:
        for name, low, high in (("parallel", 1, 10**6), ("requeues", 0, 10**4), ("signal_s", 0, 10**6)):
            value = getattr(self, name)
            if not low <= value <= high:
                expected = f"at least {low}" if value < low else f"at most {high}"
                raise InputError(f"{name} = {value}, expected {expected}")
        require_word("account", self.account)
        for name in ("training", "rollouts"):
            minutes = getattr(self, name).minutes
            if minutes * 60 <= self.signal_s + _SIGNAL_SLACK_S:
                raise InputError(
                    f"{name}: minutes = {minutes} with signal_s = {self.signal_s}, expected a time limit of more than "
                    f"signal_s + {_SIGNAL_SLACK_S} s: a job might be told to stop as it starts"
                )

    def calm_s(self, resources: Resources) -> float:
        """So many seconds after its start a job may be told to stop for its time limit, and not earlier."""
        return resources.minutes * 60.0 - self.signal_s - _SIGNAL_SLACK_S


def load_profile(name: str) -> Profile:
    """A profile that ships, by name, or a file. Raises ConfigurationError."""
    path = SHIPPED / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
        raise ConfigurationError(f"unknown profile {name!r}: expected one of {known}, or a TOML file")
    return read_configuration(path, Profile)
