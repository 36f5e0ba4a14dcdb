"""The identity of a method's code, so that rows and checkpoints of other code are never taken for its own.

Code is that of the file that holds the class, as `nnbench.sources` has it. Of an installed method its own package
counts too, with its version.
"""

import importlib.metadata
import inspect
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from nnbench.discovery import Location
from nnbench.errors import InputError
from nnbench.facts import read_facts
from nnbench.sources import INSTALLED, digest, find_source, hash_file, is_below, read_files

_PLAIN = (int, float, complex, str, bytes, tuple, frozenset, type(None))
"""Constants, by whose text they are known."""


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
    texts = read_files(path, lambda found: is_below(found, own) or not is_below(found, INSTALLED)).values()
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
        if file is not None and Path(file).suffix == ".py":
            texts.append(hash_file(Path(file)))
            _refuse_edited(part, Path(file))
        texts += [*_source_texts(part, set())]
    return digest(texts) if own else None


def _ships(part: type) -> bool:
    return part.__module__.split(".")[0] in ("nnbench", "typing", "abc")


def _source_texts(part: Any, seen: set[int]) -> Iterator[str]:
    """The text of a class or function, the values that it holds, and the same of what it calls in its own module."""
    if id(part) in seen:
        return
    seen.add(id(part))
    yield _source_text(part)
    yield from _values({} if inspect.isfunction(part) else vars(part))
    for function in _functions(part):
        closed = inspect.getclosurevars(function)
        used = {name: function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__}
        yield from _values(dict(closed.nonlocals))
        yield from _values({name: value for name, value in used.items() if isinstance(value, _PLAIN)})
        for called in [*used.values(), *closed.nonlocals.values()]:
            if (inspect.isfunction(called) or inspect.isclass(called)) and called.__module__ == part.__module__:
                yield from _source_texts(called, seen)


def _functions(part: Any) -> list[Any]:
    values = (
        [part] if inspect.isfunction(part) else [getattr(value, "__func__", value) for value in vars(part).values()]
    )
    return [value for value in values if inspect.isfunction(value)]


def _values(named: Mapping[str, Any]) -> Iterator[str]:
    """What decides a result beside text: attributes, variables that a function closes over, constants that it reads."""
    for name, value in sorted(named.items()):
        text = _text(value)
        if not name.startswith(("__", "_abc_")) and " at 0x" not in text:  # an address says nothing
            yield f"{name} = {text}"


def _text(value: object) -> str:
    """As `repr`, but the same in every process: Python orders the texts in a set anew in each."""
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_text, value)))}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_text, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(key)}: {_text(item)}' for key, item in value.items())}}}"
    return repr(value)


def _refuse_edited(part: type, file: Path) -> None:
    """Raises InputError where a function of the class is not the one that its file now holds."""
    loader = getattr(sys.modules[part.__module__], "__loader__", None)
    if type(loader) is not SourceFileLoader:  # others may rewrite what they load, as pytest does tests
        return
    try:
        codes = set(_codes(compile(file.read_text("utf-8"), str(file), "exec", dont_inherit=True)))
    except (OSError, ValueError, SyntaxError):
        codes = set()
    for function in _functions(part):
        own = Path(function.__code__.co_filename).resolve() == file.resolve()
        if own and function.__code__ not in codes:
            raise InputError(f"{file}: changed since class {part.__qualname__} was imported; import it again")


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


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
    return "\n".join(texts)
