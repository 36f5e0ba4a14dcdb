"""Plans and profiles are read strictly: what does not fit is one error that names the place and what may be there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from nnbench.slurm.configuration import ConfigurationError, read_configuration


@dataclass(frozen=True)
class Part:
    name: str
    seeds: tuple[int, ...] = (0,)
    hours: float = 1.0
    kind: Literal["a", "b"] = "a"
    limit: int | None = None
    file: Path = Path("x")

    def __post_init__(self) -> None:
        if self.hours < 0:
            raise ValueError("hours is negative")


@dataclass(frozen=True)
class Whole:
    part: tuple[Part, ...] = ()
    one: Part = Part("one")


def _read(tmp_path: Path, text: str) -> Whole:
    file = tmp_path / "it.toml"
    file.write_text(text)
    return read_configuration(file, Whole)


def test_tables_become_dataclasses(tmp_path: Path) -> None:
    text = "[[part]]\nname = 'p'\nseeds = [1, 2]\nhours = 2\nkind = 'b'\nlimit = 3\nfile = 'y'\n[one]\nname = 'q'\n"
    expected = Whole((Part("p", (1, 2), 2.0, "b", 3, Path("y")),), Part("q"))
    assert _read(tmp_path, text) == expected and type(expected.part[0].hours) is float
    assert _read(tmp_path, "") == Whole()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[prat]]\n", "it.toml: unknown key 'prat'; did you mean 'part'? expected some of part, one"),
        ("[[part]]\nname = 'p'\nseed = [1]\n", "it.toml: part[0]: unknown key 'seed'; did you mean 'seeds'?"),
        ("[[part]]\nseeds = [1]\n", "it.toml: part[0]: 'name' is missing"),
        ("[one]\nname = 1\n", "it.toml: one: name = 1, expected str"),
        ("[one]\nname = 'p'\nseeds = [1, true]\n", "it.toml: one: seeds[1] = True, expected int"),
        ("[one]\nname = 'p'\nseeds = 3\n", "it.toml: one: seeds = 3, expected a list"),
        ("[one]\nname = 'p'\nkind = 'c'\n", "it.toml: one: kind = 'c', expected one of 'a', 'b'"),
        ("[one]\nname = 'p'\nhours = -1\n", "it.toml: one: hours is negative"),
        ("one = 3\n", "it.toml: one: 3, expected a table"),
        ("part = {\n", "it.toml: no TOML: "),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _read(tmp_path, text)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing.toml: cannot be read"):
        read_configuration(tmp_path / "nothing.toml", Whole)
