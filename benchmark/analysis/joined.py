"""Rows of several folders and protocols in one view: each cell is the first of them that has it whole.

Scores of different protocols are of different episodes. One protocol is therefore the primary one, of all cells that
have it; others only fill what it leaves empty. Which rows a cell shows can be told from the manifests, so that only
these are read.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow.compute as pc

from nnbench.analysis.methods import Methods
from nnbench.analysis.places import PARTITIONS, Layer, Place, TableName, find_places, papers_methods
from nnbench.analysis.reported import reported_cells
from nnbench.analysis.results import Results
from nnbench.analysis.rows import Row
from nnbench.errors import InputError
from nnbench.facts import find_facts
from nnbench.protocol import PROTOCOLS, Protocol
from nnbench.tasks.policies.architectures import load_further
from nnbench.tasks.policies.tracks import Track

_BASELINES = 2
"""How many baselines are shown where nobody names methods."""


@dataclass(frozen=True)
class Cell:
    """One method at one place."""

    place: Place
    row: Row
    layer: Layer | None
    """None where nothing is measured."""
    cannot: bool = False
    """Whether the method says that it does not write such architectures."""

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
        ran: Sequence[str] = (),
    ) -> None:
        """`names` are the tables. `methods` may be `all`; left out, they are the paper's in its order, the source, the
        best baselines, and all of the user's own, or in place of these two what `ran`. Raises InputError for a method
        that nothing is known of.
        """
        self._layers = tuple(layers)
        self.tasks = tuple(tasks)
        self._methods = tuple(methods)
        self._ran = tuple(ran)
        self._facts = Methods(find_facts())
        self.places = [
            place
            for name in names
            for place in find_places(name, self.tasks, self.track)
            if place.partition in partitions
        ]
        if unknown := [method for method in methods if method != "all" and method not in self._known]:
            known = ", ".join(sorted(self._known))
            raise InputError(f"method {unknown[0]!r}: no results of it are here; expected all, or some of {known}")

    @property
    def track(self) -> Track:
        """That of all layers."""
        return self._layers[0].results.track

    @property
    def primary(self) -> Protocol:
        """The protocol of most cells of those that are shown; of two with as many, that of more of the user's own.

        One without a name is there because it was asked for, and goes first.
        """
        return self._ranked[0]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """In the order in which a cell is looked for."""

        def order(layer: Layer) -> tuple[bool, bool, int]:
            other = layer.results.protocol != self.primary
            return other, (layer.origin == "own") == other, self._ranked.index(layer.results.protocol)

        return tuple(sorted(self._layers, key=order))

    @cached_property
    def _ranked(self) -> list[Protocol]:
        asked = [(place, method) for place in self.places for method in self._shown(place, ())]

        def count(protocol: Protocol) -> tuple[bool, int, int]:
            mine = [layer for layer in self._layers if layer.results.protocol == protocol]
            having = [[layer.origin for layer in mine if _is_whole(layer, *cell)] for cell in asked]
            return protocol not in PROTOCOLS.values(), sum(map(bool, having)), sum("own" in found for found in having)

        return sorted(dict.fromkeys(layer.results.protocol for layer in self._layers), key=count, reverse=True)

    @cached_property
    def cells(self) -> list[Cell]:
        """Those that say something, measured or reported or under way, by place and then by method.

        Where others are measured, a method that does not write such architectures says so.
        """
        cells = []
        for place, method in self._sources:
            layer = self._sources[place, method]
            rows = _rows(self._narrowed[layer], place, method) if layer else []
            row = next((row for row in rows if row.measured), None) or self._unmeasured(place, method)
            cells.append(Cell(place, row, layer, row.measured is None and self._cannot(place, method)))
        measured = {cell.place for cell in cells if cell.row.measured}
        return [
            cell
            for cell in cells
            if cell.row.measured or cell.row.reported or cell.row.finished or cell.cannot and cell.place in measured
        ]

    def _cannot(self, place: Place, method: str) -> bool:
        known = method in self._facts.names
        return known and place.partition in load_further() and place.partition not in self._facts[method].writes

    def details(self, name: TableName) -> Mapping[tuple[str, Layer], list[Row]]:
        """By task and layer the rows of a table's cells, with those of seeds and of architectures; and all that the
        user's own layers have of them, even where another layer's is shown."""
        asked = [
            (place, method, layer)
            for (place, method), source in self._sources.items()
            for layer in self.layers
            if place.table == name and (layer is source or layer.origin == "own" and _is_begun(layer, place, method))
        ]
        here = _narrow(asked)
        found: dict[tuple[str, Layer], list[Row]] = {}
        for place, method, layer in asked:
            found.setdefault((place.task, layer), []).extend(_rows(here[layer], place, method))
        return found

    def not_shown(self, name: TableName) -> Mapping[tuple[str, Protocol], int]:
        """How many of the user's own units of a table's places no cell shows, by method and protocol."""
        found: dict[tuple[str, Protocol], int] = {}
        for layer in self.layers if len(self.layers) > 1 else ():
            there: dict[str, set[tuple[str, str]]] = {}
            shown: dict[str, set[tuple[str, str]]] = {}
            for (place, method), source in self._sources.items():
                if place.table == name and layer.origin == "own":
                    units = {(place.task, arch) for arch in layer.done(place, method)}
                    # Where nothing is shown, the cell says how many there are.
                    (there if source not in (layer, None) else shown).setdefault(method, set()).update(units)
            for method, units in there.items():
                if hidden := units - shown.get(method, set()):
                    found[method, layer.results.protocol] = len(hidden)
        return found

    @cached_property
    def _known(self) -> Collection[str]:
        measured = {method for layer in self._layers for _, method in layer.units}
        return measured.union(*(papers_methods(place) for place in self.places))

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
        return _narrow((*cell, layer) for cell, layer in self._sources.items() if layer is not None)

    def _shown(self, place: Place, baselines: Sequence[str]) -> list[str]:
        """`baselines` are those that do best, where nobody names methods."""
        if self._methods and self._methods != ("all",):
            return list(self._methods)
        paper = papers_methods(place)
        if self._methods:
            return list(dict.fromkeys([*paper, *sorted(self._known)]))
        source = self._facts.references(sorted(self._known))
        if self._ran:
            return list(dict.fromkeys([*paper, *source, *self._ran]))
        if place.table == "4":  # the paper has its own method alone here
            return list(dict.fromkeys([*paper, *self._own]))
        return list(dict.fromkeys([*paper, *source, *baselines, *self._own]))

    @cached_property
    def _best_baselines(self) -> list[str]:
        """By success on unseen architectures, mean over tasks; as many as there is room for."""
        success: dict[str, list[float]] = {}
        asked = [place for place in find_places("2", self.tasks, self.track) if place.partition == "unseen"]
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
        claims = reported_cells(int(place.table), place.task) if method in papers_methods(place) else ()
        claim = next(
            (
                claim
                for claim in claims
                if claim.arch == place.arch
                and (place.arch or (claim.method, claim.partition) == (method, place.partition))
            ),
            None,
        )
        expected, reads = len(place.archs), self._facts[method].reads
        return Row(place.task, place.partition, method, (), place.arch, started, expected, None, claim, reads)


def _is_whole(layer: Layer, place: Place, method: str) -> bool:
    return layer.finished(place, method) == len(place.archs)


def _is_begun(layer: Layer, place: Place, method: str) -> bool:
    """Of the architectures trained on, those of `seen` are no beginning."""
    return bool(layer.done(place, method)) and (place.partition != "train" or _is_whole(layer, place, method))


def _rows(results: Results, place: Place, method: str) -> list[Row]:
    """The rows of a method at a place, with those of seeds and of architectures."""
    read = {"2": results.conditioned, "3": results.joint, "4": results.single}[place.table]
    return [
        row
        for row in read(place.task)
        if row.method == method and row.partition == place.partition and (place.arch is None or row.arch == place.arch)
    ]


def _narrow(asked: Iterable[tuple[Place, str, Layer]]) -> Mapping[Layer, Results]:
    """The layers' results without the units that nobody asks for."""
    needed: dict[Layer, set[tuple[str, str, str]]] = {}
    for place, method, layer in asked:
        needed.setdefault(layer, set()).update((place.task, method, arch) for arch in place.archs)
    return {layer: layer.results.narrow(_one_of(units)) for layer, units in needed.items()}


def _one_of(units: Collection[tuple[str, str, str]]) -> Callable[[Mapping[str, Any]], bool]:
    return lambda unit: (unit["task"], unit["method"], unit["arch"]) in units


def _mean_success(results: Results, units: Collection[tuple[str, str, str]]) -> list[tuple[str, float]]:
    """Of the selected on the test episodes, by method and task."""
    headline = results.protocol.headline
    columns = ["task", "method", "stage", headline]
    rows = results.store.rows(protocol=results.protocol, columns=columns, only=_one_of(units))
    means = rows.filter(pc.equal(rows["stage"], "test")).group_by(["task", "method"]).aggregate([(headline, "mean")])
    return list(zip(means["method"].to_pylist(), means[f"{headline}_mean"].to_pylist(), strict=True))
