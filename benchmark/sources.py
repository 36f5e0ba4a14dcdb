"""Python files as an import would find them, none of which is run, and the code that a file is made of.

That is its text and those of all modules that it imports, directly or through others, unless they are Python's,
nnbench's or an installed package's. What is imported under a name that only the running program knows is not followed.
"""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

from nnbench.errors import InputError

INSTALLED = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})
"""Where packages are installed, and Python itself."""


def hash_file(path: Path) -> str:
    """Of the code of a file. Raises InputError where a file cannot be read."""
    return digest(read_texts(path, lambda found: not is_below(found, INSTALLED)))


def digest(texts: list[str]) -> str:
    """One hash of several texts."""
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def is_below(path: Path, folders: tuple[Path, ...]) -> bool:
    """True if the path is one of these or lies in one."""
    resolved = path.resolve()
    return any(resolved == folder.resolve() or folder.resolve() in resolved.parents for folder in folders)


def find_source(module: str | Path) -> Path | None:
    """The Python file of a module, found as an import would find it, but not run. None where there is none."""
    if isinstance(module, Path):
        return module
    spec = find_spec(module)
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def find_spec(module: str) -> ModuleSpec | None:
    """As `importlib.util.find_spec`, which imports the parents of a module."""
    parent = module.rpartition(".")[0]
    folders = None
    if parent:
        folders = getattr(sys.modules.get(parent), "__path__", None)
        if folders is None:
            spec = find_spec(parent)
            folders = spec and spec.submodule_search_locations
        if folders is None:
            return None  # the parent is missing or no package
    found = (finder.find_spec(module, folders) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)


def read_texts(path: Path, own: Callable[[Path], bool]) -> list[str]:
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
