"""Rows of several folders and protocols in one view: each cell is the first of them that has it whole.

Scores of different protocols are of different episodes. One protocol is therefore the primary one, of all cells that
have it; others only fill what it leaves empty. Which rows a cell shows can be told from the manifests, so that only
these are read.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow.compute as pc

from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import SUBJECT, reported_cells, tasks_of
from nnbench.analysis.results import Results
from nnbench.analysis.rows import Row
from nnbench.errors import InputError
from nnbench.facts import find_facts
from nnbench.protocol import JOINT, PROTOCOLS, Protocol
from nnbench.tasks.policies.architectures import architecture_name, load_splits, parse_architecture

Origin = Literal["own", "reference"]
TableName = Literal["2", "3", "4"]
PARTITIONS = ("train", "seen", "unseen", "outside", JOINT)
"""What a cell may be a mean over, in the order of the tables."""

_BASELINES = 2
"""How many baselines are shown where nobody names methods."""


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

    def finished(self, place: Place, method: str) -> int:
        """How many of the place's architectures the generator seed has that has most of them."""
        by_seed = self.units.get((place.task, method), {})
        return max((len(found.intersection(place.archs)) for found in by_seed.values()), default=0)


@dataclass(frozen=True)
class Cell:
    """One method at one place."""

    place: Place
    row: Row
    layer: Layer | None
    """None where nothing is measured."""

    @property
    def protocol(self) -> Protocol:
        """That of the layer, else the benchmark's own."""
        return self.layer.results.protocol if self.layer else Protocol()


class Joined:
    """The cells of tables 2 to 4, each of the first layer that has all of its units.

    Layers of the `primary` protocol are first, of these the user's own; of others those that ship.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        tasks: Sequence[str],
        names: Collection[TableName],
        partitions: Collection[str] = PARTITIONS,
        methods: Sequence[str] = (),
    ) -> None:
        """`names` are the tables. `methods` may be `all`; left out, they are the paper's in its order, the source, the
        best baselines, and all of the user's own. Raises InputError for a method that nothing is known of.
        """
        self._layers = tuple(layers)
        self.tasks = tuple(tasks)
        self._methods = tuple(methods)
        self._facts = Methods(find_facts())
        self.places = [place for name in names for place in _places(name, self.tasks) if place.partition in partitions]
        if unknown := [method for method in methods if method != "all" and method not in self._known]:
            known = ", ".join(sorted(self._known))
            raise InputError(f"method {unknown[0]!r}: no results of it are here; expected all, or some of {known}")

    @cached_property
    def primary(self) -> Protocol:
        """The protocol of most cells of those that are shown; of two with as many, that of more of the user's own.

        One without a name is there because it was asked for, and goes first.
        """
        asked = [(place, method) for place in self.places for method in self._shown(place, ())]

        def count(protocol: Protocol) -> tuple[bool, int, int]:
            mine = [layer for layer in self._layers if layer.results.protocol == protocol]
            having = [[layer.origin for layer in mine if _is_whole(layer, *cell)] for cell in asked]
            return protocol not in PROTOCOLS.values(), sum(map(bool, having)), sum("own" in found for found in having)

        return max(dict.fromkeys(layer.results.protocol for layer in self._layers), key=count)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """In the order in which a cell is looked for."""

        def order(layer: Layer) -> tuple[bool, bool]:
            other = layer.results.protocol != self.primary
            return other, (layer.origin == "own") == other

        return tuple(sorted(self._layers, key=order))

    @cached_property
    def cells(self) -> list[Cell]:
        """Those that say something, measured or reported or under way, by place and then by method."""
        cells = []
        for place, method in self._sources:
            row = next((row for row in self.rows(place, method) if row.measured), None)
            row = row or self._unmeasured(place, method)
            if row.measured or row.reported or row.finished:
                cells.append(Cell(place, row, self._sources[place, method]))
        return cells

    def rows(self, place: Place, method: str) -> list[Row]:
        """The rows of a method at a place as its layer has them, with those of seeds and of architectures."""
        layer = self._sources[place, method]
        if layer is None:
            return []
        here = self._narrowed[layer]
        read = {"2": here.conditioned, "3": here.joint, "4": here.single}[place.table]
        return [
            row
            for row in read(place.task)
            if row.method == method
            and row.partition == place.partition
            and (place.arch is None or row.arch == place.arch)
        ]

    @cached_property
    def _known(self) -> Collection[str]:
        measured = {method for layer in self._layers for _, method in layer.units}
        return measured.union(*(_papers(place) for place in self.places))

    @cached_property
    def _own(self) -> list[str]:
        return sorted({method for layer in self._layers if layer.origin == "own" for _, method in layer.units})

    @cached_property
    def _sources(self) -> dict[tuple[Place, str], Layer | None]:
        return {
            (place, method): next((one for one in self.layers if _is_whole(one, place, method)), None)
            for place in self.places
            for method in self._shown(place, self._best_baselines)
        }

    @cached_property
    def _narrowed(self) -> Mapping[Layer, Results]:
        """The layers' results without the units that no cell needs."""
        needed: dict[Layer, set[tuple[str, str, str]]] = {layer: set() for layer in self.layers}
        for (place, method), layer in self._sources.items():
            if layer is not None:
                needed[layer] |= {(place.task, method, arch) for arch in place.archs}
        return {layer: layer.results.narrow(_one_of(units)) for layer, units in needed.items()}

    def _shown(self, place: Place, baselines: Sequence[str]) -> list[str]:
        """`baselines` are those that do best, where nobody names methods."""
        if self._methods and self._methods != ("all",):
            return list(self._methods)
        paper = _papers(place)
        if self._methods:
            return list(dict.fromkeys([*paper, *sorted(self._known)]))
        if place.table == "4":  # the paper has its own method alone here
            return list(dict.fromkeys([*paper, *self._own]))
        source = self._facts.references(sorted(self._known))
        return list(dict.fromkeys([*paper, *source, *baselines, *self._own]))

    @cached_property
    def _best_baselines(self) -> list[str]:
        """By success on unseen architectures, mean over tasks; as many as there is room for."""
        success: dict[str, list[float]] = {}
        asked = [place for place in _places("2", self.tasks) if place.partition == "unseen"]
        baselines = self._facts.of_role("baseline", sorted(self._known))
        for layer in self.layers:
            mine = {
                (place.task, method, arch)
                for place in asked
                for method in baselines
                if next((one for one in self.layers if _is_whole(one, place, method)), None) is layer
                for arch in place.archs
            }
            for method, mean in _mean_success(layer.results, mine):
                success.setdefault(method, []).append(mean)
        ranked = sorted(success, key=lambda method: (-sum(success[method]) / len(success[method]), method))
        return ranked[:_BASELINES]

    def _unmeasured(self, place: Place, method: str) -> Row:
        started = max((layer.finished(place, method) for layer in self.layers if layer.origin == "own"), default=0)
        if place.partition == "train":  # a part of it is what `seen` measures
            started = 0
        claims = reported_cells(int(place.table), place.task) if method in _papers(place) else ()
        claim = next(
            (
                claim
                for claim in claims
                if claim.arch == place.arch
                and (place.arch or (claim.method, claim.partition) == (method, place.partition))
            ),
            None,
        )
        return Row(place.task, place.partition, method, (), place.arch, started, len(place.archs), None, claim)


def _places(name: TableName, tasks: Collection[str]) -> list[Place]:
    """The places of a table in its order: task within partition, or architecture."""
    if name == "4":
        cells = [cell for task in tasks_of(4) if task in tasks for cell in reported_cells(4, task)]
        return [Place("4", cell.task, _partition(str(cell.arch)), cell.arch, (str(cell.arch),)) for cell in cells]
    if name == "3":
        return [Place("3", task, JOINT, None, (JOINT,)) for task in tasks]
    splits = load_splits()
    archs = {name: tuple(map(architecture_name, getattr(splits, name))) for name in PARTITIONS if name != JOINT}
    return [Place("2", task, partition, None, archs[partition]) for partition in archs for task in tasks]


def _partition(arch: str) -> str:
    splits, widths = load_splits(), parse_architecture(arch)
    return next(name for name in ("seen", "unseen", "outside") if widths in getattr(splits, name))


def _papers(place: Place) -> list[str]:
    """The methods that the paper has a number of, in its order."""
    if place.table == "4":
        return [SUBJECT]
    cells = reported_cells(int(place.table), place.task)
    return [str(cell.method) for cell in cells if cell.partition == place.partition]


def _is_whole(layer: Layer, place: Place, method: str) -> bool:
    return layer.finished(place, method) == len(place.archs)


def _one_of(units: Collection[tuple[str, str, str]]) -> Callable[[Mapping[str, Any]], bool]:
    return lambda unit: (unit["task"], unit["method"], unit["arch"]) in units


def _mean_success(results: Results, units: Collection[tuple[str, str, str]]) -> list[tuple[str, float]]:
    """Of the selected on the test episodes, by method and task."""
    headline = results.protocol.headline
    columns = ["task", "method", "stage", headline]
    rows = results.store.rows(protocol=results.protocol, columns=columns, only=_one_of(units))
    means = rows.filter(pc.equal(rows["stage"], "test")).group_by(["task", "method"]).aggregate([(headline, "mean")])
    return list(zip(means["method"].to_pylist(), means[f"{headline}_mean"].to_pylist(), strict=True))
