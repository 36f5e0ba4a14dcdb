"""Figures 3 to 6 of the paper, and novelty against success: from stored rows and zoos to matplotlib figures.

They are drawn in black and grey, to be read in print. S policies, U units of all layers, K selected policies.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator

from nnbench.analysis.results import Results
from nnbench.analysis.scores import Scores, UnitName
from nnbench.protocol import JOINT, Protocol
from nnbench.tasks.files import write_atomically
from nnbench.tasks.policies.architectures import Architecture, architecture_name, load_splits, parse_architecture

if TYPE_CHECKING:  # torch takes a second to import, and some figures need none of it
    from nnbench.tasks.policies.mlp import Weights
    from nnbench.tasks.zoo.zoo import Zoo

NAMES = ("3", "4", "5", "6", "novelty")
"""What `draw` draws."""

_WIDTH = 6.5  # inches, the text of a printed page
_STYLE: dict[Any, Any] = {
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
    "savefig.dpi": 300,
    "svg.hashsalt": "nnbench",  # the same data give the same file
}

_WIDEST = "64-64-64-64"
_SHAPES = "16-16-32-32", "32-64-16-64", "64-32-64-64"
"""Three training architectures for figure 4; the paper does not name its own."""
_PAPER_FIGURE6 = "16-64-64-32"
_SIDES = {
    "conv1x1": "GHN, 1×1 convolutions as decoder",
    "upsample": "GHN, upsampling decoder",
    "sgd": "SGD, trained directly",
}
_PARTITIONS = {
    "seen": "architectures trained on",
    "unseen": "architectures held out",
    "outside": "architectures outside the space",
    "other": "other architectures",
    JOINT: "architectures that the method chose",
}
_MARKERS = {
    "nnit": "o",
    "nnit_noise": "X",
    "nnit_v": "P",
    "row_dit": "v",
    "sane": "^",
    "sane_bootstrapped": "*",
    "sane_independent": "<",
    "sane_mz": "h",
    "sane_narrow": ">",
    "sane_unaligned": "p",
    "d2nwg": "s",
    "d2nwg_flat": "D",
}
"""Generators are drawn filled, all other methods open."""
_OPEN_MARKERS = "sD^vo<>ph8"
_COPY = 0.01
"""Novelty is drawn on a linear axis below this and on a logarithmic one above: exact copies have none at all."""


class FigureError(ValueError):
    """A figure that cannot be drawn. Names what is missing and the remedy."""


@dataclass(frozen=True)
class Drawing:
    """A figure and what is to be said with it."""

    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Profiles:
    """Weight magnitudes by unit of policies of one architecture."""

    label: str
    layers: tuple[int, ...]
    """Units of each layer whose outgoing weights are drawn: the input and the hidden ones."""
    values: np.ndarray  # (S, U) in units of the layer's mean


@dataclass(frozen=True)
class Point:
    """One network, selected and tested."""

    method: str
    partition: str
    novelty: float
    """Distance to the nearest hypernetwork policy, as a multiple of that between two hypernetworks."""
    success: float


@dataclass(frozen=True)
class Material:
    """What the figures of one task are drawn from."""

    task: str
    protocol: Protocol
    scores: Mapping[UnitName, Scores]
    alignment: Sequence[Mapping[str, Any]]
    """Rows of `tasks.alignment.compare`, or none."""
    open_zoo: "Callable[[], Zoo | None]"

    @cached_property
    def zoo(self) -> "Zoo":
        """The task's zoo, opened when a figure first needs it. Raises FigureError, or ZooError if it is damaged."""
        found = self.open_zoo()
        if found is None:
            raise FigureError(
                f"no zoo of {self.task} comes with this version; `nnbench zoo build --task {self.task}` makes one"
            )
        return found


def draw(name: str, results: Results, task: str, archs: Sequence[Architecture] = (), method: str = "nnit") -> Drawing:
    """One of `NAMES` for a task, of other architectures than its own where `archs` are given; `method` is for figure 6.

    Raises FigureError where something is missing, ZooError where the task's zoo is damaged.
    """
    scores = results.scores(task) if name in ("6", "novelty") else {}
    alignment = results.alignment(task) if name == "3" else []
    material = Material(task, results.protocol, scores, alignment, partial(results.zoo, task))
    return draw_from(name, material, archs, method)


def draw_from(name: str, material: Material, archs: Sequence[Architecture] = (), method: str = "nnit") -> Drawing:
    """One of `NAMES`, of other architectures than its own where `archs` are given; `method` is for figure 6.

    Raises FigureError where something is missing, ZooError where the task's zoo is damaged.
    """
    if archs and name in ("3", "novelty"):
        raise FigureError(f"figure {name}: its architectures are those measured; leave --arch out")
    if len(archs) > 1 and name in ("5", "6"):
        raise FigureError(f"figure {name}: {len(archs)} architectures, expected one; it is drawn for one at a time")
    if name == "3":
        return _figure3(material)
    if name == "4":
        return _figure4(material, archs or [parse_architecture(arch) for arch in _SHAPES])
    if name == "5":
        return _figure5(material, archs[0] if archs else parse_architecture(_WIDEST))
    if name == "6":
        return _figure6(material, archs[0] if archs else parse_architecture(_PAPER_FIGURE6), method)
    return _novelty(material)


def _figure3(material: Material) -> Drawing:
    title = f"Figure 3: weight magnitudes over seeds, {material.task}"
    if material.alignment:
        panels = measured_profiles(material.alignment)
        widths = "-".join(map(str, panels[0].layers[1:]))
        what = (
            f"{_lines_of_the_map('policy, one a seed')} All are of architecture {widths} and learned from the same "
            "states: above written by hypernetworks, below trained directly."
        )
        return Drawing(title, what, magnitude_maps(panels))
    policies = material.zoo.hypernetwork_policies(parse_architecture(_WIDEST))
    panel = profiles_of(f"GHN, {_WIDEST}: {len(policies)} policies", policies.values())
    what = (
        f"{_lines_of_the_map('policy, one a hypernetwork')} All {len(policies)} hypernetworks of the zoo "
        f"{material.zoo.sha256[:12]}, {_WIDEST}. The paper sets policies trained directly (SGD) below them: "
        "these were not measured here; `nnbench zoo alignment` trains and measures them."
    )
    return Drawing(title, what, magnitude_maps([panel]))


def _figure4(material: Material, archs: Sequence[Architecture]) -> Drawing:
    panels, training = [], material.zoo.training_set()
    for arch in archs:
        trained_on = arch in training.architectures
        policies = training.networks(arch) if trained_on else material.zoo.hypernetwork_policies(arch)
        kind = "training policies" if trained_on else "policies, held out and not filtered"
        panels.append(profiles_of(f"{architecture_name(arch)}: {len(policies)} {kind}", policies.values()))
    what = (
        f"{_lines_of_the_map('policy, one a hypernetwork')} Zoo {material.zoo.sha256[:12]}; the paper draws 100 "
        "policies each of three architectures that it does not name."
    )
    return Drawing(f"Figure 4: weight magnitudes over hypernetworks, {material.task}", what, magnitude_maps(panels))


def _figure5(material: Material, arch: Architecture) -> Drawing:
    import torch

    from nnbench.tasks.policies.mlp import flatten_weights

    training, name = material.zoo.training_set(), architecture_name(arch)
    if arch not in training.architectures:
        raise FigureError(f"figure 5: {name} is no training architecture, and it is about training policies")
    policies = list(training.networks(arch).values())
    if len(policies) < 2:
        raise FigureError(f"figure 5: {len(policies)} training policies of {name}, expected two or more; choose --arch")
    flat = torch.stack([flatten_weights(policy).double() for policy in policies])  # (S, P)
    first, second = np.triu_indices(len(flat), 1)
    distances = (flat[first] - flat[second]).norm(dim=1).numpy()
    cosines = torch.nn.functional.cosine_similarity(flat[first], flat[second]).numpy()
    what = (
        f"All {len(distances)} pairs of the {len(policies)} training policies of {name}, all parameters in one vector, "
        f"neurons as they are. Zoo {material.zoo.sha256[:12]}. Dashed: the median."
    )
    title = f"Figure 5: how different the training policies are, {material.task}"
    return Drawing(title, what, pair_histograms(distances, cosines))


def _figure6(material: Material, arch: Architecture, method: str) -> Drawing:
    task, name = material.task, architecture_name(arch)
    wanted = task, method, name
    seeds = [unit.generator_seed for unit in material.scores if (unit.task, unit.method, unit.arch) == wanted]
    if not seeds:
        split = {"train": "seen"}.get(partition := load_splits().partition(arch), partition)
        raise FigureError(
            f"{method} on {task}, {name}, was not measured with protocol {material.protocol.short}; "
            f"`nnbench run --method {method} --task {task} --split {split}` measures it"
        )
    scores = material.scores[UnitName(task, method, min(seeds), name)]
    l2, cosine = (np.array([list(row) for row in scores.of_top(column)], float) for column in ("top_l2", "top_cosine"))
    what = (
        f"The {len(l2)} of {material.protocol.samples} policies that {method} (generator seed {min(seeds)}) wrote for "
        f"{name} with the highest mean return, best first, with the hypernetwork whose policy each is nearest to. "
        "Euclidean distance and cosine similarity of all parameters, neurons as they are. "
        f"Policies of two hypernetworks are {scores.of_top('ghn_spread')[0]:.1f} apart (median to the nearest, neurons "
        f"matched). Protocol {material.protocol.short}."
    )
    title = f"Figure 6: how different the selected policies are, {method}, {task}, {name}"
    return Drawing(title, what, pair_matrices(l2, cosine, scores.of_top("ghn_seed").tolist()))


def _novelty(material: Material) -> Drawing:
    points = novelty_points(material.scores, material.task)
    if not points:
        raise FigureError(
            f"nothing on {material.task} was measured with protocol {material.protocol.short}; "
            f"`nnbench run --method nnit ghn --task {material.task}` measures two methods"
        )
    what = (
        f"A small mark is a network: the distinct ones of the top {material.protocol.top} of "
        f"{material.protocol.samples} that each method wrote for each architecture, their number in brackets; the "
        "large mark is the median of a method's. Across, the L2 distance to the nearest hypernetwork policy of the "
        "architecture, neurons matched, divided by that between two hypernetworks: 0 is an exact copy, 1 (dotted) as "
        f"new as another hypernetwork. Below {_COPY:g} the axis is linear. Up, the share of "
        f"{material.protocol.test_episodes} test episodes solved ({material.protocol.headline.replace('_', ' ')}). "
        "Filled: generators; open: floors and other methods. "
        f"Protocol {material.protocol.short}."
    )
    return Drawing(f"Novelty against success, {material.task}", what, novelty_scatter(points))


def measured_profiles(rows: Sequence[Mapping[str, Any]]) -> list[Profiles]:
    """The sides of the alignment rows that there are, SGD last."""
    panels = []
    for side, label in _SIDES.items():
        mine = sorted((row for row in rows if row["side"] == side), key=lambda row: int(row["seed"]))
        if mine:
            values = np.array([row["magnitudes"] for row in mine], float)
            hidden = parse_architecture(mine[0]["arch"])
            label = f"{label}: {len(mine)} policies"
            panels.append(Profiles(label, (values.shape[1] - sum(hidden), *hidden), values))
    return panels


def profiles_of(label: str, policies: "Iterable[Weights]") -> Profiles:
    """Of policies of one architecture."""
    import torch

    from nnbench.tasks.zoo.alignment import magnitudes

    found = [magnitudes(policy) for policy in policies]
    return Profiles(label, tuple(map(len, found[0])), np.stack([torch.cat(profile).numpy() for profile in found]))


def novelty_points(scores: Mapping[UnitName, Scores], task: str) -> list[Point]:
    """The distinct selected networks of every unit of the task, but those whose novelty has no measure."""
    points, splits = [], load_splits()
    for unit, found in scores.items():
        if unit.task != task:
            continue
        partition = JOINT if unit.arch == JOINT else splits.partition(parse_architecture(unit.arch))
        distances, spreads = found.of_top("ghn_distance"), found.of_top("ghn_spread")
        for position in sorted({network: k for k, network in reversed(list(enumerate(found.networks)))}.values()):
            if spreads[position] > 0:
                novelty = float(distances[position] / spreads[position])
                success = float(found.success[position].mean())
                points.append(Point(unit.method, {"train": "seen"}.get(partition, partition), novelty, success))
    return points


def magnitude_maps(panels: Sequence[Profiles]) -> Figure:
    """Heat maps of (S, U), one above the other, layers side by side with a gap."""
    with matplotlib.rc_context(_STYLE):
        heights = [max(0.9, min(1.6, 0.05 * len(panel.values))) for panel in panels]
        size = _WIDTH, max(2.0, sum(heights) + 0.45 * len(panels) + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for ax, panel in zip(axes, panels, strict=True):
            gap = max(1, round(sum(panel.layers) / 100))
            blocks, edges = np.split(panel.values, np.cumsum(panel.layers)[:-1], axis=1), []
            columns: list[np.ndarray] = []
            for block in blocks:
                edges.append(sum(part.shape[1] for part in columns))
                columns += [block, np.full((len(block), gap), np.nan)]
            columns.pop()  # the gap behind the last
            drawn = np.hstack(columns)
            around = (-0.5, drawn.shape[1] - 0.5, len(drawn) + 0.5, 0.5)  # policies count from 1
            image = ax.imshow(drawn, cmap="Greys", norm=LogNorm(0.25, 4), aspect="auto", extent=around)
            for edge, width in zip(edges, panel.layers, strict=True):  # a light unit is no gap
                ax.add_patch(Rectangle((edge - 0.5, 0.5), width, len(drawn), fill=False, linewidth=0.5, clip_on=False))
            names = ["input", *(f"hidden {layer}" for layer in range(1, len(blocks)))]
            middles = [edge + (width - 1) / 2 for edge, width in zip(edges, panel.layers, strict=True)]
            ax.set_xticks(middles, [f"{name}\n{width}" for name, width in zip(names, panel.layers, strict=True)])
            ax.tick_params(axis="x", length=0)
            ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            ax.set_title(panel.label)
            ax.set_ylabel("policy")
            ax.spines[:].set_visible(False)
        axes[-1].set_xlabel("unit, by layer and number of units")
        bar = figure.colorbar(image, ax=list(axes), extend="both", aspect=25, pad=0.015)
        bar.set_ticks([0.25, 0.5, 1, 2, 4], labels=["¼", "½", "1", "2", "4"])
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.set_label("|weight| / layer's mean")
    return figure


def pair_histograms(distances: np.ndarray, cosines: np.ndarray) -> Figure:
    """Histograms of one number a pair of policies."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 2.3), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        far, low = 1.05 * float(distances.max()), min(0.0, float(cosines.min()))
        for ax, values, bounds, label in (
            (left, distances, (0.0, far), "L2 distance (weight units)"),
            (right, cosines, (low, 1.0), "cosine similarity"),
        ):
            ax.hist(values, bins=40, range=bounds, color="0.75", edgecolor="black", linewidth=0.4)
            ax.axvline(float(np.median(values)), color="black", linewidth=0.8, linestyle="--")
            ax.set_xlim(bounds)
            ax.set_xlabel(label)
            ax.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        left.set_ylabel("pairs of policies")
    return figure


def pair_matrices(l2: np.ndarray, cosine: np.ndarray, ghn_seeds: Sequence[int]) -> Figure:
    """Matrices (K, K) of the selected in the order of their rank; dark is alike in both."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 3.85), layout="constrained")
        ranks = np.arange(1, len(l2) + 1)
        panels = (
            (l2, "Greys_r", (0.0, max(float(np.nanmax(l2)), 1e-9)), "L2 distance (weight units)"),
            (cosine, "Greys", (min(0.0, float(np.nanmin(cosine))), 1.0), "cosine similarity"),
        )
        axes = figure.subplots(1, 2, sharey=True)
        for ax, (matrix, colours, (low, high), label) in zip(axes, panels, strict=True):
            image = ax.imshow(matrix, cmap=colours, vmin=low, vmax=high)
            for (row, column), value in np.ndenumerate(matrix):
                dark = (value - low) / (high - low) > 0.5
                ax.text(
                    column,
                    row,
                    _short(value),
                    ha="center",
                    va="center",
                    fontsize=6,
                    color="white" if dark == (colours == "Greys") else "black",
                )
            ax.set_xticks(ranks - 1, ranks)
            ax.set_xlabel("rank by mean return")
            ax.tick_params(length=0)
            ax.spines[:].set_visible(True)
            figure.colorbar(image, ax=ax, location="top", aspect=30, pad=0.02).set_label(label)
        axes[0].set_yticks(ranks - 1, [f"{rank} · {seed}" for rank, seed in zip(ranks, ghn_seeds, strict=True)])
        axes[0].set_ylabel("rank · seed of the nearest GHN")
    return figure


def novelty_scatter(points: Sequence[Point]) -> Figure:
    """One panel a partition, one marker a method: small ones are networks, the large one is their median."""
    partitions = [name for name in _PARTITIONS if any(point.partition == name for point in points)]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 1.1 + 2.1 * len(partitions)), layout="constrained")
        axes = figure.subplots(len(partitions), 1, squeeze=False, sharex=True)[:, 0]
        styles = _marker_styles({point.method for point in points})
        for ax, partition in zip(axes, partitions, strict=True):
            here = [point for point in points if point.partition == partition]
            ax.axvline(1, color="0.5", linewidth=0.8, linestyle=":")
            for faint in (True, False):
                for method, style in styles.items():
                    mine = np.array([(p.novelty, 100 * p.success) for p in here if p.method == method]).reshape(-1, 2)
                    if not len(mine):
                        continue  # an empty line that is not clipped has no extent, and the layout fails
                    if not faint:
                        mine = np.median(mine, axis=0, keepdims=True)
                    look = {"markersize": 3, "color": "0.65"} if faint else {"markersize": 7, "color": "black"}
                    ax.plot(*mine.T, linestyle="none", clip_on=False, zorder=2 + (not faint), **style, **look)
            ax.set_ylim(0, 100)
            ax.set_ylabel("success on\ntest episodes (%)")
            ax.set_title(_PARTITIONS[partition])
        _novelty_axis(axes[-1], max(point.novelty for point in points))
        handles = [
            Line2D([], [], linestyle="none", markersize=6, color="black", **style, label=f"{method} ({count})")
            for method, style in styles.items()
            if (count := sum(point.method == method for point in points))
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=4, handletextpad=0.2)
    return figure


def save(drawing: Drawing, path: Path) -> None:
    """Write as PNG, SVG or PDF, by the file's suffix. Raises FigureError at any other, OSError on a full disk."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg", "pdf"):
        raise FigureError(f"{path}: expected a name that ends in .png, .svg or .pdf")
    write_atomically(path, partial(_write, drawing, kind))


def as_svg(drawing: Drawing) -> bytes:
    """The figure as an SVG file, equal for equal data."""
    buffer = io.BytesIO()
    _write(drawing, "svg", buffer)
    return buffer.getvalue()


def _write(drawing: Drawing, kind: str, file: Path | io.BytesIO) -> None:
    description = "Subject" if kind == "pdf" else "Description"
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    with matplotlib.rc_context(_STYLE):
        drawing.figure.savefig(
            file, format=kind, metadata={"Title": drawing.title, description: drawing.caption, **undated}
        )


def _lines_of_the_map(line: str) -> str:
    return (
        f"A line is a {line}; a column is a unit, its shade the mean absolute weight from it to the next layer, in "
        "units of the layer's mean, on a logarithmic scale. Vertical bands: the policies agree on which units matter."
    )


def _novelty_axis(ax: Axes, highest: float) -> None:
    ticks = {0.0: "0\ncopy", _COPY: f"{_COPY:g}", 0.1: "0.1", 1.0: "1\nanother GHN", 10.0: "10", 100.0: "100"}
    end = next((tick for tick in (2.0, 10.0, 100.0) if tick > highest), 1.1 * highest)
    shown = {tick: label for tick, label in ticks.items() if tick <= end}
    ax.set_xscale("symlog", linthresh=_COPY, linscale=0.4)
    ax.set_xlim(-_COPY / 10, end)
    ax.set_xticks(list(shown), list(shown.values()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("L2 distance to the nearest GHN policy / L2 distance between GHNs")


def _marker_styles(methods: set[str]) -> dict[str, dict[str, Any]]:
    """Generators first; a method's marker does not depend on what values it has."""
    styles: dict[str, dict[str, Any]] = {name: {"marker": _MARKERS[name]} for name in _MARKERS if name in methods}
    for position, method in enumerate(sorted(methods - set(_MARKERS))):
        marker = _OPEN_MARKERS[position % len(_OPEN_MARKERS)]
        styles[method] = {"marker": marker, "markerfacecolor": "none", "markeredgewidth": 0.9}
    return styles


def _short(value: float) -> str:
    if np.isnan(value):
        return "—"
    return f"{value:.2f}".replace("-", "−") if abs(value) < 10 else f"{value:.0f}"
