"""Verify published results: what `nnbench verify` does, from Python. Nothing is written anywhere."""

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from nnbench.errors import InputError, NnbenchError
from nnbench.harness.repetition import Repetition, average, repeat
from nnbench.harness.verification import examine, parse_unit
from nnbench.protocol import Unit, protocol_name
from nnbench.store.folder import Folder, Manifest
from nnbench.store.weights import has_tested
from nnbench.tasks.registry import TASKS
from nnbench.tasks.simulation.workers import Simulator, check_workers


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found of a unit, of an archive that cannot be read, or of all networks rolled out again on a task."""

    name: str
    """The unit's key, the archive's name or the task's."""
    source: Path | None = None
    """The archive or folder; None where it is about several."""
    protocol: str = ""
    """Its name, else the first digits of its hash; empty where it is about no unit."""
    failures: Sequence[str] = ()
    """One line each; empty where all is well."""
    tested: int = 0
    """Tested samples whose weights are stored and are those that the rows name."""
    repeated: Sequence[Repetition] = ()
    """What was rolled out again."""

    def __str__(self) -> str:
        if self.failures:
            return "\n".join(f"FAILED {line}" for line in self.failures)
        details = [f"weights of {self.tested} samples" if self.tested else "no weights"] if self.protocol else []
        details += [str(average(self.repeated))] if self.repeated else []
        return f"ok     {self.name}: {'; '.join(details)}"


def verify(
    archives: str | Path | Sequence[str | Path], *, rollouts: int = 4, seed: int = 0, workers: int | None = None
) -> Iterator[Verified]:
    """Check published units, and roll some of their tested networks out again. Loop over what it returns.

    Checked are hashes, schemas, the protocol's version, that units are whole, that their numbers are possible, and that
    the race, run again on the rows, ends with their top. What is wrong with a unit is in its `failures`; the others are
    verified all the same. Novelty is not computed again.

    Args:
        archives: Archives that `nnbench publish` wrote, or folders of archives or of finished units.
        rollouts: How many networks are rolled out on their test episodes, spread over the units of tasks that ship
            whose weights are stored.
        seed: Of the choice of these networks.
        workers: Simulation processes, default one per core.

    Raises InputError for a path that is not there, and for numbers out of range.
    """
    paths = [archives] if isinstance(archives, str | Path) else list(archives)
    if not paths:
        raise InputError("no archive is named; `nnbench publish FOLDER` writes them")
    if rollouts < 0:
        raise InputError(f"--rollouts {rollouts}: expected 0 or more")
    check_workers(workers)
    return _verify([source for path in paths for source in _sources(Path(path))], rollouts, seed, workers)


@dataclass(frozen=True)
class _Claim:
    """A unit that somebody published."""

    folder: Folder
    manifest: Manifest
    unit: Unit

    @property
    def can_be_repeated(self) -> bool:
        return has_tested(self.folder, self.unit.key) and self.unit.task in TASKS


def _sources(path: Path) -> list[Folder]:
    """Archives one by one: no unit of one hides the same unit of another. Then what lies loose."""
    if not path.exists():
        raise InputError(f"{path}: no such archive or folder; `nnbench publish FOLDER` writes archives")
    if path.is_file() and not path.name.endswith(".tar.xz"):
        raise InputError(f"{path}: not an archive of results (.tar.xz)")
    if path.is_file():
        return [Folder(path)]
    found = [Folder(archive) for archive in sorted(path.glob("*.tar.xz"))]
    if any(path.glob("*.json")):
        found.append(Folder(path))
    if not found:
        raise InputError(f"{path}: holds neither archives nor finished units; name what `nnbench publish` wrote")
    return found


def _verify(sources: Sequence[Folder], rollouts: int, seed: int, workers: int | None) -> Iterator[Verified]:
    claims: list[_Claim] = []
    for folder in sources:
        found, failures = _read_claims(folder)
        claims += found
        if failures:
            yield Verified(source=folder.root, name=folder.root.name, failures=failures)
    chosen, repeated = _choose(claims, rollouts, seed), dict[str, list[Repetition]]()
    with ExitStack() as stack:
        simulators = {
            task: stack.enter_context(Simulator(TASKS[task], workers))
            for task in {claims[position].unit.task for position in chosen}
        }
        for position, claim in enumerate(claims):
            verified = _verify_unit(claim, chosen.get(position, []), simulators.get(claim.unit.task))
            repeated.setdefault(claim.unit.task, []).extend(verified.repeated)
            yield verified
    for task, networks in repeated.items():
        if len(networks) > 1:
            mean = average(networks)
            yield Verified(name=task, failures=_unexplained(task, [mean]), repeated=[mean])


def _read_claims(folder: Folder) -> tuple[list[_Claim], list[str]]:
    """The units of an archive, or those that lie loose in a folder, by key; and what is wrong with manifests."""
    archived = folder.root.is_file()
    found: list[_Claim] = []
    failures: list[str] = []
    try:
        names = folder.names()
    except NnbenchError as error:
        return found, [str(error)]
    for name in sorted(name for name in names if name.endswith(".json")):
        if not archived and not (folder.root / name).is_file():
            continue  # it is in an archive, which has its own turn
        try:
            found.append(_Claim(folder, *parse_unit(folder, name)))
        except NnbenchError as error:
            failures.append(str(error))
    named = {name for claim in found for name in (claim.manifest.name, *claim.manifest.sha256)}
    if archived and not failures and (strange := sorted(names - named)):
        failures.append(f"{folder.root}: holds {', '.join(strange)}, which no manifest names; publish it again")
    if archived and not found and not failures:
        failures.append(f"{folder.root}: holds no unit; publish it again")
    return found, failures


def _choose(claims: Sequence[_Claim], count: int, seed: int) -> dict[int, list[int]]:
    """The ranks to roll out, by the claim's position; the units' numbers of them differ by one at most."""
    rng = random.Random(seed)
    able = [position for position, claim in enumerate(claims) if claim.can_be_repeated]
    rng.shuffle(able)
    chosen = {}
    for place, position in enumerate(able):
        top = claims[position].unit.protocol.top
        share = min(top, count // len(able) + (place < count % len(able)))
        if share:
            chosen[position] = sorted(rng.sample(range(top), share))
    return chosen


def _verify_unit(claim: _Claim, ranks: Sequence[int], simulator: Simulator | None) -> Verified:
    failures: list[str] = []
    repeated: list[Repetition] = []
    tested, key = 0, claim.unit.key
    try:
        examined = examine(claim.folder, claim.manifest, claim.unit)
        tested = len(examined.weights)
        if simulator is not None:
            repeated = [repeat(examined, rank, simulator) for rank in ranks]
            failures = _unexplained(f"{key} (made with {claim.manifest.content['versions']})", repeated)
    except NnbenchError as error:
        failures = [str(error)]
    return Verified(
        source=claim.folder.root,
        name=key,
        protocol=protocol_name(claim.unit.protocol),
        failures=failures,
        tested=tested,
        repeated=repeated,
    )


def _unexplained(name: str, repeated: Sequence[Repetition]) -> list[str]:
    return [f"{name}: {one}, further apart than rounding explains" for one in repeated if not one.explained]
