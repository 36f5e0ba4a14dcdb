"""TOML files read into frozen dataclasses. What does not fit is one error: which file, which key, what may be there."""

import difflib
import tomllib
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from nnbench.errors import InputError, NnbenchError, describe_error

T = TypeVar("T")


class ConfigurationError(NnbenchError, ValueError):
    """A plan or profile that cannot be. Names the file, the key and what was expected."""


def read_configuration(path: Path, kind: type[T], complete: Callable[[Any], Any] = lambda table: table) -> T:
    """The dataclass that a TOML file describes; a table stands for a dataclass, a list of tables for a tuple of them.

    `complete` may write out what the file says in short. Raises ConfigurationError.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: no TOML: {error}") from error
    except (RecursionError, ValueError) as error:  # numbers of thousands of digits, too
        raise ConfigurationError(f"{path}: no TOML that can be read: {describe_error(error)}") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return typing.cast(T, _build(kind, complete(table), str(path)))
    except InputError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _build(kind: Any, table: Any, where: str) -> Any:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where}: {table!r}, expected a table")
    kinds = typing.get_type_hints(kind)
    for key in table:
        if key not in kinds:
            close = difflib.get_close_matches(key, kinds, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigurationError(f"{where}: unknown key {key!r}; {hint}expected some of {', '.join(kinds)}")
    for field in fields(kind):
        if field.name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigurationError(f"{where}: {field.name!r} is missing")
    values = {key: _convert(kinds[key], value, f"{where}: {key}") for key, value in table.items()}
    try:
        return kind(**values)
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return _build(kind, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is types.UnionType:  # only optional values are
        return _convert(arguments[0], value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigurationError(f"{where} = {value!r}, expected one of {', '.join(map(repr, arguments))}")
        return value
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:  # True is no number
        expected = "a list" if origin is tuple else getattr(kind, "__name__", kind)
        raise ConfigurationError(f"{where} = {value!r}, expected {expected}")
    return value
