"""Film strips and videos of what policies do (paper, figures 7 to 9), from the states that their episodes recorded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice, repeat
from pathlib import Path
from typing import Literal

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from nnbench.protocol import JOINT, Protocol, Unit
from nnbench.store.store import Store
from nnbench.tasks.files import write_atomically
from nnbench.tasks.policies.architectures import Architecture, architecture_name, load_splits
from nnbench.tasks.policies.mlp import GaussianActor, PolicyActor, Weights
from nnbench.tasks.policies.standardiser import Standardiser
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.camera import Camera
from nnbench.tasks.simulation.workers import Rollout, Simulator
from nnbench.tasks.task import Actor
from nnbench.tasks.zoo.expert import SCORING_SEEDS, load_expert
from nnbench.tasks.zoo.manifest import read_index, verify
from nnbench.tasks.zoo.zoo import Zoo

Place = Literal["best", "median", "worst"]
PLACES: tuple[Place, ...] = ("best", "median", "worst")

PICTURE = 240
"""Pixels across and up."""
_SNAPSHOT_STEPS = 10
_FRAME_STEPS = 2
_FRAMES_PER_S = 10
"""A control step is 1/20 s, so videos run in real time."""
_HOLD_FRAMES = 8
"""So long is the end of an episode looked at, with its outcome."""

_FONT = ImageFont.load_default(size=15)
_LINE = 20
_MARGIN = 8


class FilmError(ValueError):
    """Nothing can be filmed. Names what is missing and the remedy."""


@dataclass(frozen=True)
class Subject:
    """A policy and the episodes that it is filmed in."""

    group: str
    """Subjects of a group are seen side by side in a video."""
    title: str
    detail: str
    actor: Actor
    seeds: Sequence[int]
    headline: str = "success_at_end"
    """Which of the two successes of an episode counts."""
    known: Mapping[int, tuple[float, bool]] | None = None
    """Return and success by episode seed, as they were stored when the policy was measured."""


@dataclass(frozen=True)
class Take:
    """One recorded episode."""

    subject: Subject
    seed: int
    total: float
    """Sum of the normalised reward."""
    solved: bool
    states: np.ndarray  # (T + 1, S)

    @property
    def outcome(self) -> str:
        return "solved" if self.solved else "not solved"

    def describe(self) -> str:
        """One line, with what the stored rows say where that differs."""
        subject = self.subject
        line = f"{subject.title}  {subject.detail}  episode {self.seed}: {self.outcome}, return {self.total:.2f}"
        if subject.known is not None:
            total, solved = subject.known[self.seed]
            if abs(total - self.total) > 1e-3 or solved != self.solved:
                line += f"; the stored rows say {'solved' if solved else 'not solved'}, return {total:.2f}"
        return line


@dataclass(frozen=True)
class Film:
    """One take in pictures."""

    take: Take
    frames: Sequence[np.ndarray]
    """(PICTURE, PICTURE, 3) uint8 of every second state, the first and the last among them."""


def find_units(
    store: Store, protocol: Protocol, task: str, method: str, seed: int, archs: Sequence[Architecture | None]
) -> list[Unit]:
    """The finished units of a method, in the order of `archs`; unfinished ones are left out.

    Raises FilmError where none is finished, or where one is of two trained methods.
    """
    units: dict[Architecture | None, Unit] = {}
    for manifest in store.manifests():
        unit = Unit.from_fields(manifest["unit"])
        if (unit.protocol, unit.task, unit.method, unit.generator_seed) != (protocol, task, method, seed):
            continue
        if unit.arch in archs and unit.arch in units:
            raise FilmError(
                f"{store.root}: {method} on {task}, {unit.asked_for}, was measured as trained in two ways; delete the "
                "files of one of them or choose another --results"
            )
        units[unit.arch] = unit
    if found := [units[arch] for arch in archs if arch in units]:
        return found
    partition = JOINT if archs[0] is None else load_splits().partition(archs[0])
    names = ", ".join(JOINT if arch is None else architecture_name(arch) for arch in archs)
    raise FilmError(
        f"{store.root}: {method} on {task}, {names}, was not measured with generator seed {seed} and protocol "
        f"{protocol.short}; `nnbench run --method {method} --task {task} --split "
        f"{ {'train': 'seen'}.get(partition, partition) }` measures it"
    )


def stored_subjects(store: Store, units: Sequence[Unit], places: Sequence[Place], episodes: int) -> list[Subject]:
    """Of the selected of these units, on the first test episodes.

    Raises StoreError where the weights of a unit are not stored.
    """
    subjects = []
    for unit in units:
        protocol, standardiser = unit.protocol, load_task(unit.task).standardiser
        _check_episodes(episodes, protocol.test_episodes)
        samples = store.weights(unit)
        tested = [row for row in store.unit_rows(unit).to_pylist() if row["stage"] == "test"]
        for place in places:
            rank = rank_of(place, protocol.top)
            mine = {row["episode_seed"]: row for row in tested if row["rank"] == rank}
            row = mine[protocol.test_seeds[0]]
            share = np.mean([other[protocol.headline] for other in mine.values()])
            subjects.append(
                Subject(
                    group=unit.asked_for,
                    title=row["arch"],
                    detail=f"{place}: {100 * share:.0f} % of {len(mine)}",
                    actor=_alone(samples[row["sample"]], episodes, standardiser),
                    seeds=protocol.test_seeds[:episodes],
                    headline=protocol.headline,
                    known={seed: (other["return"], other[protocol.headline]) for seed, other in mine.items()},
                )
            )
    return subjects


def zoo_subjects(
    zoo: Zoo, archs: Sequence[Architecture | None], places: Sequence[Place], episodes: int
) -> list[Subject]:
    """Of the ten policies of each architecture with the highest return on the episodes that the zoo was validated on.

    They are filmed on the first of these. Raises FilmError for an architecture without validated policies.
    """
    validation = verify(zoo.directory, zoo.task)["filter"]
    _check_episodes(episodes, validation["episodes"])
    rows, subjects = read_index(zoo.directory), []
    for arch in archs:
        if arch is None:
            raise FilmError("the policies of a zoo are of given architectures; choose another --split than joint")
        name = architecture_name(arch)
        best_first = sorted((row for row in rows if row["arch"] == name), key=lambda row: -row["return"])
        top = best_first[: Protocol.top]
        if not top:
            raise FilmError(
                f"{zoo.directory}: no policy of {name} was validated; choose one of --split seen, or `nnbench zoo "
                f"build --task {zoo.task.name}` validates all"
            )
        policies = zoo.hypernetwork_policies(arch)
        for place in places:
            row = top[rank_of(place, len(top))]
            detail = f"{place}: {100 * row['success_at_end']:.0f} % of {row['episodes']}"
            seeds = range(validation["first_seed"], validation["first_seed"] + episodes)
            actor = _alone(policies[row["ghn_seed"]], episodes, zoo.task.standardiser)
            subjects.append(Subject(name, name, detail, actor, seeds))
    return subjects


def expert_subject(path: Path, episodes: int) -> Subject:
    """An expert on the first of the episodes that experts are scored on."""
    _check_episodes(episodes, len(SCORING_SEEDS))
    actor = GaussianActor.from_state_dict(load_expert(path))
    return Subject("expert", "PPO expert", "deterministic", actor, SCORING_SEEDS[:episodes])


def rank_of(place: Place, count: int) -> int:
    """Position among `count`, best first; of two in the middle the median is the lower."""
    return {"best": 0, "median": count // 2, "worst": count - 1}[place]


def roll_out(subjects: Sequence[Subject], simulator: Simulator) -> list[Take]:
    """All subjects' episodes, in their order. Nothing is rendered."""
    units = [Rollout(subject.actor, np.array(subject.seeds), record=True) for subject in subjects]
    takes = []
    for subject, found in zip(subjects, simulator.episodes(units), strict=True):
        assert found.states is not None
        solved = getattr(found, subject.headline)
        for k, seed in enumerate(subject.seeds):
            takes.append(Take(subject, seed, float(found.returns[k]), bool(solved[k]), found.states[k]))
    return takes


def shoot(takes: Sequence[Take], camera: Camera) -> list[Film]:
    """Pictures of every take. Raises RenderError."""
    states = [take.states[::_FRAME_STEPS] for take in takes]
    pictures = camera.pictures(np.concatenate(states))
    found = iter(tqdm(pictures, total=sum(map(len, states)), desc="pictures", disable=None))
    return [Film(take, list(islice(found, len(rows)))) for take, rows in zip(takes, states, strict=True)]


def strip(films: Sequence[Film]) -> Image.Image:
    """A row a film with its labels on the left, a column every ten control steps with the step above."""
    rows = [film.frames[:: _SNAPSHOT_STEPS // _FRAME_STEPS] for film in films]
    labels = [_label(film.take) for film in films]
    left = 2 * _MARGIN + max(round(_FONT.getlength(line)) for lines in labels for line in lines)
    groups = [film.take.subject.group for film in films]
    begins = [position > 0 and groups[position] != groups[position - 1] for position in range(len(films))]
    apart = len(set(groups)) < len(films)  # a little air between architectures, where one has several rows
    tops = _LINE + PICTURE * np.arange(len(films)) + _MARGIN * apart * np.cumsum(begins)
    image = Image.new("RGB", (left + len(rows[0]) * PICTURE, int(tops[-1]) + PICTURE), "white")
    draw = ImageDraw.Draw(image)
    for column in range(len(rows[0])):
        step = f"step {column * _SNAPSHOT_STEPS}"
        draw.text((left + column * PICTURE + PICTURE // 2, _LINE // 2), step, "black", _FONT, "mm")
    for top, row, lines in zip(tops.tolist(), rows, labels, strict=True):
        for column, picture in enumerate(row):
            image.paste(Image.fromarray(picture), (left + column * PICTURE, top))
        first = top + (PICTURE - (len(lines) - 1) * _LINE) // 2
        for line, text in enumerate(lines):
            draw.text((_MARGIN, first + line * _LINE), text, "black", _FONT, "lm")
    return image


def video_frames(films: Sequence[Film]) -> Iterator[np.ndarray]:
    """One architecture and episode after the other, its policies side by side; (H, W, 3) uint8 each."""
    for _, group in groupby(films, key=lambda film: film.take.subject.group):
        by_episode = sorted(group, key=lambda film: film.take.seed)
        for _, found in groupby(by_episode, key=lambda film: film.take.seed):
            panels = list(found)
            titles = [(panel.take.subject.title, panel.take.subject.detail) for panel in panels]
            outcomes = [
                (panel.take.subject.title, f"{panel.take.subject.detail}, {panel.take.outcome}") for panel in panels
            ]
            for pictures in zip(*(panel.frames for panel in panels), strict=True):
                yield _side_by_side(titles, pictures)
            yield from repeat(_side_by_side(outcomes, [panel.frames[-1] for panel in panels]), _HOLD_FRAMES)


def save_strip(path: Path, image: Image.Image, title: str, caption: str) -> None:
    """Write as PNG that carries what is to be said with it. Raises OSError on a full disk."""
    said = PngInfo()
    said.add_text("Title", title)
    said.add_text("Description", caption)
    write_atomically(path, partial(image.save, format="PNG", optimize=True, pnginfo=said))


def save_video(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write as MP4 (H.264). Raises OSError on a full disk."""

    def write(temporary: Path) -> None:
        first = next(frames)
        height, width, _ = first.shape
        output = ["-f", "mp4", "-crf", "20", "-movflags", "+faststart"]
        writer = imageio_ffmpeg.write_frames(
            temporary,
            (width, height),
            fps=_FRAMES_PER_S,
            codec="libx264",
            quality=None,
            macro_block_size=2,
            output_params=output,
        )
        writer.send(None)
        for frame in chain([first], frames):
            writer.send(frame)
        writer.close()

    write_atomically(path, write)


def _alone(weights: Weights, episodes: int, standardiser: Standardiser) -> PolicyActor:
    return PolicyActor.stack([weights], np.zeros(episodes, int), standardiser)


def _check_episodes(episodes: int, most: int) -> None:
    if not 1 <= episodes <= most:
        raise FilmError(f"--episodes {episodes}: expected 1 to {most}")


def _label(take: Take) -> list[str]:
    episode = [f"episode {take.seed}"] if len(take.subject.seeds) > 1 else []
    return [take.subject.title, take.subject.detail, *episode, take.outcome]


def _side_by_side(titles: Sequence[tuple[str, str]], pictures: Sequence[np.ndarray]) -> np.ndarray:
    image = Image.new("RGB", (PICTURE * len(pictures), 2 * _LINE + PICTURE), "white")
    draw = ImageDraw.Draw(image)
    for position, (lines, picture) in enumerate(zip(titles, pictures, strict=True)):
        for line, text in enumerate(lines):
            draw.text((position * PICTURE + PICTURE // 2, line * _LINE + _LINE // 2), text, "black", _FONT, "mm")
        image.paste(Image.fromarray(picture), (position * PICTURE, 2 * _LINE))
    return np.asarray(image)
