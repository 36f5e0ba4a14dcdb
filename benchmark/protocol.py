"""What is measured: the protocol, hashed onto every row, and the unit of work it is measured on."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from nnbench.errors import InputError
from nnbench.tasks.policies.architectures import (
    Architecture,
    Splits,
    architecture_name,
    architectures_of,
    parse_architecture,
)

FIRST_EVALUATION_SEED = 1_000_000
"""Training and validation draw their episode seeds below this, every protocol from here on."""

JOINT = "joint"
"""Stands for the architecture where the method chooses it; also the name of the split."""

_MOST, _MOST_SAMPLES = 1_000_000, 2**15 - 1
"""Of episodes, and of samples, which rows number in 16 bits."""

OF_TRACKS = ("track", "partition")
"""Fields of units that are not of the paper's track."""

_FILE_NAME_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a method's samples are scored.

    As in the paper, `samples` policies of an architecture are rolled out on the selection episodes. The `top` of them
    by mean return are rolled out again on the test episodes, which took no part in the choice. An episode is a seed;
    all policies of all methods run the same episodes. Raises InputError naming the field that is out of range.
    """

    version: int = 3
    samples: int = 100
    top: int = 10
    selection_episodes: int = 50
    screening_episodes: int = 10
    """The first selection episodes, which every sample runs. The others are run only where the top depends on them."""
    test_episodes: int = 200
    horizon: int = 50
    """Control steps per episode; none ends earlier."""
    control_mode: str = "pd_joint_delta_pos"
    selection_seed_start: int = 1_000_000
    test_seed_start: int = 2_000_000
    headline: str = "success_at_end"
    """The column of the episode rows that `success` means in a table."""

    def __post_init__(self) -> None:
        counts = ("samples", "top", "selection_episodes", "screening_episodes", "test_episodes")
        numbers = ("version", *counts, "horizon", "selection_seed_start", "test_seed_start")
        for name in numbers:
            if type(value := getattr(self, name)) is not int:
                raise InputError(f"protocol: {name}={value!r}, expected a whole number")
        for name in ("version", *counts, "horizon"):
            most = _MOST_SAMPLES if name in ("samples", "top") else _MOST
            if not 1 <= getattr(self, name) <= most:
                expected = "at least 1" if getattr(self, name) < 1 else f"at most {most:,}"
                raise InputError(f"protocol: {name}={getattr(self, name)}, expected {expected}")
        if self.top > self.samples:
            raise InputError(f"protocol: top={self.top} of samples={self.samples}, expected top <= samples")
        if self.screening_episodes > self.selection_episodes:
            raise InputError(
                f"protocol: screening_episodes={self.screening_episodes} of selection_episodes="
                f"{self.selection_episodes}, expected screening_episodes <= selection_episodes: name both"
            )
        for name in ("selection_seed_start", "test_seed_start"):
            if getattr(self, name) < FIRST_EVALUATION_SEED:
                raise InputError(
                    f"protocol: {name}={getattr(self, name)}, expected {FIRST_EVALUATION_SEED} or more: "
                    "training uses the seeds below"
                )
            if getattr(self, name) >= 2**31 - _MOST:
                raise InputError(f"protocol: {name}={getattr(self, name)}, expected less than {2**31 - _MOST:,}")
        selection, test = self.selection_seeds, self.test_seeds
        if selection.start < test.stop and test.start < selection.stop:
            raise InputError(
                f"protocol: selection seeds {selection.start} to {selection[-1]} and test seeds {test.start} to "
                f"{test[-1]} overlap, expected disjoint ranges: move test_seed_start"
            )
        if self.headline not in ("success_at_end", "success_once"):
            raise InputError(f"protocol: headline={self.headline!r}, expected 'success_at_end' or 'success_once'")

    @property
    def selection_seeds(self) -> range:
        """Seeds of the episodes that the top policies are chosen by."""
        return range(self.selection_seed_start, self.selection_seed_start + self.selection_episodes)

    @property
    def screening_seeds(self) -> range:
        """Seeds of the selection episodes that every sample runs."""
        return self.selection_seeds[: self.screening_episodes]

    @property
    def setting(self) -> tuple[int, int, str]:
        """What an episode depends on beside its seed and the policy."""
        return self.version, self.horizon, self.control_mode

    @property
    def test_seeds(self) -> range:
        """Seeds of the episodes that the chosen policies are scored on."""
        return range(self.test_seed_start, self.test_seed_start + self.test_episodes)

    @cached_property
    def sha256(self) -> str:
        """Hash of all fields: equal protocols have equal hashes, in any process and on any machine."""
        return _hash(asdict(self))

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits of `sha256`, which every row carries."""
        return self.sha256[:12]


PROTOCOLS: Mapping[str, Protocol] = {
    "paper": Protocol(),
    "quick": Protocol(samples=50, top=5, selection_episodes=20, test_episodes=50),
}
"""By name: `paper` is the benchmark's own, `quick` a first look on about a fifth of its episodes."""


def named_protocol(name: str, **numbers: Any) -> Protocol:
    """The protocol of a name, with other numbers where they are given. Raises InputError for an unknown name."""
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}: expected one of {', '.join(PROTOCOLS)}")
    return replace(PROTOCOLS[name], **numbers)


def protocol_name(protocol: Protocol) -> str:
    """Its name, else the first digits of its hash."""
    return next((name for name, known in PROTOCOLS.items() if known == protocol), protocol.short)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The smallest piece of work: one trained method, asked once for policies of one architecture.

    In the split `joint` the method chooses the architecture of each policy. Raises InputError where a field cannot be
    part of a file name.
    """

    protocol: Protocol
    task: str
    method: str
    method_sha256: str
    """Identity of the trained method: methods of equal hashes generate equal weights."""
    generator_seed: int
    arch: Architecture | None
    """None where the method chooses the architectures."""
    track: str = "paper"
    """The `Track.label` of what was learned from and is asked for."""
    partition: str = ""
    """What the track calls the architecture; empty on the paper's track, whose splits say it."""

    def __post_init__(self) -> None:
        for name in ("task", "method", "track"):
            if not _FILE_NAME_PART.fullmatch(getattr(self, name)):
                raise InputError(
                    f"unit: {name}={getattr(self, name)!r} names files, expected letters, digits, '-', '_' and '.', "
                    "beginning with a letter or digit"
                )

    @property
    def fields(self) -> dict[str, Any]:
        """All fields as JSON values, the protocol's among them; of the paper's track those that older units have."""
        fields = {**asdict(self), "arch": self.asked_for}
        return {name: value for name, value in fields.items() if self.track != "paper" or name not in OF_TRACKS}

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "Unit":
        """The unit that has these `fields`."""
        arch = None if fields["arch"] == JOINT else parse_architecture(fields["arch"])
        return cls(**(fields | {"protocol": Protocol(**fields["protocol"]), "arch": arch}))

    @cached_property
    def key(self) -> str:
        """The stem of the unit's files: readable, and unique by a hash of all fields."""
        return f"{self.method}-{self.task}-{self.asked_for}-s{self.generator_seed}-{_hash(self.fields)[:12]}"

    @property
    def asked_for(self) -> str:
        """The architecture's name, or `joint`."""
        return JOINT if self.arch is None else architecture_name(self.arch)


def architectures_asked(
    split: str, only: str | None = None, splits: Splits | None = None
) -> tuple[Architecture | None, ...]:
    """What `Unit.arch` is in turn for a split: `architectures_of`, or the single None for the split `joint`.

    Raises InputError.
    """
    if split != JOINT:
        return architectures_of(split, only, splits)
    if only is not None:
        raise InputError("in the split joint the method chooses the architectures: leave --archs out")
    return (None,)


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
