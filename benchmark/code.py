"""The identity of a method's code, so that rows and checkpoints of other code are never taken for its own.

Code is the file that holds the class and every module that it imports, directly or through others, unless that module
is Python's, nnbench's or an installed package's. Of an installed method its own package counts too, with its version.
What is imported under a name that only the running program knows is not followed.
"""

import ast
import hashlib
import importlib.metadata
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

from nnbench.discovery import Location, find_source
from nnbench.errors import InputError
from nnbench.facts import read_facts

_INSTALLED = tuple(
    {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def hash_code(location: Location) -> str | None:
    """Of a method's code; None for the first version of one that ships, whose code is nnbench's.

    Raises InputError where a file cannot be read, and FactsError where the facts of one that ships cannot be.
    """
    if location.ships:
        version = read_facts(location).version
        return None if version == 1 else _digest([f"version {version}"])
    if isinstance(location.module, Path):
        return _hash_file(location.module)
    return _hash_installed(location.module)


def _hash_file(path: Path) -> str:
    return _digest(_texts(path, lambda found: not _is_below(found, _INSTALLED)))


def _hash_installed(module: str) -> str | None:
    path = find_source(module)
    if path is None:
        return None
    top = module.partition(".")[0]
    root = find_source(top)
    own = (root.parent,) if root is not None and root.name == "__init__.py" else (path,)
    texts = _texts(path, lambda found: _is_below(found, own) or not _is_below(found, _INSTALLED))
    distributions = importlib.metadata.packages_distributions().get(top, [])
    versions = [f"{name} {importlib.metadata.version(name)}" for name in distributions]
    return _digest([*texts, *versions])


def hash_class(method: type) -> str | None:
    """Of a class that was given itself: its module with what that imports, or, of a notebook, the source text of the
    class, of its bases and of what they call there. None where all of it ships with nnbench.

    Raises InputError where Python does not know the text.
    """
    own = [part for part in method.__mro__ if part is not object and not _ships(part)]
    texts: list[str] = []
    for part in own:
        file = getattr(sys.modules.get(part.__module__), "__file__", None)
        if file is not None and Path(file).suffix == ".py" and _is_below(Path(file), _INSTALLED):
            continue  # a base from an installed package
        texts += [_hash_file(Path(file))] if file is not None and Path(file).suffix == ".py" else []
        texts += [*_source_texts(part, set())]
    return _digest(texts) if own else None


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def _is_below(path: Path, folders: tuple[Path, ...]) -> bool:
    resolved = path.resolve()
    return any(resolved == folder.resolve() or folder.resolve() in resolved.parents for folder in folders)


def _texts(path: Path, own: Callable[[Path], bool]) -> list[str]:
    """The texts of a file and of all own files that it imports, each once."""
    found: dict[Path, str] = {}
    waiting = [path.resolve()]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        try:
            found[file] = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: no readable Python file ({error})") from error
        for module in _imported(found[file], file):
            if module.split(".")[0] == "nnbench":
                continue
            source = _beside(module, file) or (None if module.startswith(".") else find_source(module))
            if source is not None and own(source):
                waiting.append(source.resolve())
    return [found[file] for file in sorted(found)]


def _imported(text: str, file: Path) -> Iterator[str]:
    """The names of all modules that a text may import; `from a import b` names a and a.b."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # it cannot be imported either, and whoever tries says so
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names = [
                prefix,
                *(f"{prefix}.{alias.name}" if prefix.strip(".") else prefix + alias.name for alias in node.names),
            ]
        else:
            continue
        for name in names:
            if name.strip("."):
                yield name
                parent = name.rpartition(".")[0]
                if parent.strip("."):
                    yield parent  # importing a.b runs a


def _beside(module: str, file: Path) -> Path | None:
    """The file of a module beside another file; leading dots are as in `from ..a import b`."""
    name = module.lstrip(".")
    folder = file.parent
    for _ in range(len(module) - len(name) - 1):
        folder = folder.parent
    stem = folder.joinpath(*name.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


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
