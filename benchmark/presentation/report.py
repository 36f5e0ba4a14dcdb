"""One HTML page of everything that is known of a folder of results: tables, figures, where the numbers come from.

The page needs no other file, no network and no script. Its layout is in `report.html.j2`.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
from tqdm import tqdm

from nnbench.analysis.claims import judge_claims, summarise_ranking
from nnbench.analysis.lines import Line
from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import ARXIV_ID, tasks_of
from nnbench.analysis.results import Results
from nnbench.presentation.figures import OF_METHODS, OF_ONE_TASK, Drawing, FigureError, as_svg, draw, draw_methods
from nnbench.presentation.tables import MISSING, Grid, Table, build
from nnbench.presentation.tables.captions import protocol_note
from nnbench.protocol import Protocol
from nnbench.store.checkpoints import Budget

_TABLES = ("2", "differences", "3", "4", "6", "1", "novelty", "roundtrip")


@dataclass(frozen=True)
class Undrawn:
    """A figure that could not be drawn, and why."""

    name: str
    """Of `figures.OF_ONE_TASK` or `OF_METHODS`."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Content:
    """What the page is made of."""

    protocol: Protocol
    methods: Methods
    tables: Sequence[Table[Any]] = ()
    figures: Sequence[Drawing | Undrawn] = ()
    manifests: Sequence[Mapping[str, Any]] = ()
    """Of the protocol's units."""
    budgets: Sequence[Budget] = ()
    """Of the trained methods among the units' methods."""
    zoos: Mapping[str, Mapping[str, Any] | None]
    """The manifest of each task's zoo, None where it has none."""
    alignment: Mapping[str, Any] | None = None
    """The manifest of table 1."""


def page(results: Results) -> str:
    """The whole page.

    Raises TableError where rows do not belong together, ZooError where a zoo is damaged.
    """
    wanted: list[tuple[str, Callable[[], Drawing]]] = [
        *((name, partial(draw_methods, name, results, ["all"])) for name in OF_METHODS),
        *((name, partial(draw, name, results, task)) for name in OF_ONE_TASK for task in results.tasks),
    ]
    figures = [_try(name, make) for name, make in tqdm(wanted, desc="figures", disable=None)]
    alignments = [results.alignment_manifest(task) for task in tasks_of(1)]
    return render(
        Content(
            protocol=results.protocol,
            methods=results.methods,
            tables=build(_TABLES, results),
            figures=figures,
            manifests=results.manifests,
            budgets=results.budgets,
            zoos={task: results.zoo_manifest(task) for task in results.tasks},
            alignment=next((manifest for manifest in alignments if manifest is not None), None),
        )
    )


def _try(name: str, make: Callable[[], Drawing]) -> Drawing | Undrawn:
    try:
        return make()
    except FigureError as error:
        return Undrawn(name, str(error))


def render(content: Content) -> str:
    """The page as HTML."""
    lines = [
        line for table in content.tables for line in table.select_lines(("return", "success", "nearest_l2"), shown=True)
    ]
    return _template().render(
        title=f"nnbench report: {', '.join(content.zoos)}",
        protocol=content.protocol,
        arxiv=ARXIV_ID,
        summary=_summarise(content.manifests),
        note=protocol_note(content.protocol),
        claims=judge_claims(lines, content.methods),
        ranking=summarise_ranking(lines),
        tables=_explain_once([table.grid for table in content.tables]),
        figures=[_embed(figure) for figure in content.figures if isinstance(figure, Drawing)],
        undrawn=_group_undrawn(content.figures),
        budgets=content.budgets,
        budget_grid=_list_budgets(content.budgets),
        gaps=_find_gaps(lines),
        protocol_facts=_describe_protocol(content.protocol),
        units=_group_units(content.manifests),
        zoos={task: manifest and _describe_zoo(manifest) for task, manifest in content.zoos.items()},
        alignment=content.alignment and _describe_alignment(content.alignment),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["listed"] = _listed
    return environment.get_template("report.html.j2")


def _summarise(manifests: Sequence[Mapping[str, Any]]) -> str:
    if not manifests:
        return "Nothing was measured here yet; `nnbench run` does that."
    methods = sorted({manifest["unit"]["method"] for manifest in manifests})
    dates = sorted(manifest["created"][:10] for manifest in manifests)
    period = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return f"Measured: {', '.join(methods)}, {len(manifests)} units of one method and architecture, {period}."


def _explain_once(grids: Sequence[Grid]) -> list[dict[str, Any]]:
    """Each grid with its note; a caption that was printed before is not printed again."""
    explained: dict[str, str] = {}
    found = []
    for grid in grids:
        note = grid.caption
        for caption, title in explained.items():
            if caption and note.startswith(caption):
                note = f"Columns as in “{title}”.{note.removeprefix(caption)}"
        explained.setdefault(grid.caption, grid.title)
        found.append({"grid": grid, "note": note})
    return found


def _embed(drawing: Drawing) -> dict[str, str]:
    image = base64.b64encode(as_svg(drawing)).decode()
    return {"title": drawing.title, "caption": drawing.caption, "image": image}


def _group_undrawn(figures: Sequence[Drawing | Undrawn]) -> dict[str, list[str]]:
    """Reason to the figures that could not be drawn for it."""
    found: dict[str, list[str]] = {}
    for figure in figures:
        if isinstance(figure, Undrawn):
            name = "novelty against success" if figure.name == "novelty" else f"figure {figure.name}"
            found.setdefault(figure.reason, []).append(name)
    return found


def _find_gaps(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Table, task and split to the rows without a measured number."""
    empty: dict[str, dict[str, None]] = {}
    for line in lines:
        listed = line.arch is None or line.table == "4"
        if line.measured is None and line.metric in ("return", "nearest_l2") and listed:
            name = line.method if line.arch is None else f"{line.method} on {line.arch}"
            where = f"Table {line.table}, {line.task}" + (f", {line.split}" if line.table in ("2", "4") else "")
            empty.setdefault(where, {})["training policies" if line.table == "6" else name] = None
    return {where: list(names) for where, names in empty.items()}


def _list_budgets(budgets: Sequence[Budget]) -> Grid:
    rows = [
        [budget.method, budget.task, str(budget.seed), f"{budget.parameters:,}", f"{budget.seconds / 60:.0f}"]
        for budget in budgets
    ]
    return _plain(("method", "task", "generator seed", "numbers saved", "training min"), 2, rows)


def _describe_protocol(protocol: Protocol) -> dict[str, Any]:
    return {name.replace("_", " "): value for name, value in asdict(protocol).items()} | {"sha256": protocol.sha256}


def _group_units(manifests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One block for all units that were made alike."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for manifest in manifests:
        unit = manifest["unit"]
        alike = [unit[name] for name in ("task", "method", "generator_seed", "method_sha256")]
        alike += [manifest[name] for name in ("command", "versions", "machine")]
        groups.setdefault(json.dumps(alike), []).append(manifest)
    found = []
    for members in groups.values():
        first = members[0]
        facts = {
            "command": " ".join(first["command"]),
            "method sha256": first["unit"]["method_sha256"],
            "versions": _listed(first["versions"]),
            "machine": _listed(first["machine"]),
        }
        headers = ("architecture", "created", "simulated s", "weights sha256", "rows sha256")
        grid = _plain(headers, 1, [_describe_unit(member) for member in members])
        found.append({**first["unit"], "facts": facts, "grid": grid})
    return found


def _describe_unit(manifest: Mapping[str, Any]) -> list[str]:
    seconds = manifest["info"].get("wall_s", {})
    simulated = sum(seconds[stage] for stage in ("selection", "test") if stage in seconds)
    return [
        manifest["unit"]["arch"],
        manifest["created"],
        f"{simulated:.0f}" if seconds else MISSING,
        _hash_of(manifest, r"\.safetensors"),
        _hash_of(manifest, r"(?<!\.policies)\.parquet"),
    ]


def _hash_of(manifest: Mapping[str, Any], ending: str) -> str:
    """Of the unit's file with this ending, in two lines."""
    (found,) = [value for name, value in manifest["sha256"].items() if re.search(f"{ending}$", name)]
    return f"{found[:32]}\n{found[32:]}"


def _describe_zoo(manifest: Mapping[str, Any]) -> dict[str, str]:
    return {
        "hypernetworks": str(len(manifest["ghn_seeds"])),
        "training policies": f"{manifest['valid_policies']} of {manifest['policies']} passed the filter",
        "filter": _listed(manifest["filter"]),
        "distillation": _listed(manifest["distillation"]),
        "splits sha256": manifest["splits_sha256"],
        "versions": _listed(manifest["versions"]),
    } | {f"{name} sha256": value for name, value in manifest["files"].items()}


def _describe_alignment(manifest: Mapping[str, Any]) -> dict[str, str]:
    return {name: _listed(value) if isinstance(value, Mapping) else str(value) for name, value in manifest.items()}


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _plain(headers: Sequence[str], text_columns: int, rows: Sequence[Sequence[str]]) -> Grid:
    """A table without title, caption and rules."""
    return Grid("", headers, text_columns, "", rows, frozenset())
