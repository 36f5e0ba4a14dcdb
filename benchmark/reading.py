"""Read stored results: what `nnbench table` and `report` do, and rows as a pandas data frame.

Nothing here simulates or imports torch.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nnbench.analysis.places import Layer
from nnbench.analysis.results import Results
from nnbench.errors import InputError
from nnbench.facts import find_facts
from nnbench.folders import REFERENCE, RESULTS, require_free
from nnbench.protocol import PROTOCOLS, Protocol
from nnbench.store.learning import Training, read_trainings
from nnbench.store.store import Store
from nnbench.tasks.files import file_sha256, write_atomically
from nnbench.tasks.policies.tracks import load_track
from nnbench.tasks.registry import expand_tasks, load_task
from nnbench.tasks.zoo.manifest import shipped_folder
from nnbench.zoos import ZooFolder, zoo_folder

if TYPE_CHECKING:
    import pandas

    from nnbench.presentation.tables import Choice, Shown
    from nnbench.presentation.text import Format


class Tables(tuple["Shown", ...]):
    """Tables: `print` shows them to people, `frame` has their numbers."""

    def __str__(self) -> str:
        return self.render("text", 120)

    def render(self, form: "Format", width: int | None = None) -> str:
        """As one string; `width` in characters is for text, default that of the terminal."""
        from nnbench.presentation.text import render

        return render(self, form, width)

    def frame(self) -> "pandas.DataFrame":
        """One row per number: table, task, split, method, metric, measured, lo, hi, reported, ..."""
        import pandas

        return pandas.DataFrame([line for table in self for line in table.lines])


def load_results(
    results: str | Path | None = None,
    rows: Literal["episodes", "policies"] = "episodes",
    *,
    task: str | None = None,
    protocol: str | Protocol | None = None,
) -> "pandas.DataFrame":
    """Stored rows as a data frame, one row per policy and episode, or one per policy.

    Columns are those of `nnbench.store.schemas`. Folders of archives, such as results/reference/127e5fbe783c, are read
    like any other.

    Args:
        results: Folder that `run` wrote to, or a published one; left out, your own rows where there are any, else those
            that ship of the protocol with most units.
        rows: `episodes`, or `policies` with the novelty of each.
        task: Only this ManiSkill environment.
        protocol: A protocol, its name, or the first digits of its hash; needed if the folder holds rows of several.

    Raises InputError for a folder that is not there, and StoreError where files are damaged or the folder has rows of
    several protocols.
    """
    if rows not in ("episodes", "policies"):
        raise InputError(f"rows={rows!r}: expected 'episodes' or 'policies'")
    opened = open_shown("all", results=results, protocol=protocol)
    read = opened.store.rows if rows == "episodes" else opened.store.policies
    return read(protocol=opened.protocol, task=load_task(task).name if task else None).to_pandas()


def tables(
    names: str | Sequence[str] = ("2", "3", "4"),
    *,
    task: str = "all",
    split: str | None = None,
    methods: Sequence[str] = (),
    results: str | Path | None = None,
    zoo: ZooFolder = None,
    plugins: Sequence[str | Path] = (),
    detail: bool = False,
    explain: bool = False,
    group: Literal["reads"] | None = None,
    protocol: str | Protocol | None = None,
    track: str = "paper",
) -> Tables:
    """Tables of stored rows, measured beside reported.

    Args:
        names: One or several of `1`, `2`, `3`, `4`, `6`, `claims`, `differences`, `novelty`, `cost`,
            `roundtrip`.
        task: ManiSkill environment, a Python file that defines a task, or `all`.
        split: Only this one: `train`, `seen`, `unseen`, `outside` or `joint`.
        methods: Only these, or `all`; left out, the paper's, the source, the best baselines, and all of your own.
        results: One folder, which is then shown alone; left out, your own rows joined with those that ship.
        zoo: Folder of a zoo that you built (table 6); default the one that ships.
        plugins: Plugin files of methods in the results; needed only for results that do not name their facts.
        detail: Tables 2 to 4 with all columns and architectures, one table per task and protocol.
        explain: Say below the tables what each column is.
        group: `reads` puts methods together that read the same of the zoo, those that read weights only first.
        protocol: A protocol, its name, or the first digits of its hash. Needed where a folder has rows of several.
            Of the joined rows only those of this protocol, but for one that no row that ships is of: then your own
            rows of it are joined with those that ship.
        track: A track's name, or the path of a track's file; rows of two tracks never share a table.
    """
    from nnbench.presentation.tables import Choice

    choice = Choice(split=split, methods=tuple(methods), detail=detail, explain=explain, group=group)
    asked = [names] if isinstance(names, str) else list(names)
    return choose_tables(asked, choice, task, results=results, zoo=zoo, plugins=plugins, protocol=protocol, track=track)


def choose_tables(
    asked: Sequence[str],
    choice: "Choice",
    task: str,
    *,
    results: str | Path | None,
    zoo: ZooFolder,
    plugins: Sequence[str | Path],
    protocol: str | Protocol | None,
    track: str = "paper",
) -> Tables:
    """What `choice` leaves of the tables that are asked for. The other arguments are those of `tables`."""
    from nnbench.presentation.tables import view_folder, view_joined

    if results is not None:
        opened = open_results(task, results=results, zoo=zoo, plugins=plugins, protocol=protocol, track=track)
        return Tables(view_folder(asked, opened, choice))
    layers, other = open_layers(task, zoo=zoo, plugins=plugins, protocol=protocol, track=track)
    return Tables(view_joined(asked, layers, other, choice))


def report(
    out: str | Path = "report.html",
    *,
    task: str = "all",
    results: str | Path | None = None,
    zoo: ZooFolder = None,
    plugins: Sequence[str | Path] = (),
    protocol: str | Protocol | None = None,
    track: str = "paper",
) -> Path:
    """Write one HTML page of a folder of results, and return its path. Arguments are those of `open_shown`.

    Raises InputError where `out` cannot be written.
    """
    from nnbench.presentation.report import page

    require_free(Path(out))
    text = page(open_shown(task, results=results, zoo=zoo, plugins=plugins, protocol=protocol, track=track))
    write_atomically(Path(out), partial(_write_text, text))
    return Path(out)


def open_shown(
    task: str,
    *,
    results: str | Path | None = None,
    zoo: ZooFolder = None,
    plugins: Sequence[str | Path] = (),
    protocol: str | Protocol | None = None,
    track: str = "paper",
) -> Results:
    """One folder's results: without `results` the user's own where there are any, else the rows that ship of the
    protocol with most units. The other arguments are those of `tables`."""
    if results is None and not Store(RESULTS).keys():
        return open_layers(task, zoo=zoo, plugins=plugins, protocol=protocol, track=track)[1].results
    return open_results(task, results=results, zoo=zoo, plugins=plugins, protocol=protocol, track=track)


def open_results(
    task: str,
    *,
    results: str | Path | None = None,
    zoo: ZooFolder = None,
    plugins: Sequence[str | Path] = (),
    protocol: str | Protocol | None = None,
    track: str = "paper",
) -> Results:
    """What tables, figures and the report are made from; read once. Arguments are those of `tables`.

    Raises InputError where `results` or `zoo` is named and not there; the folder that `run` writes to may be missing.
    """
    for folder in (results, zoo):
        _require_there(folder)
    if results is not None and Path(results).is_dir() and not any(Path(results).iterdir()):
        raise InputError(f"{results}: holds no results; `nnbench run` makes some, or leave it out for what ships")
    find_facts([Path(path) for path in plugins])  # a plugin that cannot be read is refused, also where none is needed
    tasks = [load_task(one) for one in expand_tasks(task)]
    zoos = {one.name: folder for one in tasks if (folder := zoo_folder(one.source, zoo)) is not None}
    paths = [Path(path) for path in plugins]
    return Results.open(Path(results or RESULTS), tasks, protocol, zoos, paths, load_track(track))


def open_layers(
    task: str,
    *,
    zoo: ZooFolder = None,
    plugins: Sequence[str | Path] = (),
    protocol: str | Protocol | None = None,
    track: str = "paper",
) -> tuple[list[Layer], Layer]:
    """The user's own rows before those that ship, of each the benchmark's protocol before others; and the layer that
    has most units, the user's own if it has any. Arguments are those of `tables`.
    """
    shipped = [one for one in PROTOCOLS.values() if (REFERENCE / one.short).is_dir()]
    own = list(PROTOCOLS.values())
    if protocol is not None:
        chosen = _protocol_anywhere(protocol, shipped)
        own, shipped = [chosen], [chosen] if chosen in shipped else shipped
    open_one = partial(open_results, task, zoo=zoo, plugins=plugins, track=track)
    opened = [Layer(open_one(protocol=one), "own") for one in own]
    opened += [Layer(open_one(results=REFERENCE / one.short, protocol=one), "reference") for one in shipped]
    return opened, max(opened, key=lambda layer: (layer.origin == "own" and layer.count > 0, layer.count))


def left_out() -> list[str]:
    """The hashes of protocols that only the user's own rows are of: no table joins them unless it is asked to."""
    found = {Protocol(**manifest["unit"]["protocol"]) for manifest in Store(RESULTS).manifests()}
    return sorted(protocol.short for protocol in found.difference(PROTOCOLS.values()))


def open_trainings(task: str = "all", *, zoo: ZooFolder = None, track: str = "paper") -> list[Training]:
    """What methods logged while they were trained on the zoos of a track: those in runs/methods, and of the rest those
    that ship. Arguments are those of `tables`.

    Raises InputError where `zoo` is named and not there, and DamagedError where a log cannot be read.
    """
    _require_there(zoo)
    chosen, found = load_track(track), []
    for one in map(load_task, expand_tasks(task)):
        folder = zoo_folder(one.source, zoo) or shipped_folder(one.name, chosen.source)
        manifest = folder / "manifest.json"
        if manifest.exists():
            found += read_trainings(one.name, chosen.identity(file_sha256(manifest)))
    return found


def _require_there(folder: str | Path | None) -> None:
    if folder is not None and not Path(folder).exists():
        raise InputError(f"{folder}: no such folder; leave it out for what ships with nnbench")


def _protocol_anywhere(protocol: str | Protocol, shipped: Sequence[Protocol]) -> Protocol:
    """By name or digits, of the rows that ship or of the user's own."""
    if isinstance(protocol, Protocol):
        return protocol
    own = {Protocol(**manifest["unit"]["protocol"]) for manifest in Store(RESULTS).manifests()}
    others = sorted(own.difference(PROTOCOLS.values()), key=lambda one: one.short)
    known = [*dict.fromkeys([*PROTOCOLS.values(), *shipped, *others])]
    begins = PROTOCOLS[protocol].short if protocol in PROTOCOLS else protocol
    matching = [one for one in known if one.short.startswith(begins)]
    if len(matching) != 1:
        digits = ", ".join(one.short for one in known)
        raise InputError(f"--protocol {protocol!r}: expected {', '.join(PROTOCOLS)} or the first digits of {digits}")
    return matching[0]


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, "utf-8")
