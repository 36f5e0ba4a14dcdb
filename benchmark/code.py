"""The identity of a method's code, so that rows and checkpoints of other code are never taken for its own.

Code is that of the file that holds the class, as `nnbench.sources` has it. Of an installed method its own package
counts too, with its version.
"""

import importlib.metadata
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

from nnbench.discovery import Location
from nnbench.errors import InputError
from nnbench.facts import read_facts
from nnbench.sources import INSTALLED, digest, find_source, hash_file, is_below, read_texts


def hash_code(location: Location) -> str | None:
    """Of a method's code; None for the first version of one that ships, whose code is nnbench's.

    Raises InputError where a file cannot be read, and FactsError where the facts of one that ships cannot be.
    """
    if location.ships:
        version = read_facts(location).version
        return None if version == 1 else digest([f"version {version}"])
    if isinstance(location.module, Path):
        return hash_file(location.module)
    return _hash_installed(location.module)


def _hash_installed(module: str) -> str | None:
    path = find_source(module)
    if path is None:
        return None
    top = module.partition(".")[0]
    root = find_source(top)
    own = (root.parent,) if root is not None and root.name == "__init__.py" else (path,)
    texts = read_texts(path, lambda found: is_below(found, own) or not is_below(found, INSTALLED))
    distributions = importlib.metadata.packages_distributions().get(top, [])
    versions = [f"{name} {importlib.metadata.version(name)}" for name in distributions]
    return digest([*texts, *versions])


def hash_class(method: type) -> str | None:
    """Of a class that was given itself: its module with what that imports, or, of a notebook, the source text of the
    class, of its bases and of what they call there. None where all of it ships with nnbench.

    Raises InputError where Python does not know the text.
    """
    own = [part for part in method.__mro__ if part is not object and not _ships(part)]
    texts: list[str] = []
    for part in own:
        file = getattr(sys.modules.get(part.__module__), "__file__", None)
        if file is not None and Path(file).suffix == ".py" and is_below(Path(file), INSTALLED):
            continue  # a base from an installed package
        texts += [hash_file(Path(file))] if file is not None and Path(file).suffix == ".py" else []
        texts += [*_source_texts(part, set())]
    return digest(texts) if own else None


def _ships(part: type) -> bool:
    return part.__module__.split(".")[0] in ("nnbench", "typing", "abc")


def _source_texts(part: Any, seen: set[int]) -> Iterator[str]:
    """The text of a class or function, and of the functions and classes of its own module that it calls."""
    if id(part) in seen:
        return
    seen.add(id(part))
    functions = (
        [part] if inspect.isfunction(part) else [getattr(value, "__func__", value) for value in vars(part).values()]
    )
    functions = [function for function in functions if inspect.isfunction(function)]
    yield _source_text(part)
    for function in functions:
        for name in _names(function.__code__):
            called = function.__globals__.get(name)
            if (inspect.isfunction(called) or inspect.isclass(called)) and called.__module__ == part.__module__:
                yield from _source_texts(called, seen)


def _names(code: CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _source_text(part: Any) -> str:
    try:
        return inspect.getsource(part)
    except (OSError, TypeError):
        pass
    if inspect.isfunction(part):
        raise InputError(f"function {part.__qualname__}: Python does not know its source text; define it in a file")
    # Python finds no class of a notebook, whose module has no file, but it finds the cells of its functions.
    texts = []
    for name, value in sorted(vars(part).items()):
        function = getattr(value, "__func__", value)
        if inspect.isfunction(function):
            try:
                texts.append(inspect.getsource(function))
            except (OSError, TypeError) as error:
                raise InputError(
                    f"class {part.__qualname__}: Python does not know the source text of `{name}`; define the class "
                    "in a file or in a cell of a notebook"
                ) from error
        elif not name.startswith("__"):
            texts.append(f"{name} = {value!r}")
    return "\n".join(texts)
