"""Logs of trainings: where they are read from, what is refused, and what the figure draws of them."""

import csv
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nnbench.analysis.learning import final_success, trace
from nnbench.commands.tables import figure
from nnbench.errors import InputError
from nnbench.presentation.figures import FigureError, draw_learning, save
from nnbench.reading import open_trainings
from nnbench.store import learning
from nnbench.store.learning import Entry, Training, read_trainings
from nnbench.tasks.files import file_sha256
from nnbench.tasks.integrity import DamagedError
from nnbench.tasks.zoo.manifest import SHIPPED

PICK, PUSH = "PickCube-v1", "PushCube-v1"
HOUR = 3_600_000
OWN = Path("runs/methods")


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where logs ship; the user's own lie below the current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(learning, "SHIPPED", tmp_path / "learning")
    return tmp_path / "learning"


def _write(path: Path, lines: Sequence[tuple[int, float, float, float | None]]) -> Path:
    """A log of steps, losses, milliseconds per step and successes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "loss", "lr", "ms_per_step", "return", "success_at_end"])
        writer.writeheader()
        for step, loss, ms, success in lines:
            scores = {} if success is None else {"return": 10 * success, "success_at_end": success}
            writer.writerow({"step": step, "loss": loss, "lr": 0.001, "ms_per_step": ms} | scores)
    return path


def _two_stages(root: Path, method: str = "d2nwg", task: str = PICK, seed: int = 0) -> Path:
    """Two hours of a first stage, of which the name comes last, and one and a half of the second."""
    folder = root / method / task / f"seed-{seed}"
    _write(folder / f"1-{method}-vae.csv", [(2, 400.0, HOUR / 2, 0.5), (3, 100.0, HOUR, 0.75)])
    _write(folder / f"2-{method}-diffusion.csv", [(1, 2.0, HOUR / 2, None), (2, -1.0, HOUR, 0.25)])
    return folder


def _one_stage(root: Path, success: float, method: str = "nnit", task: str = PICK, name: str = "seed-0") -> Path:
    return _write(root / method / task / name / f"1-{method}.csv", [(10, 4.0, HOUR / 20, success)])


def _zoo_sha256(task: str = PICK) -> str:
    return file_sha256(SHIPPED / task / "manifest.json")


def _drawn(ax: Any) -> dict[str, list[tuple[float, float]]]:
    """By the look of lines what they go through."""
    return {f"{line.get_color()} {line.get_linestyle()}": list(line.get_xydata()) for line in ax.lines}


def test_a_log_says_what_was_written(shipped: Path) -> None:
    _two_stages(OWN)
    (training,) = read_trainings(PICK, _zoo_sha256())
    assert (training.method, training.task, training.seed) == ("d2nwg", PICK, 0)
    vae, diffusion = training.stages
    assert (vae.name, diffusion.name) == ("d2nwg-vae", "d2nwg-diffusion")
    assert vae.entries == (Entry(2, 400.0, HOUR / 2, 0.5), Entry(3, 100.0, HOUR, 0.75))
    assert diffusion.entries[0].success is None, "nothing was validated there"
    path = OWN / "nnit" / PICK / "seed-0" / "1-nnit.csv"
    path.parent.mkdir(parents=True)
    path.write_text("step,loss,lr,ms_per_step\n1,2.5,0.1,7\n")  # of a training that was never validated
    assert read_trainings(PICK, _zoo_sha256())[1].stages[0].entries == (Entry(1, 2.5, 7.0, None),)


def test_ones_own_logs_replace_those_that_ship_of_the_same_method_task_and_seed(shipped: Path) -> None:
    for method, task, name in (("nnit", PICK, "seed-0"), ("nnit", PICK, "seed-1"), ("sane", PICK, "seed-0")):
        _one_stage(shipped, 0.1, method, task, name)
    _one_stage(shipped, 0.1, "nnit", PUSH)
    _one_stage(OWN, 0.9)
    (OWN / "sane" / PICK / "seed-0").mkdir(parents=True)  # trained, but without a log
    found = {(one.method, one.task, one.seed): one.stages[0].entries[-1].success for one in open_trainings()}
    assert found == {
        ("nnit", PICK, 0): 0.9,
        ("nnit", PICK, 1): 0.1,
        ("nnit", PUSH, 0): 0.1,
        ("sane", PICK, 0): 0.1,
    }
    assert [one.task for one in open_trainings(PUSH)] == [PUSH]


def test_trainings_on_another_zoo_or_by_other_code_are_not_shown_among_the_others(shipped: Path) -> None:
    _one_stage(OWN, 0.5, name="seed-0-code-000000000000")
    _one_stage(OWN, 0.6, name="seed-0-zoo-555555555555")
    assert read_trainings(PICK, _zoo_sha256()) == []
    (other,) = read_trainings(PICK, "5" * 64)
    assert other.stages[0].entries[0].success == 0.6
    _one_stage(shipped, 0.1)
    assert read_trainings(PICK, "5" * 64) == [other], "what ships was trained on the zoo that ships"


def test_the_zoo_and_the_track_say_which_trainings_are_meant(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo" / PICK
    zoo.mkdir(parents=True)
    (zoo / "manifest.json").write_text("{}")
    _one_stage(OWN, 0.6, name=f"seed-3-zoo-{file_sha256(zoo / 'manifest.json')[:12]}")
    assert [one.seed for one in open_trainings(zoo=tmp_path / "zoo")] == [3]
    assert open_trainings(zoo=tmp_path / "zoo", track="narrow") == [] == open_trainings(track="narrow")
    assert open_trainings(track="sgd") == [], "no zoo of it ships"
    with pytest.raises(InputError, match="nowhere: no such folder; leave it out for what ships"):
        open_trainings(zoo="nowhere")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "expected a log that begins with step,loss,lr,ms_per_step"),
        ("a,b\n1,2\n", "expected a log that begins with step,loss,lr,ms_per_step"),
        ("step,loss,lr,ms_per_step\n", r"its steps are \[\], expected some that rise"),
        ("step,loss,lr,ms_per_step\n2,1,1,1\n2,1,1,1\n", r"its steps are \[2, 2\], expected some that rise"),
        ("step,loss,lr,ms_per_step\n1,1,1,1\n2,x,1,1\n", "line 3: loss is 'x', expected a number"),
        ("step,loss,lr,ms_per_step\n1,inf,1,1\n", "line 2: loss is 'inf', expected a number"),
        ("step,loss,lr,ms_per_step\n1,1,1\n", "line 2: ms_per_step is '', expected a number of 0 to inf"),
        ("step,loss,lr,ms_per_step\n1.5,1,1,1\n", "line 2: step is 1.5, expected a whole number"),
        (
            "step,loss,lr,ms_per_step,success_at_end\n1,1,1,1,7\n",
            "line 2: success_at_end is '7', expected a number of 0 to 1",
        ),
        ("step,loss,lr,ms_per_step\n\udce4", "can't decode byte"),
    ],
)
def test_a_damaged_log_is_named(text: str, what: str) -> None:
    path = _one_stage(OWN, 0.5)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DamagedError, match=rf"1-nnit\.csv: not what was written \(.*{what}.*\); restore it, or delete"):
        read_trainings(PICK, _zoo_sha256())


@pytest.mark.parametrize("name", ["d2nwg-vae.csv", "2-d2nwg-vae.csv", "3-d2nwg-vae.csv"])
def test_logs_without_an_order_are_refused(shipped: Path, name: str) -> None:
    folder = _two_stages(shipped)
    (folder / "1-d2nwg-vae.csv").rename(folder / name)
    with pytest.raises(DamagedError, match=rf"seed-0: its logs are called .*{name}.*, expected 1-NAME.csv, .* rename"):
        read_trainings(PICK, _zoo_sha256())


def _read(root: Path) -> Training:
    (training,) = read_trainings(PICK, _zoo_sha256())
    return training


def test_hours_go_on_from_stage_to_stage_and_losses_fall_from_1_to_0(shipped: Path) -> None:
    _two_stages(OWN)
    vae, diffusion = trace(_read(OWN))
    assert (vae.stage, vae.last, diffusion.stage, diffusion.last) == ("d2nwg-vae", False, "d2nwg-diffusion", True)
    assert vae.loss == ((1.0, 1.0), (2.0, 0.0)) and vae.success == ((1.0, 50.0), (2.0, 75.0))
    assert diffusion.loss == ((2.5, 1.0), (3.5, 0.0)) and diffusion.success == ((3.5, 25.0),)
    for losses, left in (((0.0,), ()), ((3.0, 1.0, 2.0), (1.0, 0.0, 0.5)), ((1.0, 2.0), ())):
        lines = [(step, loss, 1.0, None) for step, loss in enumerate(losses, 1)]
        _write(OWN / "d2nwg" / PICK / "seed-0" / "1-d2nwg-vae.csv", lines)
        assert tuple(loss for _, loss in trace(_read(OWN))[0].loss) == left


def test_the_success_that_methods_end_with_is_a_mean_over_tasks_and_seeds(shipped: Path) -> None:
    _two_stages(OWN)
    for success, task, name in ((0.8, PICK, "seed-0"), (0.6, PICK, "seed-1"), (0.5, PUSH, "seed-0")):
        _one_stage(OWN, success, task=task, name=name)
    assert final_success(open_trainings(), [PICK, PUSH]) == pytest.approx({"d2nwg": 12.5, "nnit": 60.0})


def test_the_figure_draws_what_the_logs_say(shipped: Path, tmp_path: Path) -> None:
    _two_stages(OWN)
    _one_stage(shipped, 0.8)
    _one_stage(shipped, 0.4, task=PUSH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that does not fit only warns
        drawing = draw_learning(open_trainings())
        save(drawing, tmp_path / "learning.png")
    pick, push, pick_loss, push_loss = drawing.figure.axes
    assert [ax.get_title(loc="left") for ax in (pick, push)] == [PICK, PUSH]
    (legend,) = drawing.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["nnit", "d2nwg", "a stage before the last"]
    blue, green = (line.get_color() for line in legend.get_lines()[:2])
    drawn = {look: [tuple(point) for point in points] for look, points in _drawn(pick).items()}
    assert drawn == {f"{blue} -": [(0.5, 80)], f"{green} --": [(1, 50), (2, 75)], f"{green} -": [(3.5, 25)]}
    losses = {look: [tuple(point) for point in points] for look, points in _drawn(pick_loss).items()}
    assert losses[f"{green} --"] == [(1, 1), (2, 0)] and losses[f"{green} -"] == [(2.5, 1), (3.5, 0)]
    assert [len(ax.lines) for ax in (push, push_loss)] == [1, 0], "of a single entry there is no fall"
    assert "before the last (d2nwg-vae); success there is that of round trips" in drawing.caption
    assert "different methods or stages cannot be compared" in drawing.caption and "Track paper." in drawing.caption


def test_a_figure_of_one_stage_each_has_no_dashes(shipped: Path) -> None:
    _one_stage(OWN, 0.8, name="seed-0")
    _one_stage(OWN, 0.6, name="seed-1")
    drawing = draw_learning(open_trainings())
    assert [text.get_text() for text in drawing.figure.legends[0].get_texts()] == ["nnit"]
    assert len(drawing.figure.axes[0].lines) == 2, "a line per seed"
    assert "Dashed" not in drawing.caption


def test_the_methods_that_are_asked_for_are_drawn(shipped: Path) -> None:
    names = ["nnit", "d2nwg", "sane", *(f"mine{number}" for number in range(9))]
    for place, name in enumerate(names):
        _one_stage(OWN, place / 20, name)

    def shown(*asked: str) -> list[str]:
        return [text.get_text() for text in draw_learning(open_trainings(), asked).figure.legends[0].get_texts()]

    assert shown() == ["nnit", "sane", "d2nwg", "mine8", "mine7", "mine6", "mine5"]
    assert shown("mine0", "sane") == ["mine0", "sane"] and sorted(shown("all")) == sorted(names)
    with pytest.raises(FigureError, match="no log of method 'ghn' is here; there are logs of d2nwg, mine0, "):
        shown("ghn")


def test_without_any_log_the_remedy_is_named(shipped: Path) -> None:
    with pytest.raises(FigureError, match="no training left a log here; `nnbench train --method nnit` .* --retrain"):
        figure("learning")
    with pytest.raises(InputError, match="figure learning takes no --results; leave it out"):
        figure("learning", results=Path("results"))
    with pytest.raises(InputError, match="figure learning takes no --archs"):
        figure("learning", archs="16-16-16-32")


def test_the_command_draws_and_prints_the_caption(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(_two_stages(shipped), OWN / "sane" / PICK / "seed-0")
    figure("learning", methods=("d2nwg",), out=Path("l.svg"))
    assert capsys.readouterr().out.startswith("l.svg: Success and loss while methods are trained\nAbove, ")
    assert b"<svg" in Path("l.svg").read_bytes()
