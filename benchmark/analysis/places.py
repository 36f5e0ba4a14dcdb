"""What the cells of tables 2 to 4 are about, and which units the results of one folder and protocol have of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from nnbench.analysis.reported import SUBJECT, reported_cells, tasks_of
from nnbench.analysis.results import Results
from nnbench.analysis.rows import asked_of
from nnbench.protocol import JOINT
from nnbench.tasks.policies.architectures import parse_architecture
from nnbench.tasks.policies.tracks import Track

Origin = Literal["own", "reference"]
TableName = Literal["2", "3", "4"]
PARTITIONS = ("train", "seen", "unseen", "outside", "widths", "depths", JOINT)
"""What a cell may be a mean over, in the order of the tables."""


@dataclass(frozen=True)
class Place:
    """What a cell is about, but for its method."""

    table: TableName
    task: str
    partition: str
    arch: str | None
    """Of table 4."""
    archs: tuple[str, ...]
    """The architectures that it is the mean over."""
    papers: bool
    """Whether it is on the paper's track."""


@dataclass(frozen=True, eq=False)
class Layer:
    """The results of one folder and one protocol."""

    results: Results
    origin: Origin

    @cached_property
    def units(self) -> Mapping[tuple[str, str], Mapping[int, set[str]]]:
        """Task and method to generator seed to the architectures that are finished."""
        found: dict[tuple[str, str], dict[int, set[str]]] = {}
        for manifest in self.results.manifests:
            unit = manifest["unit"]
            by_seed = found.setdefault((unit["task"], unit["method"]), {})
            by_seed.setdefault(unit["generator_seed"], set()).add(unit["arch"])
        return found

    @property
    def count(self) -> int:
        """How many units."""
        return len(self.results.manifests)

    def done(self, place: Place, method: str) -> set[str]:
        """The place's architectures that the generator seed has that has most of them."""
        by_seed = self.units.get((place.task, method), {})
        return max((found.intersection(place.archs) for found in by_seed.values()), key=len, default=set())

    def finished(self, place: Place, method: str) -> int:
        """How many these are."""
        return len(self.done(place, method))


def find_places(name: TableName, tasks: Collection[str], track: Track) -> list[Place]:
    """The places of a table in its order: task within partition, or architecture."""
    papers = track.name == "paper"
    if name == "4":
        found = tasks_of(4) if papers else ()
        cells = [cell for task in found if task in tasks for cell in reported_cells(4, task)]
        return [
            Place("4", cell.task, _partition(str(cell.arch), track), cell.arch, (str(cell.arch),), papers)
            for cell in cells
        ]
    if name == "3":
        return [Place("3", task, JOINT, None, (JOINT,), papers) for task in tasks]
    asked = asked_of(track)
    return [Place("2", task, partition, None, asked[partition], papers) for partition in asked for task in tasks]


def _partition(arch: str, track: Track) -> str:
    widths = parse_architecture(arch)
    return next(name for name in ("seen", "unseen", "outside") if widths in getattr(track.splits, name))


def papers_methods(place: Place) -> list[str]:
    """The methods that the paper has a number of, in its order; none on another track."""
    if not place.papers:
        return []
    if place.table == "4":
        return [SUBJECT]
    cells = reported_cells(int(place.table), place.task)
    return [str(cell.method) for cell in cells if cell.partition == place.partition]
