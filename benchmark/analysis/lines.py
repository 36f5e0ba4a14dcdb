"""Numbers of the tables for machines: one line per number."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One number of a table, with its interval and what the paper reports. A row of a table's CSV."""

    table: str
    task: str
    split: str
    method: str
    generator_seeds: str
    """The seeds that it is the mean of, `0+1+2`."""
    arch: str | None
    """None for the mean over a split's architectures."""
    metric: str
    measured: float | None
    lo: float | None
    hi: float | None
    reported: float | None
    verdict: str
    against: str | None = None
    """The method whose number was subtracted, on the same episodes."""
    reads: str | None = None
    """What the method may use of the zoo, `weights+states` or `nothing`; None where a row is of no method."""


@dataclass(frozen=True)
class JoinedLine(Line):
    """A line of a view that joins several folders."""

    protocol: str = ""
    """The first digits of the hash; empty where nothing was measured."""
    origin: str = ""
    """`own` or `reference`."""


@dataclass(frozen=True)
class TrackLine(JoinedLine):
    """A line of another track than the paper's."""

    track: str = ""
    """`Track.label`."""
