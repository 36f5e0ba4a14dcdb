"""Profiles: where jobs run and what they ask for, as small TOML files. `cpu`, `gpu` and `local` ship."""

from dataclasses import dataclass
from pathlib import Path

from nnbench.errors import InputError
from nnbench.slurm.configuration import ConfigurationError, read_configuration

SHIPPED = Path(__file__).parent / "profiles"

_SIGNAL_SLACK_S = 60
"""SLURM sends the signal before the time limit up to this much too early."""


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
        for name in ("minutes", "pack_minutes", "cpus"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} = {value}, expected at least 1")


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
        if self.parallel < 1:
            raise InputError(f"parallel = {self.parallel}, expected at least 1")
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
    if not path.exists():
        path = Path(name)
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
        raise ConfigurationError(f"unknown profile {name!r}: expected one of {known}, or a TOML file")
    return read_configuration(path, Profile)
