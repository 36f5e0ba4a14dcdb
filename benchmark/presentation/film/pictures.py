"""Film strips and videos (paper, figures 7 to 9), and their files."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, groupby, repeat
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from nnbench.presentation.film.takes import FRAME_STEPS, PICTURE, Film, Take
from nnbench.tasks.files import write_atomically

_SNAPSHOT_STEPS = 10
_FRAMES_PER_S = 10
"""A control step is 1/20 s, so videos run in real time."""
_HOLD_FRAMES = 8
"""How long the end of an episode is shown, with its outcome."""

_FONT = ImageFont.load_default(size=15)
_LINE = 20
_MARGIN = 8


def strip(films: Sequence[Film]) -> Image.Image:
    """One row per film with its labels on the left, one column every ten control steps with the step above."""
    rows = [film.frames[:: _SNAPSHOT_STEPS // FRAME_STEPS] for film in films]
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
    """Write as PNG that carries what is to be said with it. Raises WriteError on a full disk."""
    said = PngInfo()
    said.add_text("Title", title)
    said.add_text("Description", caption)
    write_atomically(path, partial(image.save, format="PNG", optimize=True, pnginfo=said))


def save_video(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write as MP4 (H.264). Raises WriteError on a full disk."""

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
