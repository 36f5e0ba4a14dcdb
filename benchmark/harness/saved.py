"""What a method saved: files that everybody may open, and no others."""

import math
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from nnbench.harness.process import MethodError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.(safetensors|json)")


def files_saved(doing: str, folder: Path) -> list[Path]:
    """The files in a folder that `save` was given, by name. Raises MethodError for what must not be there."""
    if not folder.is_dir():
        raise MethodError(f"{doing} removed its folder; write into it, and leave it there")
    found = sorted(folder.iterdir())
    for path in found:
        if path.is_symlink() or not path.is_file() or not _NAME.fullmatch(path.name):
            name = path.name if path.name.isprintable() else repr(path.name)
            raise MethodError(
                f"{doing} writes {name}; use safetensors and JSON files of plain names, no links and no folders; no "
                "pickle is ever loaded"
            )
        if path.name == "manifest.json":
            raise MethodError(f"{doing} writes manifest.json, which nnbench writes itself; use another name")
    return found


def count_parameters(doing: str, folder: Path) -> int:
    """The numbers in all tensors of a folder. Raises MethodError where a file cannot be read."""
    total = 0
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, framework="pt") as file:
                total += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())
        except SafetensorError as error:
            raise MethodError(f"{doing} writes {path.name}, which cannot be read: {error}") from error
    return total
