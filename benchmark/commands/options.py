"""Options that several commands share, and how results are printed for machines."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from nnbench.protocol import Protocol

if TYPE_CHECKING:
    from nnbench.presentation.text import Format
    from nnbench.reading import Tables

TASK = "PickCube-v1"

Split = Literal["seen", "unseen", "outside", "joint"]
Partition = Literal["train", "seen", "unseen", "outside", "joint"]
TableName = Literal["1", "2", "3", "4", "6", "differences", "novelty", "roundtrip"]


@dataclass(frozen=True)
class Scale:
    """The protocol's numbers. Rows of different numbers never share a table."""

    samples: Annotated[int, tyro.conf.arg(aliases=("--n",))] = Protocol.samples
    """Samples per architecture."""
    top: Annotated[int, tyro.conf.arg(aliases=("--top-k",))] = Protocol.top
    """How many of them, by mean return on the selection episodes, are tested."""
    selection_episodes: Annotated[int, tyro.conf.arg(aliases=("--episodes",))] = Protocol.selection_episodes
    """Selection episodes per sample."""
    test_episodes: int = Protocol.test_episodes
    """Test episodes per selected sample."""

    def protocol(self) -> Protocol:
        """The benchmark's protocol with these numbers. Raises InputError."""
        return Protocol(
            samples=self.samples,
            top=self.top,
            selection_episodes=self.selection_episodes,
            screening_episodes=min(Protocol.screening_episodes, self.selection_episodes),
            test_episodes=self.test_episodes,
        )


SCALE = Scale()


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
