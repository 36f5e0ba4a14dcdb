"""`nnbench render`: which policies are filmed, what the strip and the video show, and that looking changes nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from nnbench.commands import experts, films
from nnbench.harness.evaluation import simulate
from nnbench.harness.novelty import Novelty
from nnbench.presentation import film
from nnbench.presentation.film import PICTURE, Film, FilmError, Subject, Take
from nnbench.protocol import Protocol, Unit
from nnbench.store.errors import StoreError
from nnbench.store.store import Store
from nnbench.tasks.pick_cube import PICK_CUBE
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.simulation.camera import Camera
from nnbench.tasks.simulation.vulkan import Driver
from nnbench.tasks.simulation.workers import Rollout, Simulator
from nnbench.tasks.zoo.zoo import Zoo

ARCH, NAME = (32, 32, 16, 64), "32-32-16-64"
PROTOCOL = Protocol(samples=5, top=4, selection_episodes=2, screening_episodes=1, test_episodes=3)
UNIT = Unit(protocol=PROTOCOL, task="PickCube-v1", method="mixed", method_sha256="0" * 64, generator_seed=0, arch=ARCH)


class Mixed:
    """Policies of three hypernetworks and two that stand still."""

    def __init__(self, zoo: Zoo) -> None:
        good = list(zoo.hypernetwork_policies(ARCH).values())[:3]
        still = [{key: torch.zeros_like(value) for key, value in good[0].items()} for _ in range(2)]
        still[1]["8.bias"] += 0.01
        self.samples: list[Weights] = [still[0], *good, still[1]]

    def generate(self, arch: tuple[int, ...] | None, n: int, *, seed: int = 0) -> list[Weights]:
        return self.samples


class Painter:
    """Instead of a camera: red counts the pictures."""

    def __init__(self, task: Any, driver: Driver, size: int) -> None:
        self.size = size

    def __enter__(self) -> "Painter":
        return self

    def __exit__(self, *exception: object) -> None: ...

    def pictures(self, states: np.ndarray) -> Iterator[np.ndarray]:
        for position in range(len(states)):
            picture = np.full((self.size, self.size, 3), 128, np.uint8)
            picture[..., 0] = position
            yield picture


@pytest.fixture(scope="module")
def store(simulator: Simulator, zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("results"))
    simulate(UNIT, Mixed(zoo), simulator, store).write(Novelty(zoo), store)
    return store


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[float, float], str]]:
    """What is written into pictures, and where."""
    found: list[tuple[tuple[float, float], str]] = []
    write = ImageDraw.ImageDraw.text

    def text(self: Any, place: Any, words: str, *arguments: Any) -> None:
        found.append((place, words))
        write(self, place, words, *arguments)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return found


def _rows(store: Store) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.unit_rows(UNIT).to_pylist()
    return [row for row in rows if row["stage"] == "test"]


def _film(group: str, place: str, seed: int, seeds: tuple[int, ...] = (7,), solved: bool = True) -> Film:
    """Its frames are as bright as the seed and the step."""
    subject = Subject(group, group, f"{place}: 95 % of 200", lambda observations: observations, seeds)
    pictures = [np.full((PICTURE, PICTURE, 3), 10 * seed + step, np.uint8) for step in range(0, 51, 2)]
    return Film(Take(subject, seed, 30.0, solved, np.zeros((51, 23), np.float32)), pictures)


def test_best_median_and_worst_are_those_of_the_stored_order(store: Store, zoo: Zoo) -> None:
    assert [[film.rank_of(place, count) for place in film.PLACES] for count in (10, 5, 2, 1)] == [
        [0, 5, 9],
        [0, 2, 4],
        [0, 1, 1],
        [0, 0, 0],
    ]
    by_rank = {row["rank"]: row for row in _rows(store)}
    samples, subjects = Mixed(zoo).samples, film.stored_subjects(store, PICK_CUBE, [UNIT], film.PLACES, 2)
    for subject, place, rank in zip(subjects, film.PLACES, (0, 2, 3), strict=True):
        share = np.mean([row["success_at_end"] for row in _rows(store) if row["rank"] == rank])
        assert subject.detail == f"{place}: {100 * share:.0f} % of 3" and subject.title == NAME
        assert list(subject.seeds) == [2_000_000, 2_000_001]
        weights: Any = subject.actor
        np.testing.assert_array_equal(weights.weights[1][0], samples[by_rank[rank]["sample"]]["2.weight"])


def test_the_recorded_rollout_is_the_stored_and_the_unrecorded_one(store: Store, simulator: Simulator) -> None:
    subjects = film.stored_subjects(store, PICK_CUBE, [UNIT], film.PLACES, 3)
    takes = film.roll_out(subjects, simulator)
    stored = {(row["rank"], row["episode_seed"]): row for row in _rows(store)}
    ranks = [rank for rank in (0, 2, 3) for _ in range(3)]
    for take, rank in zip(takes, ranks, strict=True):
        row = stored[rank, take.seed]
        assert (take.total, take.solved) == (row["return"], row["success_at_end"])
        assert "the stored rows say" not in take.describe()
    units = [Rollout(subject.actor, np.array(subject.seeds)) for subject in subjects]
    assert [float(value) for found in simulator.episodes(units) for value in found.returns] == [t.total for t in takes]
    assert {take.solved for take in takes} == {True, False}
    other = replace(takes[0].subject, known={takes[0].seed: (1.5, False)})
    assert replace(takes[0], subject=other).describe().endswith("; the stored rows say not solved, return 1.50")


def test_looking_changes_nothing(store: Store, simulator: Simulator, camera: Camera) -> None:
    subjects = film.stored_subjects(store, PICK_CUBE, [UNIT], ["best"], 2)
    units = [Rollout(subject.actor, np.array(subject.seeds), record=True) for subject in subjects]
    (before,) = simulator.episodes(units)
    takes = film.roll_out(subjects, simulator)
    pictures = camera.pictures(np.concatenate([take.states[::10] for take in takes]))
    first = next(pictures)
    (during,) = simulator.episodes(units)
    assert len({picture.tobytes() for picture in [first, *pictures]}) > 6
    for one, other in zip(before, during, strict=True):
        np.testing.assert_array_equal(one, other)
    assert before.observations is not None
    for k, take in enumerate(takes):
        np.testing.assert_array_equal(take.states[:, :9], before.observations[k, :, :9])
        np.testing.assert_array_equal(take.states[:, 9:16], before.observations[k, :, 29:36])
        assert take.total == before.returns[k]


def test_a_strip_has_a_row_per_film_and_a_column_every_ten_steps(spoken: Any) -> None:
    films = [_film("16-16-16-32", "best", 7), _film("16-16-16-32", "worst", 8, solved=False), _film(NAME, "best", 9)]
    image = film.strip(films)
    pixels = np.asarray(image)
    left, height = image.width - 6 * PICTURE, image.height
    assert height == 20 + 3 * PICTURE + 8, "a gap between architectures with several rows"
    for row, top in enumerate((20, 20 + PICTURE, 28 + 2 * PICTURE)):
        for column in range(6):
            panel = pixels[top : top + PICTURE, left + column * PICTURE : left + (column + 1) * PICTURE]
            assert (panel == 10 * (7 + row) + 10 * column).all()
        said = [words for (across, down), words in spoken if across < left and top < down < top + PICTURE]
        outcome = "not solved" if row == 1 else "solved"
        name, place = films[row].take.subject.title, ("best", "worst", "best")[row]
        assert said == [name, f"{place}: 95 % of 200", outcome]
        assert (pixels[top : top + PICTURE, :left] < 100).any() and (pixels[:, left - 4 : left] == 255).all()
    assert [words for (_, down), words in spoken if down < 20] == [f"step {step}" for step in range(0, 51, 10)]
    assert film.strip(films[1:]).height == 20 + 2 * PICTURE, "no gaps where every architecture has one"
    assert ["episode 8" in words for _, words in spoken].count(True) == 0
    film.strip([_film(NAME, "best", seed, (8, 9)) for seed in (8, 9)])
    assert [words for _, words in spoken if "episode" in words] == ["episode 8", "episode 9"]


def test_a_video_sets_the_policies_of_an_architecture_side_by_side(spoken: Any) -> None:
    takes = [
        _film(group, place, seed, (1, 2)) for group in ("a", "b") for place in ("best", "worst") for seed in (1, 2)
    ]
    frames = list(film.video_frames(takes))
    assert len(frames) == 4 * (26 + 8) and frames[0].shape == (40 + PICTURE, 2 * PICTURE, 3)
    seen = [int(frame[-1, 0, 0]) for frame in frames]
    assert seen[:34] == [10 + step for step in range(0, 51, 2)] + [60] * 8 and seen[34] == 20 and seen[68] == 10
    assert {words for _, words in spoken[:4]} == {"a", "best: 95 % of 200", "worst: 95 % of 200"}
    assert "best: 95 % of 200, solved" in {words for _, words in spoken}


def test_the_command_writes_strip_and_video(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nnbench.presentation.film.filming.find_driver", lambda: Driver("a painter", None))
    monkeypatch.setattr("nnbench.presentation.film.filming.Camera", Painter)
    films.render(method="mixed", show=("best", "worst"), results=store.root, out=tmp_path)
    path = tmp_path / "mixed-s0-PickCube-v1-unseen.png"
    with Image.open(path) as image:
        assert image.height == 20 + 2 * PICTURE and "mixed" in image.info["Title"]
        assert all(part in image.info["Description"] for part in ("best and worst", "a painter", PROTOCOL.short))
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(path.with_suffix(".mp4"))
    assert frames == 26 + 8 and seconds == pytest.approx(3.4)
    said = capsys.readouterr().out
    assert f"{NAME}  best: " in said and "episode 2000000: " in said
    assert "7 of the 8 architectures were not measured and are left out" in said


def test_what_cannot_be_filmed_is_said_before_anything_runs(
    store: Store, zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnbench.presentation.film.filming.find_driver", lambda: pytest.fail("not before"))
    run = "`nnbench run --method nnit --task PickCube-v1 --split unseen` measures it"
    with pytest.raises(FilmError, match=f"nnit on PickCube-v1, {NAME}, was not measured with .*{run}"):
        films.render(archs=NAME, results=store.root, out=tmp_path)
    with pytest.raises(ValueError, match="16-16-16-64 is not in the split unseen: expected some of 32-32-16-64"):
        films.render(method="mixed", archs="16-16-16-64", results=store.root, out=tmp_path)
    with pytest.raises(ValueError, match="architecture 'wide': expected hidden widths"):
        films.render(method="mixed", archs="wide", results=store.root, out=tmp_path)
    with pytest.raises(FilmError, match="--episodes 4: expected 1 to 3"):
        films.render(method="mixed", episodes=4, results=store.root, out=tmp_path)
    with pytest.raises(ValueError, match="nowhere.safetensors: no expert"):
        experts.render(expert=tmp_path / "nowhere.safetensors", out=tmp_path)
    published = Store(tmp_path / "published")  # rows without weights
    published.merge(store)
    (published.root / f"{UNIT.key}.safetensors").unlink()
    with pytest.raises(StoreError, match="no weights are stored for this unit; run it first"):
        films.render(method="mixed", results=published.root, out=tmp_path)
    monkeypatch.setattr("nnbench.presentation.film.subjects.read_index", lambda directory: [])
    with pytest.raises(FilmError, match=f"no policy of {NAME} was validated; choose"):
        films.render(method="zoo", archs=NAME, out=tmp_path)
    assert not list(tmp_path.glob("*.png"))


def test_a_zoos_policies_are_ordered_by_validated_return(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"arch": NAME, "ghn_seed": seed, "return": float(seed % 5), "success_at_end": 0.1 * seed, "episodes": 10}
        for seed in range(3)
    ]
    monkeypatch.setattr(
        film.subjects, "read_index", lambda directory: [*rows, {**rows[0], "arch": "other", "return": 9.0}]
    )
    subjects = film.zoo_subjects(zoo, [ARCH], film.PLACES, 2)
    assert [subject.detail for subject in subjects] == ["best: 20 % of 10", "median: 10 % of 10", "worst: 0 % of 10"]
    actor: Any = subjects[0].actor
    np.testing.assert_array_equal(actor.weights[1][0], zoo.hypernetwork_policies(ARCH)[2]["2.weight"])
    assert all(seed < 1_000_000 for subject in subjects for seed in subject.seeds), "no test episodes"
