"""Everything that tables, figures and the report need of one folder of results, read once and when first asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from nnbench.analysis.comparisons import Comparison, compare
from nnbench.analysis.costs import Cost, Costs
from nnbench.analysis.methods import Methods
from nnbench.analysis.rows import Row, conditioned_rows, joint_rows, single_rows
from nnbench.analysis.scores import Scores, UnitName, episode_columns, read_scores
from nnbench.facts import Facts, find_facts
from nnbench.protocol import Protocol
from nnbench.store.alignment import read_alignment, read_alignment_manifest
from nnbench.store.checkpoints import Budget, find_budget
from nnbench.store.roundtrip import read_roundtrips
from nnbench.store.store import Store
from nnbench.tasks.policies.tracks import Track, load_track
from nnbench.tasks.registry import TASKS, load_task
from nnbench.tasks.task import Task
from nnbench.tasks.zoo.manifest import read_index, shipped_folder, verify

if TYPE_CHECKING:  # opening a zoo takes torch, which tables do not need
    from nnbench.tasks.zoo.zoo import Zoo

T = TypeVar("T")


class Results:
    """One folder's results of one protocol. `open` makes one."""

    def __init__(
        self,
        store: Store,
        tasks: Sequence[Task],
        protocol: Protocol,
        zoos: Mapping[str, Path],
        plugins: Sequence[Path],
        track: Track,
        only: Callable[[Mapping[str, Any]], bool] | None = None,
        whole: "Results | None" = None,
    ) -> None:
        """`only` narrows `whole` down."""
        self.store = store
        self.track = track
        """The one whose rows are read."""
        self._only, self._whole = only, whole
        self.tasks = tuple(task.name for task in tasks)
        """The names of the tasks that are asked about."""
        self.protocol = protocol
        self.plugins = tuple(plugins)
        self._tasks = TASKS | {task.name: task for task in tasks}
        self._zoos = zoos
        self._made: dict[tuple[str, str], Any] = {}

    @classmethod
    def open(
        cls,
        folder: Path,
        tasks: Sequence[Task | str],
        protocol: Protocol | str | None = None,
        zoos: Mapping[str, Path] | None = None,
        plugins: Sequence[Path] = (),
        track: Track | None = None,
    ) -> Self:
        """What a folder holds of some tasks; nothing but the manifests is read yet.

        `tasks` may be names or files, as `load_task` takes them. `protocol` may be a name or the first digits of a
        hash, and may be left out where all rows are of one. `zoos` are the folders of zoos by the name of their task,
        for other tasks the zoo that ships. `plugins` are the Python files of further methods, whose facts are read.
        Without a `track` it is the paper's. Raises TaskError for an unknown task, and StoreError where several
        protocols match or none does.
        """
        store = Store(folder)
        if not isinstance(protocol, Protocol):
            protocol = store.protocol(protocol or "")
        loaded = [load_task(task) if isinstance(task, str) else task for task in tasks]
        return cls(store, loaded, protocol, dict(zoos or {}), plugins, track or load_track("paper"))

    def narrow(self, only: Callable[[Mapping[str, Any]], bool]) -> "Results":
        """The same folder's results of fewer units: those for whose fields `only` holds. The others are not read."""
        tasks = [self._tasks[name] for name in self.tasks]
        return Results(self.store, tasks, self.protocol, self._zoos, self.plugins, self.track, only, self)

    def only(self, unit: Mapping[str, Any]) -> bool:
        """By a unit's fields, whether its rows are read."""
        return unit.get("track", "paper") == self.track.label and (self._only is None or self._only(unit))

    @cached_property
    def manifests(self) -> list[Mapping[str, Any]]:
        """Of the units of this protocol and these tasks, ordered by key."""
        return [
            manifest
            for manifest in self.store.manifests()
            if Protocol(**manifest["unit"]["protocol"]) == self.protocol
            and manifest["unit"]["task"] in self.tasks
            and self.only(manifest["unit"])
        ]

    @cached_property
    def budgets(self) -> list[Budget]:
        """What training the measured methods cost, as their units say or, older ones, the trained methods themselves;
        without those that learn nothing, and those of older units that are not kept any more."""
        manifests = {manifest["unit"]["method_sha256"]: manifest for manifest in self.manifests}
        found = [
            Budget(**manifest["trained"]) if "trained" in manifest else find_budget(manifest["unit"])
            for manifest in manifests.values()
        ]
        return [budget for budget in found if budget is not None and budget.parameters]

    @cached_property
    def costs(self) -> Costs:
        """What networks cost, also beside those of methods that are not read here."""
        return self._whole.costs if self._whole else Costs(self.manifests, lambda: self.budgets, self.methods)

    @cached_property
    def methods(self) -> Methods:
        """The facts of every method: those of its class where that is found, else those kept with its units.

        Raises FactsError where a plugin's facts cannot be read.
        """
        kept = {
            manifest["unit"]["method"]: Facts.from_json(manifest["facts"])
            for manifest in self.manifests
            if manifest.get("facts") is not None
        }
        return Methods(kept | find_facts(self.plugins))

    def scores(self, task: str) -> Mapping[UnitName, Scores]:
        """The numbers of every unit of a task. Raises TableError where rows do not belong together."""
        return self._kept("scores", task, lambda: self._read_scores(task))

    def conditioned(self, task: str) -> Sequence[Row]:
        """The rows of table 2."""
        top = self.protocol.top
        return self._kept(
            "conditioned", task, lambda: self._described(conditioned_rows(self.scores(task), task, top, self.track))
        )

    def joint(self, task: str) -> Sequence[Row]:
        """The rows of table 3."""
        top = self.protocol.top
        return self._kept("joint", task, lambda: self._described(joint_rows(self.scores(task), task, top, self.track)))

    def single(self, task: str) -> Sequence[Row]:
        """The rows of table 4."""
        top = self.protocol.top
        return self._kept(
            "single", task, lambda: self._described(single_rows(self.scores(task), task, top, self.track))
        )

    def comparisons(self, task: str) -> Sequence[Comparison]:
        """Of the rows of table 2."""
        return self._kept("comparisons", task, lambda: compare(self.conditioned(task), self.methods))

    def round_trips(self, task: str) -> list[dict[str, Any]]:
        """What `nnbench roundtrip` stored. Raises StoreError where a file is damaged."""
        return read_roundtrips(self.store.root, task)

    def alignment(self, task: str) -> list[dict[str, Any]]:
        """What `nnbench zoo alignment` stored, or nothing."""
        return read_alignment(self.store.root, task)

    def alignment_manifest(self, task: str) -> dict[str, Any] | None:
        """How it was made; None where there is none."""
        return read_alignment_manifest(self.store.root, task)

    def zoo_folder(self, task: str) -> Path | None:
        """Where the task's zoo lies; None where it has none."""
        folder = self._zoos.get(task, shipped_folder(task, self.track.source))
        return folder if folder.exists() else None

    def zoo_index(self, task: str) -> list[dict[str, Any]]:
        """One row per policy of the task's zoo; none without a zoo."""
        folder = self.zoo_folder(task)
        return [] if folder is None else read_index(folder)

    def zoo(self, task: str) -> "Zoo | None":
        """The opened zoo; None where the task has none. Raises ZooError where it is damaged."""
        folder = self.zoo_folder(task)
        if folder is None:
            return None
        from nnbench.tasks.zoo.zoo import Zoo

        return self._kept("zoo", task, lambda: Zoo.open(self._tasks[task].source, folder, self.track.origin))

    def zoo_manifest(self, task: str) -> dict[str, Any] | None:
        """The manifest of the task's zoo, after its files were checked against it; None without a zoo."""
        folder = self.zoo_folder(task)
        return None if folder is None else verify(folder, self._tasks[task])

    def _described(self, rows: Sequence[Row]) -> list[Row]:
        """With what the methods read, and what the networks cost."""
        return [replace(row, reads=self.methods[row.method].reads, cost=self._find_cost(row)) for row in rows]

    def _find_cost(self, row: Row) -> Cost | None:
        if row.measured is None:
            return None
        archs = {arch for group in row.measured.groups for arch in group}
        return self.costs.find(row.task, row.method, row.generator_seeds, archs)

    def _read_scores(self, task: str) -> Mapping[UnitName, Scores]:
        columns = episode_columns(self.protocol)
        rows = self.store.rows(protocol=self.protocol, task=task, columns=columns, only=self.only)
        policies = self.store.policies(protocol=self.protocol, task=task, only=self.only)
        return read_scores(rows, policies, self.protocol, {task: self._tasks[task].filter})

    def _kept(self, kind: str, task: str, make: Callable[[], T]) -> T:
        """What was made before, or else is made now."""
        if (kind, task) not in self._made:
            self._made[kind, task] = make()
        found: T = self._made[kind, task]
        return found
