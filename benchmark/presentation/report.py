"""One HTML page of everything that is known of a folder of results: tables, figures, where the numbers come from.

The page needs no other file, no network and no script.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from tqdm import tqdm

from nnbench.analysis.claims import findings, ranking
from nnbench.analysis.lines import Line
from nnbench.analysis.reported import ARXIV_ID
from nnbench.analysis.results import Results
from nnbench.harness.trained import Budget
from nnbench.presentation.figures import NAMES, Drawing, FigureError, as_svg, draw
from nnbench.presentation.tables import build, protocol_note
from nnbench.presentation.text import Grid, Table, html_table
from nnbench.protocol import Protocol

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem 1.25rem 4rem; color: #111; background: #fff;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.75rem; border-top: 1px solid #111; padding-top: 0.75rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 0.5rem; }
p, ul { max-width: 46rem; }
a { color: inherit; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; }
.warning { border-left: 4px solid #111; padding-left: 0.75rem; }
.note, figcaption { font-size: 0.85rem; color: #333; max-width: 46rem; }
.missing { font-style: italic; }
.box { overflow-x: auto; max-width: 100%; }
table { border-collapse: separate; border-spacing: 0; font-size: 0.85rem; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
th, td { padding: 0.2rem 0.6rem; text-align: left; vertical-align: top; white-space: nowrap; }
thead th { vertical-align: bottom; border-bottom: 1px solid #111; font-weight: 600; }
tbody th { font-weight: 400; }
tbody th, .stub { position: sticky; left: 0; background: #fff; }
tbody tr.section:not(:first-child) > * { border-top: 1px solid #bbb; }
table:not(.text) tbody tr:hover > * { background: #f3f3f3; }
.number { text-align: right; }
.indented { padding-left: 1.6rem; }
.reported { font-style: italic; color: #444; }
figure { margin: 1.5rem 0 2.5rem; }
figure img { display: block; width: 46rem; max-width: 46rem; height: auto; }
figcaption { margin-top: 0.5rem; }
code { font: 0.85em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details { margin: 0.5rem 0; }
details table { font: 0.75rem/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.text td:last-child { white-space: normal; overflow-wrap: anywhere; }
summary { cursor: pointer; }
@media (max-width: 48rem) {
  body { padding: 0.5rem 0.75rem 3rem; }
  h1 { font-size: 1.35rem; }
  figure img { width: 36rem; max-width: none; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 9pt; }
  table { font-size: 7pt; }
  th, td { padding: 0.1rem 0.25rem; }
  .box { overflow: visible; }
  figure, tr { break-inside: avoid; }
  details::details-content { content-visibility: visible; }
  figure img { width: 100%; max-width: 46rem; }
}
"""


@dataclass(frozen=True)
class Undrawn:
    """A figure that could not be drawn, and why."""

    name: str
    """One of `figures.NAMES`."""
    reason: str


def page(results: Results, budgets: Sequence[Budget] = ()) -> str:
    """The whole page; `budgets` are those of the trained methods that were measured."""
    tables = build(("2", "differences", "3", "4", "6", "1", "novelty", "roundtrip"), results)
    figures: list[Drawing | Undrawn] = []
    for name, task in tqdm([(name, task) for name in NAMES for task in results.tasks], desc="figures", disable=None):
        try:
            figures.append(draw(name, results, task))
        except FigureError as error:
            figures.append(Undrawn(name, str(error)))
    zoos = {task: results.zoo_manifest(task) for task in results.tasks}
    alignment = results.alignment_manifest("PickCube-v1")
    return compose(tables, figures, results.manifests, budgets, zoos, alignment, results.protocol)


def compose(
    tables: Sequence[Table],
    figures: Sequence[Drawing | Undrawn],
    manifests: Sequence[Mapping[str, Any]],
    budgets: Sequence[Budget],
    zoos: Mapping[str, Mapping[str, Any] | None],
    alignment: Mapping[str, Any] | None,
    protocol: Protocol,
) -> str:
    """The whole page.

    `manifests` are those of the protocol's units, `budgets` those of the trained methods among them; `zoos` has each
    task's, None where it has none; `alignment` is that of table 1.
    """
    tasks = ", ".join(zoos)
    lines = [line for table in tables for line in table.lines]
    sections = {
        "Findings": _findings(lines),
        "Tables": _tables([table.grid for table in tables]),
        "Figures": "".join(map(_figure, figures)) + _undrawn(figures),
        "What training cost": _budgets(budgets),
        "What was not measured": _gaps(lines),
        "Provenance": _protocol(protocol) + _units(manifests) + _zoos(zoos) + _alignment(alignment),
    }
    contents = "".join(f'<li><a href="#{_anchor(name)}">{escape(name)}</a></li>' for name in sections)
    body = "".join(
        f'<section id="{_anchor(name)}"><h2>{escape(name)}</h2>{text}</section>\n' for name, text in sections.items()
    )
    title = f"nnbench report: {tasks}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{_introduction(protocol, manifests)}\n"
        f"<nav><ul>{contents}</ul></nav>\n{body}</body>\n</html>\n"
    )


def _introduction(protocol: Protocol, manifests: Sequence[Mapping[str, Any]]) -> str:
    methods = sorted({manifest["unit"]["method"] for manifest in manifests})
    if manifests:
        dates = sorted(manifest["created"][:10] for manifest in manifests)
        period = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        found = f"Measured: {', '.join(methods)}, {len(manifests)} units of one method and architecture, {period}."
    else:
        found = "Nothing was measured here yet; `nnbench run` does that."
    note = protocol_note(protocol)
    warning = f'<p class="warning"><strong>{escape(note)}</strong></p>' if note else ""
    return (
        "<p>nnbench measures whether a model that writes the weights of neural networks writes robot policies that "
        "work, on architectures that it learned from and on others. A method is asked for "
        f"{protocol.samples} policies of an architecture; the {protocol.top} with the highest mean return on "
        f"{protocol.selection_episodes} episodes are scored on {protocol.test_episodes} fresh ones. Beside what was "
        "measured here stands, in columns of its own and in italics, what the paper (NNiT, arXiv "
        f"{escape(ARXIV_ID)}) reports. Protocol <code>{protocol.short}</code>. {_with_code(found)}</p>{warning}"
    )


def _findings(lines: Sequence[Line]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in findings(lines))
    if not items:
        return "<p>Nothing was measured that a claim of the paper could be held against.</p>\n"
    summary = ranking(lines)
    return (
        "<p>Success of table 2. Methods are compared on the same test episodes, as in the table of differences; where "
        "the 95% interval of a difference holds 0, nothing is decided.</p>"
        + (f"<p>{escape(summary)}</p>" if summary else "")
        + f"<ul>{items}</ul>\n"
    )


def _tables(grids: Sequence[Grid]) -> str:
    parts, explained = [], dict[str, str]()
    for grid in grids:
        note = grid.caption
        for caption, title in explained.items():
            if note.startswith(caption):
                note = f"Columns as in “{title}”.{note.removeprefix(caption)}"
        explained.setdefault(grid.caption, grid.title)
        parts.append(f'<h3>{escape(grid.title)}</h3>{html_table(grid)}<p class="note">{escape(note)}</p>\n')
    return "".join(parts)


def _figure(drawing: Drawing | Undrawn) -> str:
    if isinstance(drawing, Undrawn):
        return ""
    image = base64.b64encode(as_svg(drawing)).decode()
    return (
        f'<figure><h3>{escape(drawing.title)}</h3><div class="box" tabindex="0">'
        f'<img alt="{escape(drawing.title)}" src="data:image/svg+xml;base64,{image}"></div>'
        f"<figcaption>{_with_code(drawing.caption)}</figcaption></figure>\n"
    )


def _undrawn(figures: Sequence[Drawing | Undrawn]) -> str:
    missing = [figure for figure in figures if isinstance(figure, Undrawn)]
    if not missing:
        return ""
    names: dict[str, list[str]] = {}
    for figure in missing:
        name = "novelty against success" if figure.name == "novelty" else f"figure {figure.name}"
        names.setdefault(figure.reason, []).append(name)
    items = "".join(f"<li>{', '.join(found)}: {_with_code(reason)}</li>" for reason, found in names.items())
    return f"<h3>Figures that could not be drawn</h3><ul>{items}</ul>\n"


def _gaps(lines: Sequence[Line]) -> str:
    """Which rows of the tables have no measured number."""
    empty: dict[str, dict[str, None]] = {}
    for line in lines:
        if (
            line.measured is None
            and line.metric in ("return", "nearest_l2")
            and (line.arch is None or line.table == "4")
        ):
            name = line.method if line.arch is None else f"{line.method} on {line.arch}"
            where = f"Table {line.table}, {line.task}" + (f", {line.split}" if line.table in ("2", "4") else "")
            empty.setdefault(where, {})["training policies" if line.table == "6" else name] = None
    if not empty:
        return "<p>Every row of every table above was measured.</p>\n"
    items = [f"<li>{escape(where)}: {escape(', '.join(names))}</li>" for where, names in empty.items()]
    return (
        "<p>These rows have numbers of the paper or a place for ours, but none was measured in this folder, or not on "
        f"all architectures:</p><ul>{''.join(items)}</ul>\n"
    )


def _budgets(budgets: Sequence[Budget]) -> str:
    if not budgets:
        return '<p class="missing">No trained method was measured, or none of those is kept here any more.</p>\n'
    table = Grid("", ("method", "task", "generator seed", "numbers saved", "training min"), 2, "")
    parts = []
    for budget in budgets:
        numbers = str(budget.seed), f"{budget.parameters:,}", f"{budget.seconds / 60:.0f}"
        table.add(budget.method, budget.task, *numbers)
        facts = {"machine": _listed(budget.machine), "configuration": _listed(budget.config)}
        title = f"{budget.method}, {budget.task}, generator seed {budget.seed}"
        parts.append(f"<details><summary>{escape(title)}</summary>{_facts(facts)}</details>\n")
    return html_table(table) + "".join(parts)


def _protocol(protocol: Protocol) -> str:
    fields = {name.replace("_", " "): str(value) for name, value in asdict(protocol).items()}
    return f"<h3>Protocol</h3>{_facts(fields | {'sha256': protocol.sha256})}"


def _units(manifests: Sequence[Mapping[str, Any]]) -> str:
    """One block for all units that were made alike."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for manifest in manifests:
        unit = manifest["unit"]
        alike = [unit[name] for name in ("task", "method", "generator_seed", "method_sha256")]
        alike += [manifest[name] for name in ("command", "versions", "machine")]
        groups.setdefault(json.dumps(alike), []).append(manifest)
    parts = ["<h3>Units</h3>"]
    if not groups:
        parts.append('<p class="missing">No unit of this protocol is finished.</p>')
    for members in groups.values():
        first = members[0]
        unit = first["unit"]
        facts = {
            "command": " ".join(first["command"]),
            "method sha256": unit["method_sha256"],
            "versions": _listed(first["versions"]),
            "machine": _listed(first["machine"]),
        }
        table = Grid("", ("architecture", "created", "simulated s", "weights sha256", "rows sha256"), 1, "")
        for member in members:
            seconds = member["info"].get("wall_s", {})
            simulated = sum(seconds[stage] for stage in ("selection", "test") if stage in seconds)
            table.add(
                member["unit"]["arch"],
                member["created"],
                f"{simulated:.0f}" if seconds else "—",
                _hash_of(member, r"\.safetensors"),
                _hash_of(member, r"(?<!\.policies)\.parquet"),
            )
        parts.append(
            f"<details><summary>{escape(unit['method'])}, {escape(unit['task'])}, generator seed "
            f"{unit['generator_seed']}: {len(members)} units</summary>{_facts(facts)}{html_table(table)}</details>\n"
        )
    return "".join(parts)


def _zoos(zoos: Mapping[str, Mapping[str, Any] | None]) -> str:
    parts = ["<h3>Zoos</h3>"]
    for task, manifest in zoos.items():
        if manifest is None:
            parts.append(f'<p class="missing">{escape(task)}: no zoo comes with this version.</p>')
            continue
        facts = {
            "hypernetworks": str(len(manifest["ghn_seeds"])),
            "training policies": f"{manifest['valid_policies']} of {manifest['policies']} passed the filter",
            "filter": _listed(manifest["filter"]),
            "distillation": _listed(manifest["distillation"]),
            "splits sha256": manifest["splits_sha256"],
            "versions": _listed(manifest["versions"]),
        }
        facts |= {f"{name} sha256": value for name, value in manifest["files"].items()}
        parts.append(f"<details><summary>{escape(task)}</summary>{_facts(facts)}</details>\n")
    return "".join(parts)


def _alignment(manifest: Mapping[str, Any] | None) -> str:
    heading = "<h3>Table 1</h3>"
    if manifest is None:
        return f'{heading}<p class="missing">{_with_code("Not measured; `nnbench zoo alignment` does that.")}</p>\n'
    facts = {name: _listed(value) if isinstance(value, Mapping) else str(value) for name, value in manifest.items()}
    return heading + _facts(facts)


def _hash_of(manifest: Mapping[str, Any], ending: str) -> str:
    """Of the unit's file with this ending, in two lines."""
    (found,) = [value for name, value in manifest["sha256"].items() if re.search(f"{ending}$", name)]
    return f"{found[:32]}\n{found[32:]}"


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f'<div class="box"><table class="text"><tbody>{rows}</tbody></table></div>'


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _with_code(text: str) -> str:
    """Escaped, what stands between backticks as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")
