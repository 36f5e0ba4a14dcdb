"""From subjects to files: roll out, take pictures, and write a film strip and a video with their caption."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nnbench.presentation import film
from nnbench.protocol import Unit
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.camera import Camera
from nnbench.tasks.simulation.vulkan import find_driver
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.zoo import Zoo


def caption_zoo(zoo: Zoo, places: Sequence[film.Place]) -> str:
    """What is shown of a zoo's policies."""
    return (
        f"Policies of the zoo {zoo.sha256[:12]}, by {_listed(places)} return of the ten best of an architecture on the "
        "episodes that the zoo was validated on, and the share of these solved"
    )


def caption_method(unit: Unit, places: Sequence[film.Place]) -> str:
    """What is shown of a method's policies; `unit` is one of those filmed."""
    protocol = unit.protocol
    return (
        f"Policies that {unit.method} (generator seed {unit.generator_seed}) wrote: the {_listed(places)} of the top "
        f"{protocol.top} of {protocol.samples}, by the mean return that they were chosen by, and the share of the "
        f"{protocol.test_episodes} test episodes solved ({protocol.headline.replace('_', ' ')}). Protocol "
        f"{protocol.short}"
    )


def write_films(task: str, subjects: Sequence[film.Subject], title: str, what: str, stem: Path) -> Iterator[str]:
    """Write `stem`.png and `stem`.mp4; yields lines to print. Raises RenderError where nothing can take pictures."""
    loaded, driver = load_task(task), find_driver()
    with Simulator(loaded, 1) as simulator:
        takes = film.roll_out(subjects, simulator)
    for take in takes:
        yield take.describe()
    with Camera(loaded, driver, film.PICTURE) as camera:
        films = film.shoot(takes, camera)
    seeds = sorted({take.seed for take in takes})
    caption = (
        f"{what}. Shown: episode {', '.join(map(str, seeds))}, whatever its outcome; a control step is 1/20 s. "
        f"Rendered by {driver.device}."
    )
    strip, video = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.mp4")
    film.save_strip(strip, film.strip(films), title, caption)
    film.save_video(video, film.video_frames(films))
    yield from (str(strip), str(video), title, caption)


def _listed(places: Sequence[film.Place]) -> str:
    return " and ".join(places) if len(places) < 3 else f"{', '.join(places[:-1])} and {places[-1]}"
