"""`nnbench render` and `nnbench expert render`: pictures and videos of what policies do."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nnbench.commands.options import TASK, Split
from nnbench.folders import RESULTS, RUNS, require_usable

if TYPE_CHECKING:
    from nnbench.presentation.film import Subject

OUT = RUNS / "render"


def render(
    task: str = TASK,
    method: str | None = None,
    archs: str | None = None,
    split: Split = "unseen",
    show: tuple[Literal["best", "median", "worst"], ...] = ("best", "median", "worst"),
    episodes: int = 1,
    seed: int = 0,
    zoo: Path | None = None,
    results: Path = RESULTS,
    out: Path = OUT,
    protocol: str | None = None,
) -> None:
    """Film what stored policies do: a strip of snapshots (the paper's figures 7 to 9) and a video.

    Args:
        task: ManiSkill environment, or a Python file that defines a task.
        method: Whose policies: one that `nnbench run` measured here, default the paper's own method, or `zoo`.
        archs: Only these of the split, as in 32-32-16-64,16-16-16-32.
        split: The architectures, as of `nnbench run`.
        show: Which of the top ten, by the mean return that they were chosen by.
        episodes: How many test episodes, the first ones; of a zoo, of those that it was validated on.
        seed: Generator seed of the method.
        zoo: Folder of a zoo that `nnbench zoo build` wrote, default the one that ships.
        results: Folder that `nnbench run` wrote to.
        out: Folder for the strip and the video.
        protocol: First digits of a protocol's hash, where the folder has rows of several.
    """
    from nnbench.analysis.reported import SUBJECT
    from nnbench.presentation import film
    from nnbench.presentation.film import filming
    from nnbench.protocol import architectures_asked
    from nnbench.store.store import Store
    from nnbench.tasks.registry import load_task
    from nnbench.zoos import open_zoo

    loaded, chosen = load_task(task), architectures_asked(split, archs)
    name, method = loaded.name, method or SUBJECT
    stem = f"{name}-{(archs or split).replace(',', '_')}"
    if method == "zoo":
        opened = open_zoo(task, zoo)
        subjects = film.zoo_subjects(opened, chosen, show, episodes)
        shoot(
            task,
            subjects,
            f"Rollouts of the zoo's policies, {name}",
            filming.caption_zoo(opened, show),
            out / f"zoo-{stem}",
        )
        return
    store = Store(results)
    units = film.find_units(store, store.protocol(protocol or ""), name, method, seed, chosen)
    subjects = film.stored_subjects(store, loaded, units, show, episodes)
    caption = filming.caption_method(units[0], show)
    shoot(task, subjects, f"Rollouts of {method}'s policies, {name}", caption, out / f"{method}-s{seed}-{stem}")
    if len(units) < len(chosen):
        print(f"{len(chosen) - len(units)} of the {len(chosen)} architectures were not measured and are left out")


def shoot(task: str, subjects: "Sequence[Subject]", title: str, what: str, stem: Path) -> None:
    """Roll out, take pictures and write `stem`.png and `stem`.mp4."""
    from nnbench.presentation.film.filming import write_films

    require_usable(stem.parent)
    for line in write_films(task, subjects, title, what, stem):
        print(line)
