"""The paper's tables, and two of our own: what was measured, beside what the paper reports."""

from nnbench.presentation.tables.build import NAMES, build
from nnbench.presentation.tables.table import MISSING, Entry, Grid, Label, Number, Table
from nnbench.presentation.tables.views import Choice, Shown, view_folder, view_joined

__all__ = [
    "MISSING",
    "NAMES",
    "Choice",
    "Entry",
    "Grid",
    "Label",
    "Number",
    "Shown",
    "Table",
    "build",
    "view_folder",
    "view_joined",
]
