"""Tracks: which policies generators learn from, and which architectures they are asked for.

A track is a source of policies and a split of the architectures. `paper` is the NNiT paper's. The others that ship are
the files of `tracks/`; a track of one's own is a file of the same form.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from nnbench.errors import InputError
from nnbench.tasks.policies.architectures import (
    Architecture,
    Splits,
    architecture_name,
    layer_origins,
    load_splits,
    parse_architecture,
)

SourceName = Literal["hypernetworks", "sgd"]
"""What the policies come from: hypernetworks wrote them, or each was trained by itself (stochastic gradient descent).
"""

WITH_PAPERS_SPLITS: Mapping[SourceName, str] = {"hypernetworks": "paper", "sgd": "sgd"}
"""By source the track that has the paper's splits."""

_FOLDER = Path(__file__).parent / "tracks"
_KEYS = ("asks", "source", "train", "unseen", "seen")
_SEEN = 8
"""Training architectures that the split `seen` measures, where a track's file names none."""


@dataclass(frozen=True)
class Track:
    """A source of policies and a split of the architectures."""

    name: str
    asks: str
    """The question, in a sentence."""
    source: SourceName
    splits: Splits
    origin: str
    """What `load_track` makes the same track of: the name, or the path of a file."""

    @property
    def label(self) -> str:
        """What rows carry: the name and the first digits of the hash, of the paper's track the name alone."""
        return self.name if self.name == "paper" else f"{self.name}-{self.splits.sha256[:12]}"

    def identity(self, zoo_sha256: str) -> str:
        """Identity of what a generator learns from: the zoo and the track. On the paper's track it is the zoo's."""
        if self.name == "paper":
            return zoo_sha256
        return hashlib.sha256(f"{zoo_sha256} {self.splits.sha256}".encode()).hexdigest()

    def unit_fields(self, arch: Architecture | None) -> dict[str, str]:
        """What a `Unit` of an architecture, or of one that the method chooses, says of the track."""
        if self.name == "paper":
            return {}
        return {"track": self.label, "partition": self.splits.partition(arch) if arch else ""}

    def contained(self, arch: Architecture) -> tuple[Architecture, ...]:
        """The training architectures whose policies, padded with silent units, are exact policies of `arch`."""
        return tuple(one for one in self.splits.train if contains(arch, one))


def contains(arch: Architecture, other: Architecture) -> bool:
    """Whether a policy of `other` can be padded to one of `arch` that does exactly the same.

    No layer may be wider than its own, and of the layers that `arch` has more, each passes on what the one before it
    computes.
    """
    return len(arch) >= len(other) and any(
        all(width >= other[origin] for width, origin in zip(arch, origins, strict=True))
        for origins in layer_origins(len(arch), len(other))
    )


def shipped_tracks() -> list[Track]:
    """All that ship, the paper's first."""
    return [_load_shipped(name) for name in _shipped_names()]


def load_track(source: str) -> Track:
    """The track of a name that ships, or of a TOML file.

    Raises InputError for an unknown name, and for a file that cannot be read or does not describe a track.
    """
    if source.endswith(".toml"):
        return _read(Path(source), str(Path(source).absolute()))
    if source not in _shipped_names():
        known = ", ".join(_shipped_names())
        raise InputError(f"unknown track {source!r}: expected one of {known}, or the path of a file (.toml)")
    return _load_shipped(source)


def track_of(label: str) -> Track | None:
    """The track that ships and whose `label` this is; None for a user's own, or for another version's."""
    return next((track for track in shipped_tracks() if track.label == label), None)


def _shipped_names() -> list[str]:
    return ["paper", *sorted(path.stem for path in _FOLDER.glob("*.toml"))]


@cache
def _load_shipped(name: str) -> Track:
    if name == "paper":
        asks = "The paper's tables. Seven of the eight held-out architectures contain a training architecture."
        return Track("paper", asks, "hypernetworks", load_splits(), "paper")
    return _read(_FOLDER / f"{name}.toml", name)


def _read(path: Path, origin: str) -> Track:
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path of the track") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a TOML file ({error}); correct it") from error
    if unknown := sorted(raw.keys() - {*_KEYS}):
        raise InputError(f"{path}: unknown {', '.join(unknown)}; a track has {', '.join(_KEYS)}")
    if not isinstance(asks := raw.get("asks"), str) or not asks.strip():
        raise InputError(f"{path}: asks = {asks!r}, expected what the track asks, in a sentence")
    source = raw.get("source", "hypernetworks")
    if source not in get_args(SourceName):
        raise InputError(f"{path}: source = {source!r}, expected one of {', '.join(get_args(SourceName))}")
    if path.stem == "paper":
        raise InputError(f"{path}: paper is the name of a track that ships; call the file otherwise")
    return Track(path.stem, asks, source, _splits(path, raw, source), origin)


def _splits(path: Path, raw: Mapping[str, Any], source: SourceName) -> Splits:
    """Those of a file: what it leaves out is the paper's, or follows from the rest."""
    paper = load_splits()
    space = (*paper.train, *paper.unseen)
    unseen = _architectures(path, raw, "unseen") or paper.unseen
    train = _architectures(path, raw, "train") or tuple(arch for arch in space if arch not in unseen)
    if both := [architecture_name(arch) for arch in unseen if arch in train]:
        raise InputError(f"{path}: {', '.join(both)} is in train and in unseen; a track holds out what it asks for")
    if strange := [architecture_name(arch) for arch in train if arch not in (*space, *paper.outside)]:
        raise InputError(
            f"{path}: train has {', '.join(strange)}, of which no zoo has policies; expected widths out of 16, 32, 64 "
            "in four layers"
        )
    outside = tuple(arch for arch in paper.outside if arch not in (*train, *unseen))
    seen = _architectures(path, raw, "seen") or _spread(tuple(arch for arch in paper.seen if arch in train), train)
    if strange := [architecture_name(arch) for arch in seen if arch not in train]:
        raise InputError(f"{path}: seen has {', '.join(strange)}, which is not in train")
    named = {"train": train, "unseen": unseen, "outside": outside, "seen": seen}
    text = json.dumps({"source": source} | {name: [*map(architecture_name, archs)] for name, archs in named.items()})
    return Splits(**named, sha256=hashlib.sha256(text.encode()).hexdigest())


def _architectures(path: Path, raw: Mapping[str, Any], name: str) -> tuple[Architecture, ...]:
    if name not in raw:
        return ()
    values = raw[name]
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise InputError(f'{path}: {name} = {values!r}, expected a list of architectures, as in ["32-16-64-32"]')
    try:
        archs = tuple(map(parse_architecture, values))
    except InputError as error:
        raise InputError(f"{path}: {name}: {error}") from error
    if twice := sorted({architecture_name(arch) for arch in archs if archs.count(arch) > 1}):
        raise InputError(f"{path}: {name} names {', '.join(twice)} twice")
    return archs


def _spread(first: Sequence[Architecture], train: Sequence[Architecture]) -> tuple[Architecture, ...]:
    """Up to eight training architectures: those that come `first`, then some spread over all."""
    others = [arch for arch in train if arch not in first]
    missing = min(_SEEN - len(first), len(others))
    return (*first, *(others[i * len(others) // missing] for i in range(missing)))
