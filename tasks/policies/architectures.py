"""Architectures of the generated policies and the split into seen, unseen and outside.

An architecture is the tuple of its hidden widths, `(32, 16, 64, 32)`, written `32-16-64-32`. The space is
{16, 32, 64}^4 without the nine whose last two widths are both 16 (paper, appendix A): 72. The split file names the
64 that generators learn from, the 8 held out, and those 9.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, combinations_with_replacement
from pathlib import Path

from nnbench.errors import InputError

Architecture = tuple[int, ...]

MAX_WIDTH = 64
"""Of a hidden layer."""

_SPLIT_FILE = Path(__file__).parent / "splits.json"
_FURTHER_FILE = Path(__file__).parent / "further.json"


@dataclass(frozen=True)
class Splits:
    """The three disjoint sets of architectures, and the hash of the file they come from."""

    train: tuple[Architecture, ...]
    unseen: tuple[Architecture, ...]
    outside: tuple[Architecture, ...]
    seen: tuple[Architecture, ...]
    """The training architectures that the `seen` rows of the tables are measured on."""
    sha256: str

    def partition(self, arch: Architecture) -> str:
        """`train`, `unseen` or `outside`, else `widths` or `depths` for what these splits ask for, else `other`."""
        for name in ("train", "unseen", "outside"):
            if arch in getattr(self, name):
                return name
        return next((name for name, archs in load_further().items() if arch in archs), "other")


@cache
def load_splits() -> Splits:
    """Read the split file that ships with the package."""
    raw = _SPLIT_FILE.read_bytes()
    named = {key: tuple(map(parse_architecture, value)) for key, value in json.loads(raw).items()}
    return Splits(**named, sha256=hashlib.sha256(raw).hexdigest())


@cache
def load_further() -> Mapping[str, tuple[Architecture, ...]]:
    """The splits `widths` and `depths`, which no training on any track is about: other widths, and other depths.

    They are in a file of their own, for the hash of the paper's splits is in every zoo.
    """
    raw: dict[str, list[str]] = json.loads(_FURTHER_FILE.read_text())
    return {name: tuple(map(parse_architecture, archs)) for name, archs in raw.items()}


def parse_architecture(text: str) -> Architecture:
    """`"32-16-64-32"` to `(32, 16, 64, 32)`. Raises InputError where the text is no list of widths."""
    arch = tuple(map(int, text.split("-"))) if re.fullmatch(r"[0-9]{1,100}(-[0-9]{1,100})*", text) else ()
    if not arch or min(arch) < 1:
        raise InputError(f"architecture {text!r}: expected hidden widths joined by '-', for example 32-16-64-32")
    return arch


def architecture_name(arch: Architecture) -> str:
    """`(32, 16, 64, 32)` to `"32-16-64-32"`."""
    return "-".join(map(str, arch))


def check_widths(arch: Architecture, layers: int, name: str) -> None:
    """Raises InputError, naming the method, unless there are so many hidden layers, none of them wider than 64."""
    if len(arch) != layers or max(arch) > MAX_WIDTH:
        raise InputError(
            f"{name}: {architecture_name(arch)}: expected {layers} hidden layers, none wider than {MAX_WIDTH}"
        )


def layer_origins(layers: int, source_layers: int) -> list[tuple[int, ...]]:
    """Every way to make so many hidden layers of a network's own: from which of its layers each one comes, in order.

    A layer that comes up twice is passed on once. One that is missing is left out.
    """
    if layers < source_layers:
        return [*combinations(range(source_layers), layers)]
    repeated = combinations_with_replacement(range(source_layers), layers - source_layers)
    return sorted(tuple(sorted((*range(source_layers), *more))) for more in repeated)


def distance_to(arch: Architecture, trained: Iterable[Architecture]) -> float | None:
    """How far an architecture is from the nearest of those trained on: the sum over layers of |log2| of the ratio of
    widths. None where none of them has as many layers."""
    return min((doublings(arch, other) for other in trained if len(other) == len(arch)), default=None)


def doublings(arch: Architecture, other: Architecture) -> float:
    """Distance of two architectures: L1 on the log2 of their widths, of other depths after `best_origins`."""
    return _apart(arch, other, best_origins(arch, other))


def best_origins(arch: Architecture, other: Architecture) -> tuple[int, ...]:
    """Those of the `layer_origins` of `arch` out of `other` whose widths fit best, of equally good ones the first."""
    return min(layer_origins(len(arch), len(other)), key=lambda origins: _apart(arch, other, origins))


def _apart(arch: Architecture, other: Architecture, origins: Sequence[int]) -> float:
    return sum(abs(math.log2(width / other[origin])) for width, origin in zip(arch, origins, strict=True))


def layer_widths(arch: Architecture, observation_dim: int, action_dim: int) -> tuple[int, ...]:
    """All widths from input to output: layer l maps `widths[l]` to `widths[l + 1]`."""
    return (observation_dim, *arch, action_dim)


def parameter_shapes(arch: Architecture, observation_dim: int, action_dim: int) -> dict[str, tuple[int, ...]]:
    """State-dict keys and shapes of the policy, those of `nn.Sequential(Linear, ReLU, ..., Linear)`."""
    widths = layer_widths(arch, observation_dim, action_dim)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(len(widths) - 1):
        shapes[f"{2 * layer}.weight"] = (widths[layer + 1], widths[layer])
        shapes[f"{2 * layer}.bias"] = (widths[layer + 1],)
    return shapes


def architectures_of(split: str, only: str | None = None, splits: Splits | None = None) -> tuple[Architecture, ...]:
    """The architectures that a split's rows are about, or those of them that `only` names (comma between them).

    `only="all"` stands for all training architectures, of which the split `seen` has 8. `splits` are those of a track,
    by default the paper's. Raises InputError for an unknown split and for an architecture that is not in it.
    """
    splits = splits or load_splits()
    known = {"seen": splits.seen, "unseen": splits.unseen, "outside": splits.outside, **load_further()}
    if split not in known:
        raise InputError(f"unknown split {split!r}: expected one of {', '.join(known)}")
    if only is None:
        return known[split]
    allowed = splits.train if split == "seen" else known[split]
    if only == "all":
        return allowed
    chosen = tuple(parse_architecture(name) for name in only.split(","))
    for arch in chosen:
        if arch not in allowed:
            expected = ", ".join(map(architecture_name, allowed))
            raise InputError(f"{architecture_name(arch)} is not in the split {split}: expected some of {expected}")
    return chosen
