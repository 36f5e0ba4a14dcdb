"""One HTML page of everything that is known of a folder of results: who leads, what follows, where numbers come from.

The page needs no other file and no network. Its one script sorts the first table. Its layout is in `report.html.j2`.
"""

import base64
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
from tqdm import tqdm

from nnbench.analysis.claims import MOST, judge_claims, summarise_findings, summarise_ranking
from nnbench.analysis.lines import Line
from nnbench.analysis.methods import Methods
from nnbench.analysis.reported import ARXIV_ID, tasks_of
from nnbench.analysis.results import Results
from nnbench.folders import REFERENCE
from nnbench.presentation.figures import OF_METHODS, OF_ONE_TASK, Drawing, FigureError, as_svg, draw, draw_methods
from nnbench.presentation.leaderboard import RULE, Leaderboard, rank_methods
from nnbench.presentation.provenance import (
    describe_alignment,
    describe_protocol,
    describe_zoo,
    group_units,
    listed,
)
from nnbench.presentation.tables import Grid, Table, build
from nnbench.presentation.tables.captions import protocol_note
from nnbench.protocol import Protocol, protocol_name
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
    leaderboard: Leaderboard
    shipped: bool = False
    """Whether these are the rows that ship, and not the reader's own."""
    overview: Drawing | Undrawn | None = None
    """Stands beside the leaderboard."""
    tables: Sequence[Table[Any]] = ()
    figures: Sequence[Drawing | Undrawn] = ()
    manifests: Sequence[Mapping[str, Any]] = ()
    """Of the protocol's units."""
    cost: Table[Any] | None = None
    budgets: Sequence[Budget] = ()
    """Of the trained methods among the units' methods."""
    zoos: Mapping[str, Mapping[str, Any] | None]
    """The manifest of each task's zoo, None where it has none."""
    alignment: Mapping[str, Any] | None = None
    """The manifest of table 1."""


def page(results: Results) -> str:
    """The whole page. It takes a while, and says on stderr what it does.

    Raises TableError where rows do not belong together, ZooError where a zoo is damaged.
    """
    wanted: list[tuple[str, Callable[[], Drawing]]] = [
        *((name, partial(draw_methods, name, results, _shown(name))) for name in OF_METHODS),
        *((name, partial(draw, name, results, task)) for name in OF_ONE_TASK for task in results.tasks),
    ]
    _say(f"intervals and tables of {len(results.manifests)} units, protocol {protocol_name(results.protocol)}")
    leaderboard, tables = rank_methods(results), build(_TABLES, results)
    _say(f"{len(wanted)} figures")
    overview, *figures = [_try(name, make) for name, make in tqdm(wanted, desc="figures", disable=None, leave=False)]
    _say("the page")
    alignments = [results.alignment_manifest(task) for task in tasks_of(1)]
    return render(
        Content(
            protocol=results.protocol,
            methods=results.methods,
            leaderboard=leaderboard,
            shipped=REFERENCE in results.store.root.parents,
            overview=overview,
            tables=tables,
            figures=figures,
            manifests=results.manifests,
            cost=build(["cost"], results)[0],
            budgets=results.budgets,
            zoos={task: results.zoo_manifest(task) for task in results.tasks},
            alignment=next((manifest for manifest in alignments if manifest is not None), None),
        )
    )


def _shown(figure: str) -> list[str]:
    """Of the figures of methods: one panel has no room for all, and lines of all cross too often to be followed."""
    return [] if figure in ("overview", "distance") else ["all"]


def _say(stage: str) -> None:
    print(f"report: {stage}", file=sys.stderr, flush=True)


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
        trained_once=not any(
            "+" in line.generator_seeds for line in lines if content.methods[line.method].role == "generator"
        ),
        board=content.leaderboard,
        shipped=content.shipped,
        rule=RULE,
        most=MOST,
        overview=_embed(content.overview) if isinstance(content.overview, Drawing) else None,
        findings=summarise_findings(lines, content.methods),
        claims=judge_claims(lines, content.methods),
        ranking=summarise_ranking(lines),
        tables=_explain_once([table.grid for table in content.tables]),
        figures=[_embed(figure) for figure in content.figures if isinstance(figure, Drawing)],
        undrawn=_group_undrawn(content.figures),
        budgets=content.budgets,
        cost=content.cost and content.cost.grid,
        gaps=_find_gaps(lines),
        protocol_facts=describe_protocol(content.protocol),
        units=group_units(content.manifests),
        zoos={task: manifest and describe_zoo(manifest) for task, manifest in content.zoos.items()},
        alignment=content.alignment and describe_alignment(content.alignment),
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
    environment.filters["listed"] = listed
    return environment.get_template("report.html.j2")


def _summarise(manifests: Sequence[Mapping[str, Any]]) -> str:
    if not manifests:
        return "Nothing was measured here yet; `nnbench run` does that."
    methods = sorted({manifest["unit"]["method"] for manifest in manifests})
    dates = sorted(manifest["created"][:10] for manifest in manifests)
    period = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return f"Measured: {', '.join(methods)}, {len(manifests)} units of one method and architecture, {period}."


def _explain_once(grids: Sequence[Grid]) -> list[dict[str, Any]]:
    """Each grid with its note, without the lines that stand below a table before it."""
    said: dict[str, str] = {}
    found = []
    for grid in grids:
        lines = grid.caption.split("\n")
        before = dict.fromkeys(said[line] for line in lines if line in said)
        note = [f"Columns as in “{'”, “'.join(before)}”."] if before else []
        note += [line for line in lines if line not in said]
        said |= {line: grid.title for line in lines if line not in said}
        found.append({"grid": grid, "note": "\n".join(note)})
    return found


def _embed(drawing: Drawing) -> dict[str, str]:
    image = base64.b64encode(as_svg(drawing)).decode()
    return {"title": drawing.title, "caption": drawing.caption, "image": image}


def _group_undrawn(figures: Sequence[Drawing | Undrawn]) -> dict[str, list[str]]:
    """Reason to the figures that could not be drawn for it."""
    found: dict[str, list[str]] = {}
    for figure in figures:
        if isinstance(figure, Undrawn):
            found.setdefault(figure.reason, []).append(f"figure {figure.name}")
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
