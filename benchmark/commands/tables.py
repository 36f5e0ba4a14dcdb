"""`nnbench table`, `report` and `figure`: show stored results."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nnbench.commands.options import TASK, Partition, TableName, print_tables
from nnbench.folders import RESULTS

if TYPE_CHECKING:
    from nnbench.tasks.policies.architectures import Architecture


def table(
    names: Annotated[tuple[TableName, ...], tyro.conf.Positional] = ("2", "3", "4"),
    task: str = "all",
    split: Partition | None = None,
    track: str = "paper",
    methods: tuple[str, ...] = (),
    results: Path | None = None,
    zoo: Path | None = None,
    plugin: tuple[Path, ...] = (),
    format: Literal["text", "md", "latex", "csv"] = "text",
    detail: bool = False,
    explain: bool = False,
    group: Literal["reads"] | None = None,
    protocol: str | None = None,
    json: bool = False,
) -> None:
    """Print tables of the paper: your own rows and those that ship, with intervals, beside what the paper reports.

    Args:
        names: Which tables: 1, 2, 3, 4 or 6 of the paper, claims, differences, novelty, cost, or roundtrip.
        task: ManiSkill environment, a Python file that defines a task, or `all`.
        split: Only this one.
        track: Whose rows are shown: one that `nnbench tracks` lists, or a file of your own (.toml).
        methods: Only these, or `all`; default the paper's, the source, the best baselines, and all of your own.
        results: Show this folder alone; default results/runs joined with the rows that ship.
        zoo: Folder of a zoo that `nnbench zoo build` wrote, default the one that ships.
        plugin: Python files with methods, whose facts the tables need if they are not in the rows.
        format: For people, for papers, or CSV with one number per line.
        detail: All columns and architectures, one table per task.
        explain: Say below the tables what each column is.
        group: Methods by what they read of the zoo, those that read weights only first.
        protocol: paper, quick, or the first digits of a protocol's hash; default the named one of most cells.
        json: Print the numbers as JSON.
    """
    import nnbench
    from nnbench.reading import left_out

    found = nnbench.tables(
        names,
        task=task,
        split=split,
        methods=methods,
        results=results,
        zoo=zoo,
        plugins=plugin,
        detail=detail,
        explain=explain,
        group=group,
        protocol=protocol,
        track=track,
    )
    print_tables(found, "json" if json else format)
    if results is None and protocol is None:
        for short in left_out():
            print(
                f"nnbench: {RESULTS} has rows of protocol {short} too; --protocol {short} joins them", file=sys.stderr
            )


def report(
    results: Path | None = None,
    task: str = "all",
    zoo: Path | None = None,
    plugin: tuple[Path, ...] = (),
    out: Path = Path("report.html"),
    protocol: str | None = None,
    track: str = "paper",
) -> None:
    """Write one HTML page of results: who leads, what follows, all tables and figures, and where numbers come from.

    Args:
        results: Folder that `nnbench run` wrote to; default results/runs, or the rows that ship where it has none.
        task: ManiSkill environment, a Python file that defines a task, or `all`.
        zoo: Folder of a zoo that `nnbench zoo build` wrote, default the one that ships.
        plugin: Python files with methods, whose facts the page needs if they are not in the rows.
        out: The page; it needs no other file and no network.
        protocol: paper, quick, or the first digits of a protocol's hash, where the folder has rows of several.
        track: Whose rows are shown: one that `nnbench tracks` lists, or a file of your own (.toml).
    """
    import nnbench

    page = nnbench.report(out, task=task, results=results, zoo=zoo, plugins=plugin, protocol=protocol, track=track)
    print(page)


def figure(
    name: Annotated[
        Literal["3", "4", "5", "6", "overview", "novelty", "cost", "distance", "learning"], tyro.conf.Positional
    ],
    task: str | None = None,
    results: Path | None = None,
    zoo: Path | None = None,
    archs: str | None = None,
    method: str | None = None,
    methods: tuple[str, ...] = (),
    out: Path | None = None,
    protocol: str | None = None,
    track: str = "paper",
) -> None:
    """Draw a figure of the paper, or success against novelty, cost, distance or training, and print its caption.

    Args:
        name: The paper's number of the figure, overview (success of all samples, novelty and cost), novelty, cost
            (of training), distance (of the architecture from those trained on), or learning (success and loss while
            methods are trained).
        task: ManiSkill environment, a Python file that defines a task, or, for those that are not the
            paper's, `all`. Default PickCube-v1 for the paper's figures, and all for the others.
        results: Folder that `nnbench run` wrote to; default results/runs, or the rows that ship where it has none.
        zoo: Folder of a zoo that `nnbench zoo build` wrote, default the one that ships.
        archs: Other architectures than the figure's own, as in 32-32-16-64; several, with commas, for figure 4.
        method: Whose policies figure 6 compares, default the paper's own method.
        methods: Methods that these others show, or `all`; default the paper's, the source, and the best others.
        out: The file, by its suffix PNG, SVG or PDF; default figure-NAME.png.
        protocol: paper, quick, or the first digits of a protocol's hash, where the folder has rows of several.
        track: Whose rows are shown: one that `nnbench tracks` lists, or a file of your own (.toml).
    """
    from nnbench.errors import InputError
    from nnbench.folders import require_free
    from nnbench.presentation.figures import OF_ONE_TASK, draw, draw_learning, draw_methods, require_kind, save
    from nnbench.reading import open_shown, open_trainings

    of_methods, of_rows = name not in OF_ONE_TASK, name != "learning"
    refused: dict[str, object] = {"--archs": archs, "--method": method} if of_methods else {"--methods": methods}
    refused |= {} if of_rows else {"--results": results, "--protocol": protocol}
    for option, given in refused.items():
        if given:
            raise InputError(f"figure {name} takes no {option}; leave it out")
    path = out if out is not None else Path(f"figure-{name}.png")
    require_kind(path)
    require_free(path)
    asked = task or ("all" if of_methods else TASK)
    if not of_rows:
        drawing = draw_learning(open_trainings(asked, zoo=zoo, track=track), methods, track)
    elif of_methods:
        opened = open_shown(asked, results=results, zoo=zoo, protocol=protocol, track=track)
        drawing = draw_methods(name, opened, methods)
    else:
        opened = open_shown(asked, results=results, zoo=zoo, protocol=protocol, track=track)
        chosen = [_parse_policy(part) for part in archs.split(",")] if archs is not None else []
        drawing = draw(name, opened, opened.tasks[0], chosen, *([method] if method else []))
    save(drawing, path)
    print(f"{path}: {drawing.title}\n{drawing.caption}")


def _parse_policy(text: str) -> "Architecture":
    """Four hidden widths that a policy may have. Raises InputError."""
    from nnbench.errors import InputError
    from nnbench.tasks.policies.architectures import MAX_WIDTH, parse_architecture

    arch = parse_architecture(text)
    if len(arch) != 4 or max(arch) > MAX_WIDTH:
        raise InputError(f"--archs {text}: expected four hidden widths of 1 to {MAX_WIDTH}, for example 32-32-16-64")
    return arch
