"""From a trained method to rows: generate, check, choose the top by racing, test them, store."""

import time
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from nnbench.harness.novelty import Novelty
from nnbench.harness.outcome import Outcome
from nnbench.harness.race import Episode, Race, Result
from nnbench.harness.rows import episode_rows, policy_rows
from nnbench.protocol import Unit
from nnbench.store.checkpoints import Budget
from nnbench.store.errors import StoreError
from nnbench.store.journal import Journal
from nnbench.store.schemas import ROLLOUT_SCHEMA
from nnbench.store.store import Store
from nnbench.tasks.integrity import DamagedError
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import PolicyActor, Weights, weights_sha256
from nnbench.tasks.simulation.episodes import Episodes
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator

_COLUMNS = {"total": "return"} | {name: name for name in ("success_once", "success_at_end", "diverged")}
"""Of a result, the column of each field."""


class Generates(typing.Protocol):
    """Writes policies when asked, as an `Isolated` method does."""

    def generate(self, arch: Architecture | None, n: int, *, seed: int = 0) -> list[Weights]: ...


@dataclass(frozen=True)
class Simulated:
    """A unit whose episodes are all run. They wait in the journal until the rows are written."""

    unit: Unit
    samples: Sequence[Weights]
    contest: "_Contest"
    clock: "_Clock"
    workers: int

    def write(
        self,
        novelty: Novelty,
        store: Store,
        *,
        facts: Mapping[str, Any] | None = None,
        trained: Budget | None = None,
    ) -> Outcome:
        """Compare the samples with the zoo and store the rows; `facts` of the unit's method and what its training cost
        go into the manifest.

        Raises StoreError or WriteError where the rows cannot be stored.
        """
        unit, race = self.unit, self.contest.race
        self.clock.start()
        chosen = race.chosen()
        with threadpool_limits(1):  # the simulator's workers have the other processors
            policies = policy_rows(unit, self.samples, chosen, novelty)
        self.clock.stop("novelty")

        counts = self.contest.counts()
        info = {"wall_s": self.clock.seconds, "workers": self.workers, "race": counts}
        rows = episode_rows(unit, self.samples, race, chosen, novelty.splits)
        store.write(unit, rows, policies, self.samples, info, facts, trained)
        self.contest.journal.clear()
        return Outcome(unit=unit, counts=counts, seconds=self.clock.seconds)


def simulate(
    unit: Unit,
    method: Generates,
    simulator: Simulator,
    store: Store,
    *,
    full: bool = False,
    generated: Callable[[], None] = lambda: None,
) -> Simulated:
    """Run the unit's episodes, going on from its journal. `generated` is called between the samples and the episodes.

    What the store's other units say of an equal network is not simulated again: an episode is its seed and the policy.
    With `full` no sample leaves the race early. Raises what `method` raises, and StoreError.
    """
    clock = _Clock()
    samples = method.generate(unit.arch, unit.protocol.samples, seed=unit.generator_seed)
    clock.stop("generate")
    generated()
    contest = _Contest.resume(unit, samples, store, full=full)
    contest.select(simulator)
    clock.stop("selection")
    contest.test(simulator)
    clock.stop("test")
    return Simulated(unit, samples, contest, clock, simulator.workers)


def _results(rows: pa.Table | None) -> dict[Episode, Result]:
    """What rows (ROLLOUT_SCHEMA) say came of which episodes."""
    return {
        Episode(row["stage"], row["weights_sha256"], row["episode_seed"]): Result(
            **{name: row[column] for name, column in _COLUMNS.items()}
        )
        for row in (rows.to_pylist() if rows is not None else ())
    }


def results_elsewhere(unit: Unit, networks: Collection[str], store: Store) -> dict[tuple[str, int], Result]:
    """What other units of the architecture say of these networks, by the network's hash and the episode's seed.

    The other's protocol may have more episodes or fewer: a first look shortens the whole.
    """

    def beside(fields: Mapping[str, Any]) -> bool:
        if fields["arch"] != unit.asked_for:
            return False
        other = Unit.from_fields(dict(fields))
        return other.protocol.setting == unit.protocol.setting and other.key != unit.key

    try:
        rows = store.rows(task=unit.task, columns=ROLLOUT_SCHEMA.names, only=beside)
    except (OSError, StoreError, DamagedError):  # damaged, or replaced at this moment: it is read for its own sake
        return {}
    found = _results(rows.filter(pc.is_in(rows["weights_sha256"], pa.array(networks, pa.string()))))
    return {(episode.network, episode.seed): result for episode, result in found.items()}


def rescore(unit: Unit, novelty: Novelty, store: Store) -> None:
    """Compute anew, from the stored weights, those columns of a finished unit that need no simulation.

    Raises StoreError where the unit has no weights.
    """
    samples, rows = store.weights(unit), store.unit_rows(unit)
    ranks = {row["rank"]: row["sample"] for row in rows.select(["rank", "sample"]).to_pylist() if row["rank"] >= 0}
    policies = policy_rows(unit, samples, [ranks[rank] for rank in sorted(ranks)], novelty)
    # Back into the journal while the files are replaced: a kill must not cost the episodes.
    journal = store.journal(unit)
    journal.append(rows.select(ROLLOUT_SCHEMA.names))
    store.write_policies(unit, policies)
    journal.clear()


class _Clock:
    """Wall seconds of one stage after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        self._began = time.perf_counter()

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage], self._began = now - self._began, now


@dataclass(frozen=True)
class _Contest:
    """Runs the episodes that a race asks for, and keeps every finished part in the journal."""

    name: str
    race: Race
    networks: Mapping[str, Weights]
    """By the hashes that the race knows them by."""
    journal: Journal
    elsewhere: Mapping[tuple[str, int], Result]
    """By other units, as `results_elsewhere` has it."""
    taken: set[Episode] = field(default_factory=set)
    """Those of them that this unit needed."""

    @classmethod
    def resume(cls, unit: Unit, samples: Sequence[Weights], store: Store, *, full: bool) -> Self:
        """Take up what a killed run left in the journal; episodes of other weights are of no use and stay unused."""
        hashes, journal = [weights_sha256(weights) for weights in samples], store.journal(unit)
        race = Race(unit.protocol, hashes, full)
        for episode, result in _results(journal.read()).items():
            race.record(episode, result)
        name, networks = f"{unit.method} {unit.asked_for}", dict(zip(hashes, samples, strict=True))
        return cls(name, race, networks, journal, results_elsewhere(unit, networks, store))

    def counts(self) -> dict[str, int]:
        """Those of the race, with the episodes that were simulated for this unit."""
        ran, stages = self.race.counts(), ("selection", "test")
        taken = {stage: sum(episode.stage == stage for episode in self.taken) for stage in stages}
        return ran | {"episodes": ran["episodes"] - taken["selection"], "reused": sum(taken.values())}

    def select(self, simulator: Simulator) -> None:
        while episodes := self.race.next_selection():
            self._run(episodes, simulator, "selection")

    def test(self, simulator: Simulator) -> None:
        self._run(self.race.tests(), simulator, "test")

    def _run(self, episodes: Sequence[Episode], simulator: Simulator, stage: str) -> None:
        for episode in episodes:
            if (known := self.elsewhere.get((episode.network, episode.seed))) is not None:
                self.race.record(episode, known)
                self.taken.add(episode)
        episodes = [episode for episode in episodes if episode not in self.taken]
        parts = [episodes[start : start + SCENES_PER_WORKER] for start in range(0, len(episodes), SCENES_PER_WORKER)]
        rollouts = (self._rollout(part, simulator) for part in parts)
        with tqdm(total=len(episodes), desc=f"{self.name} {stage}", unit="ep", leave=False, disable=None) as bar:
            for position, finished in simulator.rollout(rollouts):
                self._keep(parts[position], finished)
                bar.update(len(parts[position]))

    def _rollout(self, part: Sequence[Episode], simulator: Simulator) -> Rollout:
        hashes = list(dict.fromkeys(episode.network for episode in part))
        index = np.array([hashes.index(episode.network) for episode in part])
        actor = PolicyActor.stack([self.networks[sha] for sha in hashes], index, simulator.task.standardiser)
        return Rollout(actor, np.array([episode.seed for episode in part]))

    def _keep(self, part: Sequence[Episode], finished: Episodes) -> None:
        columns = finished.returns, finished.success_once, finished.success_at_end, finished.diverged
        results = [Result(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
        for episode, result in zip(part, results, strict=True):
            self.race.record(episode, result)
        rows = [
            {"weights_sha256": episode.network, "stage": episode.stage, "episode_seed": episode.seed}
            | {column: getattr(result, name) for name, column in _COLUMNS.items()}
            for episode, result in zip(part, results, strict=True)
        ]
        self.journal.append(pa.Table.from_pylist(rows, ROLLOUT_SCHEMA))
