"""Python files as an import would find them, the code that a file is made of, and how a user's file is run.

That is its text and those of all modules that it imports, directly or through others, unless they are Python's,
nnbench's or an installed package's. What is imported under a name that only the running program knows is not followed.
"""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from nnbench.errors import InputError

INSTALLED = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})
"""Where packages are installed, and Python itself."""


_folders: list[str] = []
"""Those of the files that were run, which `sys.path` has for what they import later."""


def hash_file(path: Path) -> str:
    """Of the code of a file. Raises InputError where a file cannot be read."""
    return digest([*_own_files(path).values()])


def run_file(path: Path, name: str) -> ModuleType:
    """Run a user's file, a plugin or a task, as a module of this name. Raises what it raises.

    It may import modules beside it. They are run anew, whatever ran before under their names: another file, or this one
    before it was edited. Raises InputError where Python would import another module of the same name.
    """
    path = path.resolve()
    beside = {_module_name(file, path.parent): file for file in _own_files(path) if path.parent in file.parents}
    del beside[_module_name(path, path.parent)]
    others = [folder for folder in sys.path if folder not in _folders]
    for imported, file in beside.items():
        _refuse_another(imported, file, path, others)
        sys.modules.pop(imported, None)
    _folders[:] = [folder for folder in _folders if folder != str(path.parent)]
    _folders.insert(0, str(path.parent))
    sys.path[:] = [*others, *_folders]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a file that ends in .py has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up while it is being executed
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _own_files(path: Path) -> dict[Path, str]:
    return read_files(path, lambda found: not is_below(found, INSTALLED))


def _module_name(file: Path, folder: Path) -> str:
    parts = file.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _refuse_another(module: str, file: Path, asking: Path, folders: list[str]) -> None:
    """Raises InputError where one of the folders has a module of this name."""
    top = module.partition(".")[0]
    found = PathFinder.find_spec(top, folders)
    if found is None or found.origin is None or Path(found.origin).resolve().is_relative_to(asking.parent):
        return
    raise InputError(
        f"{asking}: it imports {top!r}, which is {file} and also {found.origin}, which Python would take; rename the "
        "first"
    )


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


def read_files(path: Path, own: Callable[[Path], bool]) -> dict[Path, str]:
    """The texts of a file and of all own files that it imports, by path, in order."""
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
            if module.split(".")[0] == "nnbench" or module.split(".")[0] in sys.stdlib_module_names:
                continue  # Python takes its own, whatever lies beside the file
            source = _beside(module, file) or (None if module.startswith(".") else find_source(module))
            if source is not None and own(source):
                waiting.append(source.resolve())
    return {file: found[file] for file in sorted(found)}


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
