import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from nnbench.analysis.methods import Methods
from nnbench.analysis.results import Results
from nnbench.analysis.scores import Scores, UnitName
from nnbench.commands.tables import figure
from nnbench.errors import InputError
from nnbench.facts import Facts, find_facts
from nnbench.folders import REFERENCE
from nnbench.presentation.figures import OF_METHODS, Drawing, FigureError, as_svg, draw, draw_methods, save
from nnbench.presentation.figures.choice import choose_default, unseen_rows
from nnbench.presentation.figures.cost import Cost, cost_panels
from nnbench.presentation.figures.distance import Reached, distance_panels, reached
from nnbench.presentation.figures.magnitudes import (
    draw_hypernetworks,
    draw_seeds,
    magnitude_maps,
    measured_profiles,
)
from nnbench.presentation.figures.marks import style_methods
from nnbench.presentation.figures.novelty import Point, novelty_points, novelty_scatter
from nnbench.presentation.figures.overview import Place, overview_scatter
from nnbench.presentation.figures.similarity import draw_selected_pairs, draw_training_pairs
from nnbench.protocol import Protocol
from nnbench.tasks.files import WriteError
from nnbench.tasks.policies.architectures import load_splits, parse_architecture
from nnbench.tasks.policies.mlp import random_policy

PROTOCOL = Protocol(samples=4, top=3, selection_episodes=3, screening_episodes=2, test_episodes=4)
TASK = "PickCube-v1"
SHIPPED = Methods(find_facts())
UNSEEN = parse_architecture("16-64-64-32")
L2 = [[0.0, 3.0, 12.0], [3.0, 0.0, 5.0], [12.0, 5.0, 0.0]]
COSINE = [[1.0, 0.5, -0.25], [0.5, 1.0, 0.0], [-0.25, 0.0, 1.0]]


def _scores(**changes: Any) -> Scores:
    """Samples 3, 0 and 2 are the best, in this order; sample 2 is a copy of sample 3."""
    top, count = np.array([3, 0, 2]), PROTOCOL.samples
    columns = {"top_l2": np.full(count, None, object), "top_cosine": np.full(count, None, object)}
    for rank, sample in enumerate(top):
        columns["top_l2"][sample], columns["top_cosine"][sample] = L2[rank], COSINE[rank]
    described = {
        "ghn_seed": np.array([10, 11, 12, 13]),
        "ghn_distance": np.array([0.0, 100.0, 6.0, 6.0]),
        "ghn_spread": np.full(count, 30.0),
    }
    fields: dict[str, Any] = {
        "returns": np.ones((3, 4)),
        "success": np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0]], bool),
        "networks": ["d", "a", "d"],
        "selection_returns": np.ones((4, 3)),
        "selection_success": np.ones((4, 3)),
        "selected_success": 1.0,
        "screening_success": np.array([[1.0], [0.0]]),
        "works": np.array([True, False, True, False]),
        "diverged": 0,
        "distinct": 0.75,
        "policies": columns | described,
        "top": top,
    }
    return Scores(**fields | changes)


def _units(**units: Scores) -> dict[UnitName, Scores]:
    return {UnitName(TASK, method, 0, "16-64-64-32"): scores for method, scores in units.items()}


def _zoo() -> Any:
    """Of three hypernetworks, of which the second's policies are not trained on."""

    def written(arch: tuple[int, ...]) -> dict[int, Any]:
        return {s: random_policy(arch, 42, 8, torch.Generator().manual_seed(s)) for s in range(3)}

    def trained_on(arch: tuple[int, ...]) -> dict[int, Any]:
        return {seed: weights for seed, weights in written(arch).items() if seed != 1}

    training = SimpleNamespace(architectures=load_splits().train, networks=trained_on)
    return SimpleNamespace(
        sha256="f00d" * 16,
        source_name="hypernetworks",
        policies=written,
        hypernetwork_policies=written,
        training_set=lambda: training,
    )


def _figure6(method: str = "nnit", arch: tuple[int, ...] = UNSEEN) -> Drawing:
    return draw_selected_pairs(_units(nnit=_scores()), PROTOCOL, TASK, arch, method)


def _alignment_rows() -> list[dict[str, Any]]:
    """Seeds in no order; the input has 3 units and the hidden layers 2 and 4."""
    return [
        {"side": side, "seed": seed, "arch": "2-4", "magnitudes": [0.1 * seed + unit for unit in range(9)]}
        for side in ("sgd", "conv1x1")
        for seed in (2, 0, 1)
    ]


def _labels(ax: Any, axis: str = "x") -> list[str]:
    return [text.get_text() for text in getattr(ax, f"get_{axis}ticklabels")()]


def _array(ax: Any) -> np.ndarray:
    found: np.ndarray = ax.images[0].get_array()
    return found


def _title(ax: Any) -> str:
    return str(ax.get_title(loc="left") or ax.get_title())


def test_matrices_are_the_stored_ones_best_first() -> None:
    drawing = _figure6()
    left, right = drawing.figure.axes[:2]
    np.testing.assert_array_equal(left.images[0].get_array(), L2)
    np.testing.assert_array_equal(right.images[0].get_array(), COSINE)
    assert _labels(left) == ["1", "2", "3"] and _labels(left, "y") == ["1 · 13", "2 · 10", "3 · 12"]
    assert [text.get_text() for text in left.texts[:3]] == ["0.00", "3.00", "12"]
    assert [text.get_text() for text in right.texts[:3]] == ["1.00", "0.50", "−0.25"]
    shades = [left.images[0].to_rgba(np.array([0.0]))[0, 0], right.images[0].to_rgba(np.array([1.0]))[0, 0]]
    assert max(shades) < 0.1, "dark is alike in both"
    assert {text.get_color() for text in left.texts if text.get_text() == "0.00"} == {"white"}
    assert all(part in drawing.title + drawing.caption for part in (TASK, "nnit", "16-64-64-32", "3 of 4"))
    assert PROTOCOL.short in drawing.caption


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(FigureError, match=r"sane on PickCube-v1, 16-64-64-32, was not .*`nnbench run --method sane"):
        _figure6("sane")
    with pytest.raises(FigureError, match="16-16-32-32, was not measured .* --split seen`"):
        _figure6(arch=(16, 16, 32, 32))
    nowhere = Results.open(tmp_path, [TASK], PROTOCOL, zoos={TASK: tmp_path / "nowhere"})
    with pytest.raises(FigureError, match="no zoo of PickCube-v1 comes with this version; `nnbench zoo build"):
        draw("4", nowhere, TASK)
    with pytest.raises(FigureError, match="no method was measured on all unseen .* --split unseen` measures one"):
        draw_methods("novelty", nowhere)


def test_novelty_has_a_point_per_distinct_network() -> None:
    found = {
        UnitName(TASK, "nnit", 0, "16-64-64-32"): _scores(),
        UnitName(TASK, "nnit", 0, "joint"): _scores(),
        UnitName(TASK, "ghn", 0, "16-64-64-32"): _scores(),
        UnitName("PushCube-v1", "nnit", 0, "16-64-64-32"): _scores(),
    }
    assert novelty_points(found, TASK, ["nnit"], load_splits().unseen) == [
        Point("nnit", 0.2, 0.75),
        Point("nnit", 0.0, 0.25),
    ]
    unknown = _scores(policies=dict(_scores().policies) | {"ghn_spread": np.array([math.nan, 30, 30, 30])})
    assert [point.novelty for point in novelty_points(_units(nnit=unknown), TASK, ["nnit"], load_splits().unseen)] == [
        0.2
    ]


def _marks(ax: Any) -> list[Any]:
    """The large ones, of methods."""
    return [line for line in ax.lines if line.get_marker() not in ("", "None", None) and line.get_markersize() >= 7]


def _texts(ax: Any) -> set[str]:
    return {text.get_text().strip() for text in ax.texts}


def test_every_method_has_its_name_beside_its_mark(tmp_path: Path) -> None:
    methods = ["nnit", "d2nwg", "sane", "ghn", "nearest", "noise", "mine"]
    points = [Point(method, 0.02 * k, 0.97) for k, method in enumerate(methods)]
    points += [Point("mine", 40.0, 0.5), Point("mine", 41.0, 0.5)]
    figure = novelty_scatter({TASK: points, "PushCube-v1": points[:2]}, methods, SHIPPED)
    assert [_title(ax) for ax in figure.axes] == [TASK, "PushCube-v1"] and not figure.legends
    assert _texts(figure.axes[0]) == {*methods, "far in weights, works"}
    assert _texts(figure.axes[1]) == {"nnit", "d2nwg", "far in weights, works"}
    assert (40.0, 50.0) in {(line.get_xdata()[0], line.get_ydata()[0]) for line in _marks(figure.axes[0])}, "a median"
    assert figure.axes[1].get_xlim()[1] >= 41 and figure.axes[1].get_xscale() == "symlog"
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k]), "names do not cover one another"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that does not fit only warns
        save(Drawing("t", "c", figure), tmp_path / "novelty.png")


def test_a_legend_is_as_wide_as_the_figure_and_no_wider() -> None:
    points = {TASK: [Reached(name, 0.0, 0.5) for name in ("nnit", "ghn")]}
    for names in (["nnit", "ghn"], [f"a_method_with_a_long_name_{k}" for k in range(7)]):
        figure = distance_panels(points, names, [], SHIPPED)
        (legend,) = figure.legends
        figure.draw_without_rendering()
        assert legend.get_window_extent().x1 <= figure.bbox.x1 and len(legend.get_texts()) == len(names)


def test_many_methods_have_a_legend() -> None:
    methods = sorted(SHIPPED.names)
    figure = novelty_scatter({TASK: [Point(method, 0.1, 0.5) for method in methods]}, methods, SHIPPED)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == methods
    assert _texts(figure.axes[0]) == {"far in weights, works"}


def test_methods_are_told_apart_without_colour_and_by_their_role() -> None:
    names = ["nnit", "mine", "ghn", "nearest", "sane", "noise", "d2nwg"]
    styles = style_methods(names, SHIPPED)
    assert len({style["marker"] for style in styles.values()}) == len(names)
    assert {name for name, style in styles.items() if "markerfacecolor" in style} == {"ghn", "nearest", "noise"}
    many = [f"m{k}" for k in range(30)]
    assert len({(style["marker"], style["color"]) for style in style_methods(many, SHIPPED).values()}) == 30


def test_the_methods_shown_are_chosen_by_facts_and_numbers() -> None:
    facts = {
        "mine": Facts(name="mine"),
        "easy": Facts(name="easy", role="baseline"),
        "worst": Facts(name="worst", role="baseline"),
    }
    methods = Methods(find_facts() | facts)
    success = {"sane": 0.9, "d2nwg": 0.1, "nnit": 0.5, "ghn": 0.99, "easy": 0.4, "nearest": 0.6, "worst": 0.0}
    success |= {"row_dit": 0.95, "sane_narrow": 0.2, "mine": 0.3}
    assert choose_default(success, methods) == ["nnit", "sane", "d2nwg", "ghn", "nearest", "easy", "mine"]
    success.pop("mine")
    assert choose_default(success, methods)[-1] == "row_dit", "the best variant"
    assert sorted(choose_default(success, methods, len(success))) == sorted(success)


def test_a_mark_is_seen_through_an_open_one_at_its_place() -> None:
    points = [Point("nearest", 0.1, 0.9), Point("nnit", 0.1, 0.9)]
    (ax,) = novelty_scatter({TASK: points}, ["nearest", "nnit"], SHIPPED).axes
    marks = _marks(ax)
    above = max(marks, key=lambda line: line.get_zorder())
    assert len(marks) == 2 and above.get_markerfacecolor() == "none", "the generator's lies below, whichever is first"


def test_cost_sets_apart_what_trains_nothing_and_what_is_not_known() -> None:
    costs = [Cost("ghn", 0.0, 99, 98, 100), Cost("nearest", 0.0, 98, 97, 99), Cost("nnit", 50.0, 97, 96, 98)]
    costs += [Cost("sane", None, 60, 50, 70)]
    figure = cost_panels({TASK: costs}, [cost.method for cost in costs], SHIPPED)
    (ax,) = figure.axes
    at = dict(zip(("ghn", "nearest", "nnit", "sane"), (line.get_xdata()[0] for line in _marks(ax)), strict=True))
    assert at["ghn"] < 0 and at["nearest"] < 0 and at["ghn"] != at["nearest"]
    assert at["nnit"] == 50 and at["sane"] > 50
    assert {"trains nothing", "time not kept", "nnit"} <= _texts(ax)
    alone = cost_panels({TASK: costs[2:3]}, ["nnit"], SHIPPED)
    assert _texts(alone.axes[0]) == {"nnit"}


def test_the_overview_draws_cost_as_size_and_the_unknown_pale() -> None:
    places = [Place("ghn", 0.0, 99, 0.0), Place("nnit", 0.02, 98, 60.0), Place("sane", 0.4, 60, None)]
    figure = overview_scatter(places, SHIPPED)
    (ax,) = figure.axes
    drawn: list[Any] = [line for line in ax.lines if line.get_marker() not in ("", "None", None)]
    lines = {line.get_xdata()[0]: line for line in drawn}
    assert lines[0.02].get_markersize() > lines[0.0].get_markersize() == lines[0.4].get_markersize()
    assert lines[0.4].get_alpha() < 1 == lines[0.02].get_alpha()
    assert _texts(ax) == {"ghn", "nnit", "sane", "far in weights,\nworks"}


def test_options_that_a_figure_has_no_use_for_are_refused() -> None:
    with pytest.raises(InputError, match="figure 4 takes no --methods"):
        figure("4", methods=("nnit",))
    with pytest.raises(InputError, match="figure cost takes no --archs"):
        figure("cost", archs="16-16-16-32")


def test_figures_of_methods_are_drawn_from_stored_rows() -> None:
    results = Results.open(REFERENCE / "127e5fbe783c", [TASK])
    drawings = {name: draw_methods(name, results, ["nnit", "nearest"]) for name in OF_METHODS}
    for name, drawing in drawings.items():
        assert name == "distance" or {"nnit", "nearest"} <= _texts(drawing.figure.axes[0])
        assert "127e5fbe783c"[:8] in drawing.caption
    rows = unseen_rows(results, TASK)
    measured = [rows[name].measured for name in ("nnit", "nearest")]
    lines: list[Any] = [line for line in drawings["overview"].figure.axes[0].lines if line.get_marker() in ("o", "s")]
    drawn = sorted(line.get_ydata()[0] for line in lines)
    assert drawn == pytest.approx(sorted(100 * of.sample_success.mean for of in measured if of is not None))
    (nnit, nearest) = _marks(drawings["cost"].figure.axes[0])
    assert nnit.get_xdata()[0] > 10 and nearest.get_xdata()[0] < 0, "minutes of training, and none"
    with pytest.raises(FigureError, match="method 'nowhere' was not measured here; finished are average"):
        draw_methods("cost", results, ["nowhere"])


def test_the_ceilings_are_drawn_whoever_is_asked_for() -> None:
    drawing = draw_methods("distance", Results.open(REFERENCE / "127e5fbe783c", [TASK]), ["nnit"])
    (legend,) = drawing.figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"nnit", "ghn", "distil"}
    assert "Dashed, as ceilings: " in drawing.caption
    assert "ghn, which wrote the zoo" in drawing.caption and "distil, which" in drawing.caption
    assert {line.get_linestyle() for line in _lines(drawing.figure.axes[0])} == {"-", "--"}


def _lines(ax: Any) -> list[Any]:
    """Those of means, which are larger than the marks of architectures."""
    return [line for line in ax.lines if line.get_markersize() > 5]


def test_every_architecture_is_a_point_at_its_distance() -> None:
    train = load_splits().train
    found = {
        UnitName(TASK, method, seed, arch): _scores(screening_success=np.array([[solved], [0.0]]))
        for method, seed, arch, solved in (
            ("nnit", 0, "16-64-64-32", 1.0),
            ("nnit", 1, "16-64-64-32", 0.0),
            ("nnit", 0, "32-32-32", 1.0),
            ("nnit", 0, "joint", 1.0),
            ("ghn", 0, "32-16-64-32", 1.0),
            ("sane", 0, "32-16-64-32", 1.0),
        )
    }
    assert reached(found, ["ghn", "nnit"], train) == [
        Reached("ghn", 0.0, 0.5),
        Reached("nnit", 1.0, 0.25),  # the mean over generator seeds
        Reached("nnit", None, 0.5),
    ]


def test_lines_go_through_the_means_at_a_distance_and_another_depth_stands_apart() -> None:
    points = [
        Reached("nnit", 0.0, 0.9),
        Reached("nnit", 1.0, 0.8),
        Reached("nnit", 1.2, 0.4),
        Reached("nnit", 5.0, 0.1),
    ]
    points += [Reached("ghn", 0.0, 1.0), Reached("ghn", None, 0.9), Reached("ghn", None, 0.7)]
    figure = distance_panels({TASK: points, "PushCube-v1": points[:4]}, ["nnit", "ghn"], ["ghn"], SHIPPED)
    nnit, near, deeper = _lines(figure.axes[0])
    assert [value for value in nnit.get_ydata()] == pytest.approx([90, 60, 10])
    apart = nnit.get_xdata()[0] - near.get_xdata()[0]
    assert nnit.get_xdata() == pytest.approx(np.array([0, 1.1, 5]) + apart / 2) and 0 < abs(apart) < 0.5
    assert [*deeper.get_ydata()] == pytest.approx([80]) and deeper.get_xdata()[0] > 5.2
    assert (nnit.get_linestyle(), near.get_linestyle(), deeper.get_linestyle()) == ("-", "--", "--")
    assert _texts(figure.axes[0]) == {"another depth"} and figure.axes[0].get_xlim()[1] > deeper.get_xdata()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that does not fit only warns
        figure.draw_without_rendering()
    legend, panel = (one.get_window_extent() for one in (figure.legends[0], figure.axes[0].title))
    assert not legend.overlaps(panel) and figure.bbox.x1 >= figure.axes[0].texts[0].get_window_extent().x1
    level = distance_panels({TASK: points[:1]}, ["nnit"], [], SHIPPED)
    assert not _texts(level.axes[0]), "no place for depths that nobody was asked for"


def test_magnitudes_are_drawn_by_seed_and_layer() -> None:
    panels = measured_profiles(_alignment_rows())
    assert [panel.label.split(",")[0] for panel in panels] == ["GHN", "SGD"] and panels[0].layers == (3, 2, 4)
    np.testing.assert_allclose(panels[1].values[:, 0], [0.0, 0.1, 0.2])
    figure = magnitude_maps(panels)
    image = np.ma.filled(_array(figure.axes[0]), np.nan)
    assert np.isnan(image[:, [3, 6]]).all() and image.shape == (3, 11), "a gap between layers"
    np.testing.assert_allclose(image[:, [0, 1, 2, 4, 5, 7, 8, 9, 10]], panels[0].values)
    assert _labels(figure.axes[1]) == ["input\n3", "hidden 1\n2", "hidden 2\n4"]
    assert figure.axes[-1].get_ylabel() == "|weight| / layer's mean"


def test_figure_3_sets_ghn_above_sgd_or_says_that_it_was_not_measured() -> None:
    both = draw_seeds(_alignment_rows(), _zoo, TASK)
    assert [_title(ax)[:3] for ax in both.figure.axes[:2]] == ["GHN", "SGD"] and "not measured" not in both.caption
    alone = draw_seeds([], _zoo, TASK)
    assert len(alone.figure.axes) == 2 and "GHN" in _title(alone.figure.axes[0])  # the map and its scale
    assert "were not measured here; `nnbench zoo alignment`" in alone.caption


def test_figure_4_draws_training_policies_and_says_where_they_are_not() -> None:
    zoo = _zoo()
    figure = draw_hypernetworks(zoo, TASK, [(16, 16, 32, 32), UNSEEN]).figure
    titles = [_title(ax) for ax in figure.axes[:2]]
    assert titles == ["16-16-32-32: 2 training policies", "16-64-64-32: 3 policies, held out and not filtered"]
    layer = zoo.hypernetwork_policies(UNSEEN)[2]["2.weight"].abs().mean(dim=0)
    np.testing.assert_allclose(_array(figure.axes[1])[2, 44:60], layer / layer.mean(), rtol=1e-5)
    assert len(draw_hypernetworks(zoo, TASK).figure.axes) == 3 + 1


def test_figure_5_counts_every_pair_of_training_policies() -> None:
    drawing = draw_training_pairs(_zoo(), TASK, (16, 16, 32, 32))
    left, right = drawing.figure.axes
    bars: list[Any] = [left.patches, right.patches]
    assert [sum(bar.get_height() for bar in patches) for patches in bars] == [1, 1]
    first, second = (
        torch.cat([value.flatten() for value in weights.values()])
        for weights in _zoo().training_set().networks((16, 16, 32, 32)).values()
    )
    assert np.asarray(left.lines[0].get_xdata())[0] == pytest.approx(float((first - second).norm()), rel=1e-5)
    assert "L2" in left.get_xlabel() and "cosine" in right.get_xlabel() and "pairs" in left.get_ylabel()
    assert "1 pairs of the 2 training policies of 16-16-32-32" in drawing.caption
    with pytest.raises(FigureError, match="16-64-64-32 is no training architecture"):
        draw_training_pairs(_zoo(), TASK, UNSEEN)


@pytest.mark.parametrize(("name", "archs"), [("3", 1), ("5", 2), ("6", 2)])
def test_architectures_that_a_figure_has_no_room_for_are_refused(name: str, archs: int, tmp_path: Path) -> None:
    with pytest.raises(FigureError, match=f"figure {name}: "):
        draw(name, Results.open(tmp_path, [TASK]), TASK, [UNSEEN] * archs)


@pytest.mark.slow
def test_files_are_grey_and_of_the_kind_asked_for_and_repeat_byte_by_byte(tmp_path: Path) -> None:
    drawings = {
        "4": draw_hypernetworks(_zoo(), TASK),
        "5": draw_training_pairs(_zoo(), TASK, (16, 16, 32, 32)),
        "6": _figure6(),
    }
    for name, one in drawings.items():
        save(one, tmp_path / f"{name}.png")
        pixels = imread(tmp_path / f"{name}.png")[..., :3]
        assert np.ptp(pixels, axis=2).max() < 0.01, f"figure {name} has colours"
    drawing = _figure6()
    save(drawing, tmp_path / "6.pdf")
    assert (tmp_path / "6.pdf").read_bytes().startswith(b"%PDF")
    files = [as_svg(_figure6()) for _ in range(2)]
    assert files[0] == files[1] and drawing.title.encode() in files[0]
    with pytest.raises(WriteError, match=r"6\.png: no such folder"):
        save(drawing, tmp_path / "nowhere" / "6.png")
    with pytest.raises(FigureError, match=r"6\.jpg: expected a name that ends in \.png, \.svg or \.pdf"):
        save(drawing, tmp_path / "6.jpg")
