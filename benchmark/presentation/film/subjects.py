"""Which policies are filmed, and in which episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nnbench.errors import NnbenchError
from nnbench.protocol import JOINT, Protocol, Unit
from nnbench.store.store import Store
from nnbench.tasks.policies.architectures import Architecture, architecture_name, load_splits
from nnbench.tasks.policies.mlp import GaussianActor, PolicyActor, Weights
from nnbench.tasks.policies.standardiser import Standardiser
from nnbench.tasks.task import Actor, Task
from nnbench.tasks.zoo.expert import SCORING_SEEDS, load_expert
from nnbench.tasks.zoo.manifest import read_index, verify
from nnbench.tasks.zoo.zoo import Zoo

Place = Literal["best", "median", "worst"]
PLACES: tuple[Place, ...] = ("best", "median", "worst")


class FilmError(NnbenchError, ValueError):
    """Nothing can be filmed. Names what is missing and the remedy."""


@dataclass(frozen=True)
class Subject:
    """A policy and the episodes that it is filmed in."""

    group: str
    """Subjects of a group are seen side by side in a video."""
    title: str
    detail: str
    actor: Actor
    seeds: Sequence[int]
    headline: str = "success_at_end"
    """Which of the two successes of an episode counts."""
    known: Mapping[int, tuple[float, bool]] | None = None
    """Return and success by episode seed, as they were stored when the policy was measured."""


def find_units(
    store: Store, protocol: Protocol, task: str, method: str, seed: int, archs: Sequence[Architecture | None]
) -> list[Unit]:
    """The finished units of a method, in the order of `archs`; unfinished ones are left out.

    Raises FilmError where none is finished, or where one is of two trained methods.
    """
    units: dict[Architecture | None, Unit] = {}
    for manifest in store.manifests():
        unit = Unit.from_fields(manifest["unit"])
        if (unit.protocol, unit.task, unit.method, unit.generator_seed) != (protocol, task, method, seed):
            continue
        if unit.arch in archs and unit.arch in units:
            raise FilmError(
                f"{store.root}: {method} on {task}, {unit.asked_for}, was measured as trained in two ways; delete the "
                "files of one of them or choose another --results"
            )
        units[unit.arch] = unit
    if found := [units[arch] for arch in archs if arch in units]:
        return found
    partition = JOINT if archs[0] is None else load_splits().partition(archs[0])
    names = ", ".join(JOINT if arch is None else architecture_name(arch) for arch in archs)
    raise FilmError(
        f"{store.root}: {method} on {task}, {names}, was not measured with generator seed {seed} and protocol "
        f"{protocol.short}; `nnbench run --method {method} --task {task} --split "
        f"{ {'train': 'seen'}.get(partition, partition) }` measures it"
    )


def stored_subjects(
    store: Store, task: Task, units: Sequence[Unit], places: Sequence[Place], episodes: int
) -> list[Subject]:
    """Of the selected of these units of a task, on the first test episodes.

    Raises StoreError where the weights of a unit are not stored.
    """
    subjects = []
    for unit in units:
        protocol = unit.protocol
        _check_episodes(episodes, protocol.test_episodes)
        samples = store.weights(unit)
        tested = [row for row in store.unit_rows(unit).to_pylist() if row["stage"] == "test"]
        for place in places:
            rank = rank_of(place, protocol.top)
            mine = {row["episode_seed"]: row for row in tested if row["rank"] == rank}
            row = mine[protocol.test_seeds[0]]
            share = np.mean([other[protocol.headline] for other in mine.values()])
            subjects.append(
                Subject(
                    group=unit.asked_for,
                    title=row["arch"],
                    detail=f"{place}: {100 * share:.0f} % of {len(mine)}",
                    actor=_alone(samples[row["sample"]], episodes, task.standardiser),
                    seeds=protocol.test_seeds[:episodes],
                    headline=protocol.headline,
                    known={seed: (other["return"], other[protocol.headline]) for seed, other in mine.items()},
                )
            )
    return subjects


def zoo_subjects(
    zoo: Zoo, archs: Sequence[Architecture | None], places: Sequence[Place], episodes: int
) -> list[Subject]:
    """Of the ten policies of each architecture with the highest return on the episodes that the zoo was validated on.

    They are filmed on the first of these. Raises FilmError for an architecture without validated policies.
    """
    validation = verify(zoo.directory, zoo.task)["filter"]
    _check_episodes(episodes, validation["episodes"])
    rows, subjects = read_index(zoo.directory), []
    for arch in archs:
        if arch is None:
            raise FilmError("the policies of a zoo are of given architectures; choose another --split than joint")
        name = architecture_name(arch)
        best_first = sorted((row for row in rows if row["arch"] == name), key=lambda row: -row["return"])
        top = best_first[: Protocol.top]
        if not top:
            raise FilmError(
                f"{zoo.directory}: no policy of {name} was validated; choose one of --split seen, or `nnbench zoo "
                f"build --task {zoo.task.name}` validates all"
            )
        policies = zoo.policies(arch)
        for place in places:
            row = top[rank_of(place, len(top))]
            detail = f"{place}: {100 * row['success_at_end']:.0f} % of {row['episodes']}"
            seeds = range(validation["first_seed"], validation["first_seed"] + episodes)
            actor = _alone(policies[row["ghn_seed"]], episodes, zoo.task.standardiser)
            subjects.append(Subject(name, name, detail, actor, seeds))
    return subjects


def expert_subject(path: Path, episodes: int) -> Subject:
    """An expert on the first of the episodes that experts are scored on."""
    _check_episodes(episodes, len(SCORING_SEEDS))
    actor = GaussianActor.from_state_dict(load_expert(path))
    return Subject("expert", "PPO expert", "deterministic", actor, SCORING_SEEDS[:episodes])


def rank_of(place: Place, count: int) -> int:
    """Position among `count`, best first; of two in the middle the median is the lower."""
    return {"best": 0, "median": count // 2, "worst": count - 1}[place]


def _alone(weights: Weights, episodes: int, standardiser: Standardiser) -> PolicyActor:
    return PolicyActor.stack([weights], np.zeros(episodes, int), standardiser)


def _check_episodes(episodes: int, most: int) -> None:
    if not 1 <= episodes <= most:
        raise FilmError(f"--episodes {episodes}: expected 1 to {most}")
