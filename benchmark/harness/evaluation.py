"""From a trained method to rows: generate, check, choose the top by racing, test them, store.

The race is exact. A step's normalised reward lies in [0, 1], so after n of E selection episodes the mean return of a
policy lies between sum / E and (sum + horizon * (E - n)) / E. A policy whose upper bound is below the lower bounds of
`top` others cannot be among the top and is rolled out no further. The chosen policies, their order and their scores
are those of the full evaluation.
"""

import time
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from nnbench.harness.novelty import Novelty
from nnbench.harness.outcome import Outcome
from nnbench.protocol import JOINT, Protocol, Unit
from nnbench.store.journal import Journal
from nnbench.store.schemas import EPISODE_SCHEMA, POLICY_SCHEMA, ROLLOUT_SCHEMA, unit_columns
from nnbench.store.store import Store
from nnbench.tasks.policies.architectures import Architecture, architecture_name, load_splits, parse_architecture
from nnbench.tasks.policies.mlp import PolicyActor, Weights, architecture_of, weights_sha256
from nnbench.tasks.policies.standardiser import Standardiser
from nnbench.tasks.simulation.episodes import Episodes
from nnbench.tasks.simulation.workers import SCENES_PER_WORKER, Rollout, Simulator

_RACE_STEP = 5
"""Episodes that the candidates still in the race run between two looks at the bounds."""


class Source(typing.Protocol):
    """Who is asked for networks: an `Isolated` method."""

    def generate(self, arch: Architecture | None, n: int, *, seed: int = 0) -> list[Weights]: ...


def evaluate(
    unit: Unit,
    source: Source,
    novelty: Novelty,
    simulator: Simulator,
    store: Store,
    *,
    facts: Mapping[str, Any] | None = None,
    full: bool = False,
) -> Outcome:
    """Finish one unit, going on from its journal.

    `facts` of the unit's method go into the manifest. With `full` no sample leaves the race early.
    """
    began = time.perf_counter()
    samples = source.generate(unit.arch, unit.protocol.samples, seed=unit.generator_seed)
    generated = time.perf_counter()
    journal = store.journal(unit)
    race = _Race.resume(unit.protocol, samples, journal, full=full)
    name = f"{unit.method} {unit.asked_for}"
    while pairs := race.next_episodes():
        race.run(pairs, simulator, f"{name} selection")
    selected = time.perf_counter()
    chosen = race.chosen()
    race.run(race.missing("test", dict.fromkeys(race.hashes[sample] for sample in chosen)), simulator, f"{name} test")
    tested = time.perf_counter()

    policies = _policy_rows(unit, samples, chosen, novelty)
    ended = time.perf_counter()
    wall = {
        "generate": generated - began,
        "selection": selected - generated,
        "test": tested - selected,
        "novelty": ended - tested,
    }
    info = {"wall_s": wall, "workers": simulator.workers, "race": race.summary()}
    store.write(unit, race.rows(unit, chosen), policies, samples, info, facts)
    journal.clear()
    return Outcome(unit=unit, counts=race.summary(), seconds=wall)


def rescore(unit: Unit, novelty: Novelty, store: Store) -> None:
    """Compute anew, from the stored weights, what of a finished unit's rows needs no simulation.

    Raises StoreError where the unit has no weights.
    """
    samples, rows, info = store.weights(unit), store.unit_rows(unit), store.info(unit)
    ranks = {row["rank"]: row["sample"] for row in rows.select(["rank", "sample"]).to_pylist() if row["rank"] >= 0}
    policies = _policy_rows(unit, samples, [ranks[rank] for rank in sorted(ranks)], novelty)
    # Back into the journal while the files are replaced: a kill must not cost the episodes.
    journal = store.journal(unit)
    journal.append(rows.select(ROLLOUT_SCHEMA.names))
    store.write(unit, rows, policies, samples, info, store.facts(unit))
    journal.clear()


def _policy_rows(unit: Unit, samples: Sequence[Weights], chosen: Sequence[int], novelty: Novelty) -> pa.Table:
    """A row a sample, as `POLICY_SCHEMA`."""
    rows = [
        _sample_columns(unit, position, sample)
        | {"rank": chosen.index(position) if position in chosen else -1}
        | columns
        for position, (sample, columns) in enumerate(zip(samples, novelty.columns(samples, chosen), strict=True))
    ]
    return pa.Table.from_pylist(rows, POLICY_SCHEMA)


def _sample_columns(unit: Unit, position: int, sample: Weights) -> dict[str, object]:
    arch = architecture_of(sample)
    return unit_columns(unit) | {
        "arch": architecture_name(arch),
        "partition": load_splits().partition(arch),
        "sample": position,
        "weights_sha256": weights_sha256(sample),
    }


@dataclass
class _Race:
    """Which episodes every network has run, and which must come next. Equal networks run once and share the result."""

    protocol: Protocol
    networks: dict[str, Weights]
    """Distinct networks by hash."""
    hashes: list[str]
    """Each sample's network."""
    journal: Journal
    full: bool = False
    """Every sample runs all selection episodes."""
    results: dict[tuple[str, str], dict[int, tuple[float, bool, bool]]] = field(default_factory=dict)
    """(stage, hash) to episode seed to return, success once, success at end."""

    @classmethod
    def resume(cls, protocol: Protocol, samples: Sequence[Weights], journal: Journal, *, full: bool = False) -> "_Race":
        """Take up what a killed run left in the journal; episodes of other weights are of no use and are dropped."""
        hashes = [weights_sha256(weights) for weights in samples]
        race = cls(protocol, dict(zip(hashes, samples, strict=True)), hashes, journal, full)
        kept = journal.read()
        for row in kept.to_pylist() if kept is not None else ():
            result = row["return"], row["success_once"], row["success_at_end"]
            race.results.setdefault((row["stage"], row["weights_sha256"]), {})[row["episode_seed"]] = result
        return race

    def next_episodes(self) -> list[tuple[str, str, int]]:
        """(stage, hash, episode seed) to run next; empty when the top are known."""
        protocol = self.protocol
        if screening := self.missing("selection", self.networks, protocol.screening_episodes):
            return screening
        if self.full:
            return self.missing("selection", self.networks)
        lower, upper = self._bounds()
        threshold = sorted((lower[sha] for sha in self.hashes), reverse=True)[protocol.top - 1]
        alive = [sha for sha in self.networks if upper[sha] >= threshold and self._count(sha) < len(self._seeds)]
        # The most promising finish first: their scores raise the threshold that puts the others out.
        promising = sorted(self.networks, key=lambda sha: -lower[sha] / self._count(sha))[: protocol.top]
        if first := [sha for sha in promising if sha in alive]:
            return self.missing("selection", first)
        fewest = min((self._count(sha) for sha in alive), default=0)
        return self.missing("selection", [s for s in alive if self._count(s) == fewest], fewest + _RACE_STEP)

    def missing(self, stage: str, networks: Iterable[str], count: int | None = None) -> list[tuple[str, str, int]]:
        """Episodes that these networks have not run, of the stage's first `count`."""
        seeds = (self.protocol.test_seeds if stage == "test" else self.protocol.selection_seeds)[:count]
        return [
            (stage, sha, seed) for sha in networks for seed in seeds if seed not in self.results.get((stage, sha), ())
        ]

    def run(self, pairs: Sequence[tuple[str, str, int]], simulator: Simulator, description: str) -> None:
        """Roll these out and keep every finished part in the journal."""
        unit = partial(self._unit, simulator.task.standardiser)
        parts = [pairs[start : start + SCENES_PER_WORKER] for start in range(0, len(pairs), SCENES_PER_WORKER)]
        with tqdm(total=len(pairs), desc=description, unit="ep", leave=False, disable=None) as bar:
            for position, episodes in simulator.rollout(map(unit, parts)):
                self._keep(parts[position], episodes)
                bar.update(len(parts[position]))

    def chosen(self) -> list[int]:
        """The top samples, best first; equal returns by sample number."""
        complete = [s for s, sha in enumerate(self.hashes) if self._count(sha) == len(self._seeds)]
        lower, _ = self._bounds()
        return sorted(complete, key=lambda sample: (-lower[self.hashes[sample]], sample))[: self.protocol.top]

    def rows(self, unit: Unit, chosen: list[int]) -> pa.Table:
        """All episodes as `EPISODE_SCHEMA`."""
        rows = []
        for sample, sha in enumerate(self.hashes):
            rank = chosen.index(sample) if sample in chosen else -1
            constants = _sample_columns(unit, sample, self.networks[sha])
            stages = ("selection", "test") if rank >= 0 else ("selection",)
            for stage in stages:
                for seed, (total, once, at_end) in sorted(self.results[stage, sha].items()):
                    rows.append(
                        constants
                        | {
                            "stage": stage,
                            "episode_seed": seed,
                            "return": total,
                            "success_once": once,
                            "success_at_end": at_end,
                            "selected": rank >= 0,
                            "rank": rank,
                        }
                    )
        return pa.Table.from_pylist(rows, EPISODE_SCHEMA)

    def summary(self) -> dict[str, int]:
        """Selection episodes that were simulated, and those that a full evaluation of all samples would have."""
        run = sum(self._count(sha) for sha in self.networks)
        return {"distinct_networks": len(self.networks), "episodes": run, "full": len(self.hashes) * len(self._seeds)}

    @property
    def _seeds(self) -> range:
        return self.protocol.selection_seeds

    def _count(self, sha: str) -> int:
        return len(self.results.get(("selection", sha), ()))

    def _bounds(self) -> tuple[dict[str, float], dict[str, float]]:
        """Bounds on every network's sum of selection returns."""
        lower = {sha: sum(r[0] for r in self.results["selection", sha].values()) for sha in self.networks}
        left = {sha: len(self._seeds) - self._count(sha) for sha in self.networks}
        # A margin for float32 rounding of the returns: a step's reward can come out a hair above 1.
        return lower, {sha: lower[sha] + (self.protocol.horizon + 1e-3) * left[sha] for sha in self.networks}

    def _unit(self, standardiser: Standardiser, part: Sequence[tuple[str, str, int]]) -> Rollout:
        hashes = list(dict.fromkeys(sha for _, sha, _ in part))
        index = np.array([hashes.index(sha) for _, sha, _ in part])
        actor = PolicyActor.stack([self.networks[sha] for sha in hashes], index, standardiser)
        return Rollout(actor, np.array([seed for _, _, seed in part]))

    def _keep(self, part: Sequence[tuple[str, str, int]], episodes: Episodes) -> None:
        rows = []
        columns = episodes.returns.tolist(), episodes.success_once.tolist(), episodes.success_at_end.tolist()
        for (stage, sha, seed), total, once, at_end in zip(part, *columns, strict=True):
            self.results.setdefault((stage, sha), {})[seed] = (total, once, at_end)
            rows.append(
                {
                    "weights_sha256": sha,
                    "stage": stage,
                    "episode_seed": seed,
                    "return": total,
                    "success_once": once,
                    "success_at_end": at_end,
                }
            )
        self.journal.append(pa.Table.from_pylist(rows, ROLLOUT_SCHEMA))


def architectures_of(split: str, only: str | None = None) -> tuple[Architecture | None, ...]:
    """The architectures that a split's rows are about, or those of them that `only` names (comma between them).

    `only="all"` stands for the 64 training architectures, of which the split `seen` has 8. The split `joint` has the
    single None: the method chooses. Raises ValueError for an unknown split and for an architecture that is none of it.
    """
    if split == JOINT:
        if only is not None:
            raise ValueError("in the split joint the method chooses the architectures: leave --archs out")
        return (None,)
    splits = load_splits()
    known = {"seen": splits.seen, "unseen": splits.unseen, "outside": splits.outside}
    if split not in known:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(known)}")
    if only is None:
        return known[split]
    allowed = splits.train if split == "seen" else known[split]
    if only == "all":
        return allowed
    chosen = tuple(parse_architecture(name) for name in only.split(","))
    for arch in chosen:
        if arch not in allowed:
            expected = ", ".join(map(architecture_name, allowed))
            raise ValueError(f"{architecture_name(arch)} is not in the split {split}: expected some of {expected}")
    return chosen
