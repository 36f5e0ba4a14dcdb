"""Finds weight generators by name and imports one only when it is asked for.

Three doors lead to a method: a file or package in `methods/`, a plugin file given by its path, and the entry-point
group `nnbench.methods` of any installed package, whose value is the module that holds the class `Method`.
"""

import difflib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import cloudpickle

import nnbench.methods
from nnbench.api import Generator

_GROUP = "nnbench.methods"
_REQUIRED = (*Generator.__annotations__, *(member for member in vars(Generator) if not member.startswith("_")))


class RegistryError(ValueError):
    """A method that cannot be found or does not keep the contract."""


@dataclass(frozen=True)
class _Source:
    where: str  # what a person is told
    load_module: Callable[[], ModuleType]
    attribute: str = "Method"


@dataclass(frozen=True)
class MethodSource:
    """How any process gets at a method's class."""

    name: str
    plugins: tuple[Path, ...] = ()
    pickled: bytes | None = None
    """The class itself, where it has no file: one that somebody defined in a notebook."""

    @classmethod
    def of(cls, method: "str | type[Generator]", plugins: Sequence[Path] = ()) -> Self:
        """From a name, or from a class."""
        if isinstance(method, str):
            return cls(load_method(method, plugins).name, tuple(plugins))
        return cls(method.name, (), cloudpickle.dumps(method))

    def load(self) -> type[Generator]:
        """The class. Raises RegistryError."""
        if self.pickled is None:
            return load_method(self.name, self.plugins)
        method: type[Generator] = cloudpickle.loads(self.pickled)
        return method


def list_methods(plugins: Sequence[Path] = ()) -> dict[str, str]:
    """Method names, sorted, and where each comes from. Imports none of them; a plugin goes by its file name.

    Raises RegistryError where two sources claim one name or a plugin is no Python file.
    """
    return {name: source.where for name, source in sorted(_find_sources(plugins).items())}


def load_method(name: str, plugins: Sequence[Path] = ()) -> type[Generator]:
    """Import one method and check that it has what `nnbench.api.Generator` asks for.

    A hyphen in the name stands for the underscore that Python's file names need. Raises RegistryError naming the file
    and the remedy where that fails, also for an import that is missing.
    """
    sources = _find_sources(plugins)
    if name.replace("-", "_") in sources:
        name = name.replace("-", "_")
    if name not in sources:
        close = difflib.get_close_matches(name, sources, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise RegistryError(f"unknown method {name!r}; {hint}known: {', '.join(sorted(sources))}")
    source = sources[name]
    try:
        module = source.load_module()
    except ImportError as error:
        cause = f"module {error.name!r} is not installed" if isinstance(error, ModuleNotFoundError) else error
        raise RegistryError(f"method {name!r} ({source.where}) cannot be imported: {cause}") from error
    return _check_contract(getattr(module, source.attribute, None), name, source)


def _check_contract(method: Any, name: str, source: _Source) -> type[Generator]:
    remedy = "the docstring of nnbench.api shows the smallest method"
    if not isinstance(method, type):
        raise RegistryError(f"{source.where}: no class {source.attribute}; {remedy}")
    missing = [attribute for attribute in _REQUIRED if not hasattr(method, attribute)]
    if missing:
        raise RegistryError(f"{source.where}: class {source.attribute} lacks {', '.join(missing)}; {remedy}")
    found: type[Generator] = method
    if found.name != name:
        raise RegistryError(f"{source.where}: listed as {name!r} but its name is {found.name!r}; make them equal")
    return found


def _find_sources(plugins: Sequence[Path]) -> dict[str, _Source]:
    found: dict[str, _Source] = {}
    for name, source in [*_methods_folder(), *map(_plugin, plugins), *_entry_points()]:
        if name in found:
            raise RegistryError(f"two methods are called {name!r}: {found[name].where} and {source.where}; rename one")
        found[name] = source
    return found


def _methods_folder() -> Iterator[tuple[str, _Source]]:
    for folder in nnbench.methods.__path__:
        for info in pkgutil.iter_modules([folder]):
            if not info.name.startswith("_"):
                path = Path(folder, info.name if info.ispkg else f"{info.name}.py")
                yield info.name, _Source(str(path), partial(importlib.import_module, f"nnbench.methods.{info.name}"))


def _plugin(path: Path) -> tuple[str, _Source]:
    if path.suffix != ".py" or not path.is_file():
        raise RegistryError(f"{path}: expected a Python file that holds a class Method")
    return path.stem, _Source(str(path), partial(_load_file, path))


def _load_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"nnbench_plugin_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # a file that ends in .py has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up while it is being executed
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _entry_points() -> Iterator[tuple[str, _Source]]:
    for point in importlib.metadata.entry_points(group=_GROUP):
        where = f"entry point {point.value} of {point.dist.name if point.dist else 'an unnamed distribution'}"
        yield point.name, _Source(where, partial(importlib.import_module, point.module), point.attr or "Method")
