"""Figures 3 and 4: do the weights of policies agree on which units matter? S policies, U units of all layers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator

from nnbench.presentation.figures.drawing import STYLE, WIDTH, Drawing
from nnbench.tasks.policies.architectures import Architecture, architecture_name, parse_architecture

if TYPE_CHECKING:  # torch takes a second to import, and measured profiles need none of it
    from nnbench.tasks.policies.mlp import Weights
    from nnbench.tasks.zoo.zoo import Zoo

WIDEST = parse_architecture("64-64-64-64")
_SHAPES = tuple(map(parse_architecture, ("16-16-32-32", "32-64-16-64", "64-32-64-64")))
"""Three training architectures for figure 4; the paper does not name its own."""

_SIDES = {
    "conv1x1": "GHN, 1×1 convolutions as decoder",
    "upsample": "GHN, upsampling decoder",
    "sgd": "SGD, trained directly",
}


@dataclass(frozen=True)
class Profiles:
    """Weight magnitudes by unit of policies of one architecture."""

    label: str
    layers: tuple[int, ...]
    """Units of each layer whose outgoing weights are drawn: the input and the hidden ones."""
    values: np.ndarray  # (S, U) in units of the layer's mean


def draw_seeds(alignment: Sequence[Mapping[str, Any]], open_zoo: "Callable[[], Zoo]", task: str) -> Drawing:
    """Figure 3: policies of many seeds, written by hypernetworks and trained directly.

    `alignment` are the rows of `store.read_alignment`; without any, the zoo's hypernetworks stand alone.
    """
    title = f"Figure 3: weight magnitudes over seeds, {task}"
    if alignment:
        panels = measured_profiles(alignment)
        widths = "-".join(map(str, panels[0].layers[1:]))
        what = (
            f"{_explain('policy, one per seed')} All are of architecture {widths} and learned from the same states: "
            "above written by hypernetworks, below trained directly."
        )
        return Drawing(title, what, magnitude_maps(panels))
    zoo = open_zoo()
    policies, name = zoo.hypernetwork_policies(WIDEST), architecture_name(WIDEST)
    panel = profiles_of(f"GHN, {name}: {len(policies)} policies", policies.values())
    what = (
        f"{_explain('policy, one per hypernetwork')} All {len(policies)} hypernetworks of the zoo {zoo.sha256[:12]}, "
        f"{name}. The paper sets policies trained directly (SGD) below them: these were not measured here; "
        "`nnbench zoo alignment` trains and measures them."
    )
    return Drawing(title, what, magnitude_maps([panel]))


def draw_hypernetworks(zoo: "Zoo", task: str, archs: Sequence[Architecture] = ()) -> Drawing:
    """Figure 4: policies of many hypernetworks, or of many trainings, of three architectures or of others."""
    panels, training = [], zoo.training_set()
    origin = "hypernetwork" if zoo.source_name == "hypernetworks" else "training"
    for arch in archs or _SHAPES:
        trained_on = arch in training.architectures
        policies = training.networks(arch) if trained_on else zoo.policies(arch)
        kind = "training policies" if trained_on else "policies, held out and not filtered"
        panels.append(profiles_of(f"{architecture_name(arch)}: {len(policies)} {kind}", policies.values()))
    what = (
        f"{_explain(f'policy, one per {origin}')} Zoo {zoo.sha256[:12]}; the paper draws 100 policies each of three "
        "architectures that it does not name."
    )
    return Drawing(f"Figure 4: weight magnitudes over {origin}s, {task}", what, magnitude_maps(panels))


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


def magnitude_maps(panels: Sequence[Profiles]) -> Figure:
    """Heat maps of (S, U), one above the other, layers side by side with a gap."""
    with matplotlib.rc_context(STYLE):
        heights = [max(0.9, min(1.6, 0.05 * len(panel.values))) for panel in panels]
        size = WIDTH, max(2.0, sum(heights) + 0.45 * len(panels) + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for ax, panel in zip(axes, panels, strict=True):
            image = _draw_map(ax, panel)
        axes[-1].set_xlabel("unit, by layer and number of units")
        bar = figure.colorbar(image, ax=list(axes), extend="both", aspect=25, pad=0.015)
        bar.set_ticks([0.25, 0.5, 1, 2, 4], labels=["¼", "½", "1", "2", "4"])
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.set_label("|weight| / layer's mean")
    return figure


def _draw_map(ax: Axes, panel: Profiles) -> AxesImage:
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
    return image


def _explain(line: str) -> str:
    return (
        f"A line is a {line}; a column is a unit, its shade the mean absolute weight from it to the next layer, in "
        "units of the layer's mean, on a logarithmic scale. Vertical bands: the policies agree on which units matter."
    )
