"""Everything that tables, figures and the report need of one folder of results, read once and when first asked for."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import nnbench.tasks
from nnbench.analysis.scores import Scores, UnitName, read_scores
from nnbench.protocol import Protocol
from nnbench.store.store import Store
from nnbench.tasks.files import read_rows

if TYPE_CHECKING:  # opening a zoo takes torch, which tables do not need
    from nnbench.tasks.zoo.zoo import Zoo

_SHIPPED = Path(nnbench.tasks.__path__[0]) / "zoos"


class Results:
    """One folder's results of one protocol. `open` makes one."""

    def __init__(
        self,
        store: Store,
        tasks: Sequence[str],
        protocol: Protocol,
        zoos: Mapping[str, Path] | None = None,
        plugins: Sequence[Path] = (),
    ) -> None:
        self.store = store
        self.tasks = tuple(tasks)
        self.protocol = protocol
        self.plugins = tuple(plugins)
        self._zoos = dict(zoos or {})
        self._scores: dict[str, Mapping[UnitName, Scores]] = {}
        self._opened: dict[str, Zoo] = {}

    @classmethod
    def open(
        cls,
        folder: Path,
        tasks: Sequence[str],
        protocol: Protocol | str | None = None,
        zoos: Mapping[str, Path] | None = None,
        plugins: Sequence[Path] = (),
    ) -> Self:
        """What a folder holds of some tasks; nothing but the manifests is read yet.

        `protocol` may be the first digits of its hash, and may be left out where all rows are of one. `zoos` are the
        folders of zoos by task, for other tasks the zoo that ships. `plugins` are the Python files of further methods,
        whose facts are read. Raises StoreError where several protocols match or none does.
        """
        store = Store(folder)
        if not isinstance(protocol, Protocol):
            protocol = store.protocol(protocol or "")
        return cls(store, tasks, protocol, zoos, plugins)

    @cached_property
    def manifests(self) -> list[dict[str, Any]]:
        """Of the units of this protocol and these tasks, ordered by key."""
        return [
            manifest
            for manifest in self.store.manifests()
            if Protocol(**manifest["unit"]["protocol"]) == self.protocol and manifest["unit"]["task"] in self.tasks
        ]

    def scores(self, task: str) -> Mapping[UnitName, Scores]:
        """The numbers of every unit of a task. Raises TableError where rows do not belong together."""
        if task not in self._scores:
            rows = self.store.rows(protocol=self.protocol, task=task)
            policies = self.store.policies(protocol=self.protocol, task=task)
            self._scores[task] = read_scores(rows, policies, self.protocol, [task])
        return self._scores[task]

    def roundtrips(self, task: str) -> list[dict[str, Any]]:
        """What `nnbench roundtrip` stored. Raises RoundTripError where a file is damaged."""
        from nnbench.harness import roundtrip

        return roundtrip.read(self.store.root, task)

    def alignment(self, task: str) -> list[dict[str, Any]]:
        """What `nnbench zoo alignment` stored, or nothing."""
        path = self._alignment_file(task)
        return read_rows(path) if path.exists() else []

    def alignment_manifest(self, task: str) -> dict[str, Any] | None:
        """How it was made; None where there is none."""
        path = self._alignment_file(task).with_suffix(".json")
        return json.loads(path.read_bytes()) if path.exists() else None

    def zoo_folder(self, task: str) -> Path | None:
        """Where the task's zoo lies; None where it has none."""
        folder = self._zoos.get(task, _SHIPPED / task)
        return folder if folder.exists() else None

    def zoo_index(self, task: str) -> list[dict[str, Any]]:
        """One row per policy of the task's zoo; none without a zoo."""
        folder = self.zoo_folder(task)
        return [] if folder is None else read_rows(folder / "index.parquet")

    def zoo(self, task: str) -> "Zoo | None":
        """The opened zoo; None where the task has none. Raises ZooError where it is damaged."""
        folder = self.zoo_folder(task)
        if task not in self._opened and folder is not None:
            from nnbench.tasks.zoo.zoo import Zoo

            self._opened[task] = Zoo.open(task, folder)
        return self._opened.get(task)

    def zoo_manifest(self, task: str) -> dict[str, Any] | None:
        """The manifest of the task's zoo, after its files were checked against it; None without a zoo."""
        from nnbench.tasks.zoo.zoo import verify

        folder = self.zoo_folder(task)
        return None if folder is None else verify(folder, task)

    def _alignment_file(self, task: str) -> Path:
        return self.store.root / "alignment" / f"{task}.parquet"
