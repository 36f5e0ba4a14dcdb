"""Where methods are: a file or package in `methods/`, a plugin file, an entry point. Imports none of them.

The group of the entry points is `nnbench.methods`; the value of one is the module that holds the class `Method`, or
`module:Class`.
"""

import importlib.metadata
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nnbench.methods
from nnbench.errors import NnbenchError
from nnbench.sources import find_spec

_GROUP = "nnbench.methods"


class RegistryError(NnbenchError, ValueError):
    """A method that cannot be found or does not keep the contract."""


@dataclass(frozen=True)
class Location:
    """Where the class of one method is."""

    name: str
    where: str
    """What a person is told."""
    module: str | Path
    """The name of a module, or a plugin file."""
    attribute: str = "Method"
    """The name of the class."""
    problem: str | None = None
    """Why the method cannot be used, and what to do; None where nothing is known against it."""

    @property
    def ships(self) -> bool:
        """True if the class is nnbench's own."""
        return isinstance(self.module, str) and self.module.startswith(f"{_GROUP}.")


def find_methods(plugins: Sequence[Path] = ()) -> list[Location]:
    """All methods that ship, are installed, or are given as plugin files, sorted by name.

    An entry point that is broken or whose name is taken is listed with its problem; it costs no other method anything.
    Raises RegistryError where a plugin is no Python file or has the name of another method, for the user named it.
    """
    found: dict[str, Location] = {}
    for location in (*_methods_folder(), *map(_plugin, plugins)):
        if (taken := found.get(location.name)) is not None:
            raise RegistryError(
                f"two methods are called {location.name!r}: {taken.where} and {location.where}; rename one"
            )
        found[location.name] = location
    installed = list(_entry_points())
    names = [location.name for location in installed]
    return sorted(
        [*found.values(), *(_examine(location, found, names) for location in installed)],
        key=lambda location: (location.name, location.problem is not None),
    )


def _methods_folder() -> Iterator[Location]:
    for folder in nnbench.methods.__path__:
        for info in pkgutil.iter_modules([folder]):
            if not info.name.startswith("_"):
                path = Path(folder, info.name if info.ispkg else f"{info.name}.py")
                yield Location(info.name, str(path), f"nnbench.methods.{info.name}")


def _plugin(path: Path) -> Location:
    if path.suffix != ".py" or not path.is_file():
        raise RegistryError(f"{path}: expected a Python file that holds a class Method")
    return Location(path.stem, str(path), path)


def _entry_points() -> Iterator[Location]:
    offered = [(distribution, _points(distribution)) for distribution in importlib.metadata.distributions()]
    if not any(points for _, points in offered):
        return  # before all packages' metadata are parsed for their names, which takes half a second
    seen: set[str] = set()  # of a package that is on the path twice, the first counts, as for an import
    for distribution, points in offered:
        package = str(distribution.metadata["Name"])
        for point in () if package in seen else points:
            where = f"entry point {point.value} of {package}"
            if point.pattern.match(point.value) is None:
                yield Location(point.name, where, "", problem="it names no module; install the package again")
            else:
                yield Location(point.name, where, point.module, point.attr or "Method")
        seen.add(package)


def _points(distribution: importlib.metadata.Distribution) -> list[importlib.metadata.EntryPoint]:
    try:
        return list(distribution.entry_points.select(group=_GROUP))
    except ValueError:  # not UTF-8, say: what it offers nobody knows
        return []


def _examine(location: Location, taken: dict[str, Location], names: list[str]) -> Location:
    """The same, with what is wrong with an entry point."""
    problem = location.problem
    if location.name in taken:
        problem = f"the name is taken by {taken[location.name].where}; uninstall the package or ask for another name"
    elif names.count(location.name) > 1:
        problem = "several installed packages use this name; uninstall all but one"
    elif problem is None and find_spec(str(location.module)) is None:
        problem = f"there is no module {location.module}; install the package again, or uninstall it"
    return replace(location, problem=problem)
