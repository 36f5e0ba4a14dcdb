"""Which zoo a call is about: the one that ships with the package, or one that the user built."""

from pathlib import Path
from typing import TYPE_CHECKING

from nnbench.tasks.registry import load_task

if TYPE_CHECKING:  # opening a zoo needs torch; finding its folder does not
    from nnbench.tasks.zoo.zoo import Zoo

ZooFolder = str | Path | None
"""A zoo's folder, or a folder with one zoo per task as `nnbench zoo build` writes it; None for the zoo that ships."""


def zoo_folder(task: str, zoo: ZooFolder = None) -> Path | None:
    """The folder of one task's zoo below what the user named; None for the zoo that ships."""
    if zoo is None:
        return None
    folder = Path(zoo)
    return folder if (folder / "manifest.json").exists() else folder / load_task(task).name


def open_zoo(task: str = "PickCube-v1", zoo: ZooFolder = None, *, track: str = "paper") -> "Zoo":
    """Open a zoo after its files were checked against its manifest.

    `task` is an environment id, or the path of a Python file that defines a task; `track` a name that `nnbench tracks`
    lists, or the path of a file that defines a track. Raises ZooError where there is no zoo, or one that is damaged.
    """
    from nnbench.tasks.zoo.zoo import Zoo

    return Zoo.open(task, zoo_folder(task, zoo), track)
