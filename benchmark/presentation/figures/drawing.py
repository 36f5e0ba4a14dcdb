"""What all figures share: their look and their files. Those of the paper are black and grey, to be read in print."""

import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from nnbench.errors import NnbenchError
from nnbench.tasks.files import require_folder, write_atomically

WIDTH = 6.5
"""Inches, the text of a printed page."""

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "image.interpolation": "nearest",
    "figure.dpi": 100,
    "svg.hashsalt": "nnbench",  # the same data give the same file
}


class FigureError(NnbenchError, ValueError):
    """A figure that cannot be drawn. Names what is missing and the remedy."""


@dataclass(frozen=True)
class Drawing:
    """A figure and what is to be said with it."""

    title: str
    caption: str
    figure: Figure
    dpi: int = 300
    """Of a PNG file."""


def save(drawing: Drawing, path: Path) -> None:
    """Write as PNG, SVG or PDF, by the file's suffix.

    Raises FigureError at any other, WriteError where the folder is missing or cannot be written to.
    """
    kind = require_kind(path)
    require_folder(path)
    write_atomically(path, partial(_write, drawing, kind))


def require_kind(path: Path) -> str:
    """The kind of file that its name asks for. Raises FigureError where figures are none of that kind."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg", "pdf"):
        raise FigureError(f"{path}: expected a name that ends in .png, .svg or .pdf")
    return kind


def as_svg(drawing: Drawing) -> bytes:
    """The figure as an SVG file, equal for equal data."""
    buffer = io.BytesIO()
    _write(drawing, "svg", buffer)
    return buffer.getvalue()


def _write(drawing: Drawing, kind: str, file: Path | io.BytesIO) -> None:
    description = "Subject" if kind == "pdf" else "Description"
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    with matplotlib.rc_context(STYLE):
        drawing.figure.savefig(
            file,
            format=kind,
            dpi=drawing.dpi,
            metadata={"Title": drawing.title, description: drawing.caption, **undated},
        )
