"""Options that several commands share, and how results are printed for machines."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from nnbench.errors import InputError
from nnbench.folders import RESULTS
from nnbench.protocol import Protocol, named_protocol

if TYPE_CHECKING:
    from nnbench.presentation.text import Format
    from nnbench.reading import Tables
    from nnbench.store.store import Store

TASK = "PickCube-v1"

Split = Literal["seen", "unseen", "outside", "widths", "depths", "joint"]
ProtocolName = Literal["paper", "quick"]
Partition = Literal["train", "seen", "unseen", "outside", "widths", "depths", "joint"]
TableName = Literal["1", "2", "3", "4", "6", "claims", "differences", "novelty", "cost", "roundtrip"]


@dataclass(frozen=True)
class Scale:
    """The protocol. Rows of different protocols never share a mean."""

    protocol: ProtocolName = "paper"
    """paper: the benchmark's own; quick: a first look, on about a fifth of its episodes. Numbers go before a name."""
    samples: Annotated[int | None, tyro.conf.arg(aliases=("--n",))] = None
    """Samples per architecture, default the protocol's."""
    top: Annotated[int | None, tyro.conf.arg(aliases=("--top-k",))] = None
    """How many of them, by mean return on the selection episodes, are tested."""
    selection_episodes: Annotated[int | None, tyro.conf.arg(aliases=("--episodes",))] = None
    """Selection episodes per sample."""
    test_episodes: int | None = None
    """Test episodes per selected sample."""

    def chosen(self) -> Protocol:
        """The protocol of this name with these numbers. Raises InputError."""
        given = {name: value for name, value in asdict(self).items() if name != "protocol" and value is not None}
        if "selection_episodes" in given:
            given["screening_episodes"] = min(Protocol.screening_episodes, given["selection_episodes"])
        return named_protocol(self.protocol, **given)


SCALE = Scale()


def opened_store(results: Path, *, units: bool = False) -> "Store":
    """A folder of results. Raises InputError where one that is named is not there, and, with `units`, holds none."""
    from nnbench.store.store import Store

    if not results.is_dir() and (units or results != RESULTS):
        raise InputError(f"{results}: no such folder; name one that `nnbench run` wrote to")
    store = Store(results)
    if units and not store.keys():
        raise InputError(f"{results}: holds no finished unit; `nnbench run` makes some")
    return store


def print_json(value: Any) -> None:
    """One JSON document on stdout; dataclasses as objects, paths as text."""
    print(json.dumps(value, default=_plain, indent=1))


def print_tables(tables: "Tables", form: "Format" = "text") -> None:
    """As wide as the terminal, or 120 characters where there is none."""
    print(tables.render(form, None if sys.stdout.isatty() else 120), end="")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path | Exception):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
