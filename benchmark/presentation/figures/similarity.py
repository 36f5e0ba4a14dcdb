"""Figures 5 and 6: how different policies of one architecture are. S policies, K selected policies."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnbench.analysis.scores import Scores, UnitName
from nnbench.presentation.figures.drawing import STYLE, WIDTH, Drawing, FigureError
from nnbench.protocol import Protocol
from nnbench.tasks.policies.architectures import Architecture, architecture_name, load_splits

if TYPE_CHECKING:  # torch takes a second to import, and stored matrices need none of it
    from nnbench.tasks.zoo.zoo import Zoo


def draw_training_pairs(zoo: "Zoo", task: str, arch: Architecture) -> Drawing:
    """Figure 5: all pairs of training policies. Raises FigureError for an architecture that is not trained on."""
    import torch

    from nnbench.tasks.policies.mlp import flatten_weights

    training, name = zoo.training_set(), architecture_name(arch)
    if arch not in training.architectures:
        raise FigureError(f"figure 5: {name} is no training architecture, and it is about training policies")
    policies = list(training.networks(arch).values())
    if len(policies) < 2:
        raise FigureError(
            f"figure 5: {len(policies)} training policies of {name}, expected two or more; choose others by --archs"
        )
    flat = torch.stack([flatten_weights(policy).double() for policy in policies])  # (S, P)
    first, second = np.triu_indices(len(flat), 1)
    distances = (flat[first] - flat[second]).norm(dim=1).numpy()
    cosines = torch.nn.functional.cosine_similarity(flat[first], flat[second]).numpy()
    what = (
        f"All {len(distances)} pairs of the {len(policies)} training policies of {name}, all parameters in one vector, "
        f"neurons as they are. Zoo {zoo.sha256[:12]}. Dashed: the median."
    )
    title = f"Figure 5: how different the training policies are, {task}"
    return Drawing(title, what, pair_histograms(distances, cosines))


def draw_selected_pairs(
    scores: Mapping[UnitName, Scores], protocol: Protocol, task: str, arch: Architecture, method: str
) -> Drawing:
    """Figure 6: the selected policies of one unit. Raises FigureError where it was not measured."""
    name = architecture_name(arch)
    seeds = [unit.generator_seed for unit in scores if (unit.task, unit.method, unit.arch) == (task, method, name)]
    if not seeds:
        split = {"train": "seen"}.get(partition := load_splits().partition(arch), partition)
        raise FigureError(
            f"{method} on {task}, {name}, was not measured with protocol {protocol.short}; "
            f"`nnbench run --method {method} --task {task} --split {split}` measures it"
        )
    found = scores[UnitName(task, method, min(seeds), name)]
    l2, cosine = (np.array([list(row) for row in found.of_top(column)], float) for column in ("top_l2", "top_cosine"))
    what = (
        f"The {len(l2)} of {protocol.samples} policies that {method} (generator seed {min(seeds)}) wrote for {name} "
        "with the highest mean return, best first, with the hypernetwork whose policy each is nearest to. Euclidean "
        f"distance and cosine similarity of all parameters, neurons as they are. Protocol {protocol.short}."
    )
    title = f"Figure 6: how different the selected policies are, {method}, {task}, {name}"
    return Drawing(title, what, pair_matrices(l2, cosine, found.of_top("ghn_seed").tolist()))


def pair_histograms(distances: np.ndarray, cosines: np.ndarray) -> Figure:
    """Histograms of one number per pair of policies."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
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
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.85), layout="constrained")
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


def _short(value: float) -> str:
    if np.isnan(value):
        return "—"
    return f"{value:.2f}".replace("-", "−") if abs(value) < 10 else f"{value:.0f}"
