"""What is known of a method without importing it: tables need these facts, and must not need torch.

Facts are literals in the body of the class, or of a class that it inherits from. `find_facts` reads them out of the
source; `nnbench.harness.conformance` asserts that Python sees the same ones.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self, get_args

from nnbench.discovery import Location, find_methods
from nnbench.errors import NnbenchError, describe_error
from nnbench.sources import find_source

Role = Literal["generator", "baseline", "source"]
Reading = Literal["weights", "states", "expert", "hypernetworks"]
Further = Literal["widths", "depths"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class FactsError(NnbenchError, ValueError):
    """Facts of a method that are missing, wrong, or no literals."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The class attributes of a `Method` that tables, figures and findings use. Raises FactsError for any other."""

    name: str
    role: Role = "generator"
    """`generator` learns to write networks; `baseline` learns nothing; `source` is what wrote the zoo."""
    variant_of: tuple[str, str] | None = None
    """The method that this one is made of, and what was changed, in words."""
    reads: tuple[Reading, ...] = ("weights",)
    """What of the zoo it may use: the training networks' `weights`, its `states`, half of which the expert visited,
    the `expert` itself, the `hypernetworks` that wrote the zoo."""
    reference: str | None = None
    """The publication that describes it."""
    seen_only: bool = False
    """True if it writes only architectures that it was trained on."""
    writes: tuple[Further, ...] = ()
    """What else it writes: other `widths` than those it was trained on, other `depths`."""
    trains_each: bool = False
    """True if it trains every network that it writes by itself: what the training of a generator has to pay off
    against."""
    trained_as: str | None = None
    """The method whose training it uses, of which it differs only in what it writes."""
    version: int = 1
    """Of a method that ships: raised when a change of its code changes what it writes."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise FactsError(f"a method's name is {self.name!r}, expected a string")
        if not _NAME.fullmatch(self.name):
            raise FactsError(
                f"a method's name is {self.name!r}, which names files; expected letters, digits, '-', '_' and '.', "
                "beginning with a letter or digit"
            )
        rules = {
            "role": (self.role in get_args(Role), f"one of {', '.join(get_args(Role))}"),
            "variant_of": (
                self.variant_of is None or _is_strings(self.variant_of) and len(self.variant_of) == 2,
                "None, or the name of a method and what was changed",
            ),
            "reads": (
                _is_strings(self.reads) and set(self.reads) <= {*get_args(Reading)},
                f"a tuple of {', '.join(get_args(Reading))}",
            ),
            "reference": (self.reference is None or isinstance(self.reference, str), "None or a string"),
            "writes": (
                _is_strings(self.writes) and set(self.writes) <= {*get_args(Further)},
                f"a tuple of {', '.join(get_args(Further))}",
            ),
            "seen_only": (isinstance(self.seen_only, bool), "True or False"),
            "trained_as": (self.trained_as is None or isinstance(self.trained_as, str), "None or the name of a method"),
            "trains_each": (isinstance(self.trains_each, bool), "True or False"),
            "version": (type(self.version) is int and self.version >= 1, "a whole number from 1 on"),
        }
        for field, (valid, expected) in rules.items():
            if not valid:
                raise FactsError(f"method {self.name}: {field} is {getattr(self, field)!r}, expected {expected}")

    @classmethod
    def of(cls, method: type) -> Self:
        """Those of an imported class. Raises FactsError."""
        return cls(**{name: getattr(method, name) for name in FIELDS if hasattr(method, name)})

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` and JSON made of facts. Raises FactsError."""
        values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in raw.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise FactsError(f"{dict(raw)} are not the facts of a method: {error}") from error


FIELDS = tuple(field.name for field in fields(Facts))


def find_facts(plugins: Sequence[Path] = ()) -> dict[str, Facts]:
    """Name to facts of all methods that ship, are installed, or are given as plugin files; none is imported.

    Raises RegistryError as `find_methods`, and FactsError where a plugin's facts cannot be read. An installed method
    whose facts cannot be read is left out.
    """
    found: dict[str, Facts] = {}
    for location in find_methods(plugins):
        if location.problem is None:
            try:
                found[location.name] = read_facts(location)
            except FactsError:
                if isinstance(location.module, Path):
                    raise
    return found


@dataclass(frozen=True)
class Listed:
    """One method of the list."""

    name: str
    where: str
    """The file, or the entry point of an installed package."""
    summary: str
    """The first line of its docstring."""
    facts: Facts | None
    """None where there is a problem."""
    problem: str | None
    """Why it cannot be used, and what to do."""


def list_methods(plugins: Sequence[Path] = ()) -> list[Listed]:
    """All methods that ship, are installed, or are given as plugin files, sorted by name; none is imported.

    Raises RegistryError as `find_methods`.
    """
    listed = []
    for location in find_methods(plugins):
        facts, problem = None, location.problem
        if problem is None:
            try:
                facts = read_facts(location)
            except FactsError as error:
                problem = str(error)
        summary = read_summary(location) if facts else ""
        listed.append(Listed(location.name, location.where, summary, facts, problem))
    return listed


def read_facts(location: Location) -> Facts:
    """The facts of a method as its source states them. Raises FactsError."""
    try:
        values = _literals(location.module, location.attribute)
    except (OSError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise FactsError(f"{location.where}: the facts cannot be read: {describe_error(error)}") from error
    if values is None:
        raise FactsError(f"{location.where}: no class {location.attribute}")
    return Facts(**{"name": location.name, **values})


def read_summary(location: Location) -> str:
    """The first line of the docstring of a method's module, else of its class; empty where there is none."""
    path = find_source(location.module)
    if path is None:
        return ""
    try:
        module = _parse(path)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    documented: list[ast.Module | ast.ClassDef] = [module]
    documented += [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == location.attribute]
    return next((text.partition("\n")[0] for node in documented if (text := ast.get_docstring(node))), "")


def _parse(path: Path) -> ast.Module:
    return _parse_version(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _parse_version(path: Path, changed: int) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _literals(module: str | Path, name: str) -> dict[str, Any] | None:
    """The facts that a class of a module states or inherits; None where no such class is found."""
    path = find_source(module)
    return None if path is None else _literals_in(_parse(path), module, path, name)


def _literals_in(tree: ast.Module, module: str | Path, path: Path, name: str) -> dict[str, Any] | None:
    for node in reversed(tree.body):
        if isinstance(node, ast.ClassDef) and node.name == name:
            above = ast.Module([other for other in tree.body if other.lineno < node.lineno], [])
            inherited: dict[str, Any] = {}
            for base in reversed(node.bases):  # the first base counts most
                inherited |= _literals_of_base(base, above, module, path)
            return inherited | _stated(node, path)
    imported = _imports(tree, module, path).get(name)
    return _literals(*_split(imported)) if imported and "." in imported else None


def _literals_of_base(base: ast.expr, tree: ast.Module, module: str | Path, path: Path) -> dict[str, Any]:
    if not isinstance(base, ast.Name | ast.Attribute):
        return {}
    first, _, rest = ast.unparse(base).partition(".")
    if not rest:
        return _literals_in(tree, module, path, first) or {}
    full = f"{_imports(tree, module, path).get(first, first)}.{rest}"
    return _literals(*_split(full)) or {}


def _split(full: str) -> tuple[str, str]:
    module, _, name = full.rpartition(".")
    return module, name


def _stated(node: ast.ClassDef, path: Path) -> dict[str, Any]:
    """The facts in the body of one class. Raises ValueError where one is no literal."""
    return {name: _literal(value, name, path) for name, value in _assignments(node) if name in FIELDS}


def _assignments(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            pairs: list[tuple[ast.expr, ast.expr]] = [(statement.target, statement.value)]
        elif isinstance(statement, ast.Assign):
            pairs = [(target, statement.value) for target in statement.targets]
        else:
            continue
        for target, value in pairs:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):  # a, b = 1, 2
                yield from ((ast.unparse(name), part) for name, part in zip(target.elts, value.elts, strict=True))
            elif isinstance(target, ast.Name):
                yield target.id, value


def _literal(value: ast.expr, name: str, path: Path) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError as error:
        raise ValueError(f"{path}, line {value.lineno}: {name} must be a literal") from error


def _imports(tree: ast.Module, module: str | Path, path: Path) -> dict[str, str]:
    """What imports of a module bind: name to the full dotted name."""
    package = "" if isinstance(module, Path) else module if path.name == "__init__.py" else module.rpartition(".")[0]
    bound: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            bound |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            bound |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
    return bound


def _is_strings(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(part, str) for part in value)
