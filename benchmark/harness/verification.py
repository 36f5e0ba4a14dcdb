"""Examines finished units of somebody else: are they whole, possible, and ranked by the benchmark's rule?

Nothing is simulated here, and nothing is believed: names, types and numbers are checked before they are used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from nnbench.errors import NnbenchError
from nnbench.harness.race import MARGIN, Episode, Race, Result
from nnbench.protocol import Protocol, Unit
from nnbench.store.folder import Folder, Manifest
from nnbench.store.schemas import EPISODE_SCHEMA, POLICY_SCHEMA, conform, most_rows
from nnbench.store.validation import check_rows
from nnbench.store.weights import has_tested, read_tested
from nnbench.tasks.files import parse_parquet
from nnbench.tasks.policies.architectures import parse_architecture
from nnbench.tasks.policies.tracks import track_of

if TYPE_CHECKING:
    from nnbench.tasks.policies.mlp import Weights

_STATED = ("versions", "machine", "command", "created", "info")
"""What a manifest says of where its numbers come from."""


class VerificationError(NnbenchError, ValueError):
    """A result that cannot be what it says. Names the unit and what is wrong with it."""


@dataclass(frozen=True)
class Examined:
    """A unit whose rows keep every rule."""

    unit: Unit
    manifest: Manifest
    rows: pa.Table
    """EPISODE_SCHEMA"""
    policies: pa.Table
    """POLICY_SCHEMA"""
    weights: Mapping[int, "Weights"]
    """Of the tested samples, those that rows and hashes name; empty where none are stored."""

    def sample(self, rank: int) -> int:
        """The tested sample of this rank."""
        ranks: list[int] = self.policies["rank"].to_pylist()
        return ranks.index(rank)


def parse_unit(folder: Folder, name: str) -> tuple[Manifest, Unit]:
    """The manifest of this file name and its unit. Raises DamagedError or VerificationError."""
    path, manifest = folder.root / name, folder.manifest(name.removesuffix(".json"))
    unit = Unit.from_fields(dict(manifest.unit))
    if unit.protocol.version != Protocol().version:
        raise VerificationError(
            f"{path}: version {unit.protocol.version} of the protocol, this nnbench knows {Protocol().version}; run it "
            "again, or verify it with the nnbench that made it"
        )
    return manifest, unit


def examine(folder: Folder, manifest: Manifest, unit: Unit) -> Examined:
    """Check the files of a unit from `parse_unit`. Raises an error that names what is wrong."""
    if missing := [name for name in _STATED if name not in manifest.content]:
        raise VerificationError(f"{manifest.name}: does not state {', '.join(missing)}; publish it with this nnbench")
    for name in folder.files(manifest):
        folder.read_verified(name, manifest)
    rows = _read(folder, f"{unit.key}.parquet", manifest, EPISODE_SCHEMA)
    policies = _read(folder, f"{unit.key}.policies.parquet", manifest, POLICY_SCHEMA)
    protocol = unit.protocol
    fewest = protocol.samples * protocol.screening_episodes + protocol.top * protocol.test_episodes
    if rows.num_rows < fewest or policies.num_rows != protocol.samples:
        raise VerificationError(
            f"{unit.key}: {rows.num_rows} episodes of {policies.num_rows} samples, expected at least {fewest} of "
            f"{protocol.samples}"
        )
    check_rows(unit, rows, policies)
    _check_partitions(unit, policies)
    _check_ranges(unit, rows, policies)
    _check_ranking(unit, rows, policies)
    weights = read_tested(folder, manifest, policies) if has_tested(folder, unit.key) else {}
    return Examined(unit, manifest, rows, policies, weights)


def _read(folder: Folder, name: str, manifest: Manifest, schema: pa.Schema) -> pa.Table:
    """All columns as the file has them, also those that the manifest states too."""

    def parse(content: bytes) -> pa.Table:
        return conform(parse_parquet(content, most_rows(manifest.protocol)), schema, name)

    return folder.parse_verified(name, manifest, parse)


def _check_partitions(unit: Unit, policies: pa.Table) -> None:
    """What a method chose itself is called what it is: held out, trained on, or other."""
    track = track_of(unit.track)
    if track is None:  # of a user's file, which is not here
        return
    for row in policies.select(["arch", "partition", "sample"]).to_pylist():
        expected = track.splits.partition(parse_architecture(row["arch"]))
        if row["partition"] != expected:
            raise VerificationError(
                f"{unit.key}: sample {row['sample']}: {row['arch']} is called {row['partition']!r}, it is {expected!r}"
            )


def _check_ranges(unit: Unit, rows: pa.Table, policies: pa.Table) -> None:
    """Numbers that no rollout and no network can give."""
    most = (1 + MARGIN) * unit.protocol.horizon
    returns = rows["return"]
    wrong = {
        f"returns outside 0 to {unit.protocol.horizon}": _outside(returns, -MARGIN, most),
        "episodes solved at the end and never": pc.and_(rows["success_at_end"], pc.invert(rows["success_once"])),
        "ranks outside -1 to top - 1": _outside(rows["rank"], -1, unit.protocol.top - 1),
    }
    for name in ("ghn_distance", "ghn_spread", "other_l2", "action_distance", "action_spread"):
        wrong[f"negative {name}"] = pc.less(policies[name], 0)
    wrong["other_cosine outside -1 to 1"] = pc.greater(pc.abs(policies["other_cosine"]), 1 + MARGIN)
    for what, mask in wrong.items():
        if count := pc.sum(mask).as_py():
            raise VerificationError(f"{unit.key}: {count} {what}, which no rollout gives")


def _outside(column: pa.ChunkedArray, least: float, most: float) -> pa.ChunkedArray:
    """True where a number lies outside, or is none."""
    return pc.invert(pc.and_(pc.greater_equal(column, least), pc.less_equal(column, most)))


def _check_ranking(unit: Unit, rows: pa.Table, policies: pa.Table) -> None:
    """Run the race again on the rows: it must be over, and its top must be theirs."""
    columns = ["sample", "stage", "episode_seed", "return", "success_once", "success_at_end", "diverged"]
    hashes: list[str] = policies["weights_sha256"].to_pylist()
    race, known, seen = Race(unit.protocol, hashes), dict[Episode, Result](), set[tuple[int, Any, int]]()
    seeds = {"selection": unit.protocol.selection_seeds, "test": unit.protocol.test_seeds}
    for row in rows.select(columns).to_pylist():
        episode = Episode(row["stage"], hashes[row["sample"]], row["episode_seed"])
        result = Result(row["return"], row["success_once"], row["success_at_end"], row["diverged"])
        place = (row["sample"], episode.stage, episode.seed)
        if place in seen or episode.seed not in seeds.get(episode.stage, ()):
            raise VerificationError(
                f"{unit.key}: sample {row['sample']} has the {episode.stage} episode {episode.seed} twice, or the "
                "protocol has no such episode"
            )
        if known.setdefault(episode, result) != result:
            raise VerificationError(
                f"{unit.key}: samples of equal weights scored differently on seed {episode.seed} of {episode.stage}"
            )
        seen.add(place)
        race.record(episode, result)
    if unfinished := race.next_selection():
        raise VerificationError(
            f"{unit.key}: {len(unfinished)} selection episodes are missing that could change the top, the first of "
            f"sample {hashes.index(unfinished[0].network)} on seed {unfinished[0].seed}"
        )
    ranked = sorted((row for row in policies.select(["rank", "sample"]).to_pylist() if row["rank"] >= 0), key=_rank)
    stated = [row["sample"] for row in ranked]
    if stated != race.chosen() or [row["rank"] for row in ranked] != list(range(unit.protocol.top)):
        raise VerificationError(
            f"{unit.key}: its top are the samples {stated}, by mean return on the selection episodes it is "
            f"{race.chosen()}"
        )


def _rank(row: Mapping[str, int]) -> int:
    return row["rank"]
