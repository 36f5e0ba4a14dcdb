"""Finds weight generators by name and imports one only when it is asked for.

Three doors lead to a method: a file or package in `methods/`, a plugin file given by its path, and the entry-point
group `nnbench.methods` of any installed package, whose value is the module that holds the class `Method`.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Self

import cloudpickle

from nnbench.api import Generator
from nnbench.code import hash_class, hash_code
from nnbench.discovery import Location, RegistryError, find_methods
from nnbench.errors import InputError, describe_error
from nnbench.facts import Facts, FactsError, read_facts
from nnbench.sources import run_file

_REQUIRED = tuple(
    name
    for name in dict.fromkeys([*Generator.__annotations__, *vars(Generator)])
    if not name.startswith("_") and name not in ("version", "trained_as")  # which few methods have to know of
)
_REMEDY = "the docstring of nnbench.api shows the smallest method"


@dataclass(frozen=True)
class MethodSource:
    """How any process gets at a method's class, and which code that is."""

    facts: Facts
    plugins: tuple[Path, ...] = ()
    pickled: bytes | None = None
    """The class itself, as it was handed over: one that somebody defined in a notebook or in a module of their own."""
    code_sha256: str | None = None
    """Identity of the code; None for the first version of a method that ships."""
    ships: bool = False
    """True if the class is nnbench's own."""
    trainer: "MethodSource | None" = None
    """The method whose training this one uses."""

    @property
    def name(self) -> str:
        """The method's name."""
        return self.facts.name

    @classmethod
    def of(cls, method: "str | type[Generator]", plugins: Sequence[Path] = ()) -> Self:
        """From a name, or from a class. No plugin and no installed method is imported.

        Raises RegistryError where there is no such method, FactsError where its facts cannot be read, and InputError
        where its code cannot be.
        """
        if isinstance(method, str):
            plugins = tuple(path.absolute() for path in plugins)
            location = _find(method, plugins)
            facts = read_facts(location)
            _check_name(location, facts.name)
            return cls(facts, plugins, None, hash_code(location), location.ships, cls._trainer(facts, plugins))
        checked = check_contract(method, f"class {method.__qualname__}")
        ships = checked.__module__.startswith("nnbench.")
        facts = Facts.of(checked)
        return cls(facts, (), _pickle(checked), hash_class(checked), ships, cls._trainer(facts, ()))

    @classmethod
    def _trainer(cls, facts: Facts, plugins: tuple[Path, ...]) -> Self | None:
        if facts.trained_as is None:
            return None
        location = _find(facts.trained_as, plugins)
        if (further := read_facts(location).trained_as) is not None:
            raise RegistryError(
                f"method {facts.name}: trained_as names {location.name!r}, which is trained as {further!r}; name that"
            )
        return cls.of(location.name, plugins)

    def load(self) -> type[Generator]:
        """The class. Raises RegistryError, and InputError where its code is no longer what it was."""
        if self.pickled is None:
            self.check_code()
            return load_method(self.name, self.plugins)
        method: type[Generator] = cloudpickle.loads(self.pickled)
        return method

    def check_code(self) -> None:
        """Raises InputError where the code is no longer what it was; a class that was given itself is."""
        if self.pickled is None and hash_code(_find(self.name, self.plugins)) != self.code_sha256:
            raise InputError(f"method {self.name}: its code changed meanwhile; run the same command again")


def _pickle(method: type[Generator]) -> bytes:
    """The class by value, so that a later edit or import of its module changes nothing; what ships by its name."""
    module = sys.modules.get(method.__module__)
    if module is None or method.__module__.split(".")[0] in ("nnbench", "__main__"):
        return cloudpickle.dumps(method)
    cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(method)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def load_method(name: str, plugins: Sequence[Path] = ()) -> type[Generator]:
    """Import one method and check that it has what `nnbench.api.Generator` asks for.

    A hyphen in the name stands for the underscore that Python's file names need. Raises RegistryError naming the file
    and the remedy where that fails, also for an import that is missing.
    """
    location = _find(name, plugins)
    try:
        module = _load_module(location)
    except ImportError as error:
        cause = f"module {error.name!r} is not installed" if isinstance(error, ModuleNotFoundError) else error
        raise RegistryError(f"method {location.name!r} ({location.where}) cannot be imported: {cause}") from error
    except BaseException as error:  # what runs at import is the method's own
        reason = describe_error(error)
        raise RegistryError(f"method {location.name!r} ({location.where}) cannot be imported: {reason}") from error
    method = getattr(module, location.attribute, None)
    if not isinstance(method, type):
        raise RegistryError(f"{location.where}: no class {location.attribute}; {_REMEDY}")
    checked = check_contract(method, f"{location.where}: class {location.attribute}")
    _check_name(location, checked.name)
    return checked


def _check_name(location: Location, name: str) -> None:
    if name != location.name:
        raise RegistryError(f"{location.where}: listed as {location.name!r} but its name is {name!r}; make them equal")


def check_contract(method: type, who: str) -> type[Generator]:
    """The class itself, if it has all that `Generator` asks for and its facts are valid. Raises RegistryError."""
    abstract: frozenset[str] = getattr(method, "__abstractmethods__", frozenset())
    missing = [member for member in _REQUIRED if not hasattr(method, member) or member in abstract]
    if missing:
        raise RegistryError(f"{who} lacks {', '.join(missing)}; {_REMEDY}")
    try:
        Facts.of(method)
    except FactsError as error:
        raise RegistryError(f"{who}: {error}") from error
    found: type[Generator] = method
    return found


def _find(name: str, plugins: Sequence[Path]) -> Location:
    locations = {location.name: location for location in reversed(find_methods(plugins))}  # of one name, the usable one
    if name.replace("-", "_") in locations:
        name = name.replace("-", "_")
    if name not in locations:
        close = difflib.get_close_matches(name, locations, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise RegistryError(f"unknown method {name!r}; {hint}known: {', '.join(sorted(locations))}")
    if (problem := locations[name].problem) is not None:
        raise RegistryError(f"method {name!r} ({locations[name].where}): {problem}")
    return locations[name]


def _load_module(location: Location) -> ModuleType:
    if isinstance(location.module, str):
        return importlib.import_module(location.module)
    return run_file(location.module, f"nnbench_plugin_{location.name}")
