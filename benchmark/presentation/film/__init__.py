"""Films of what policies do, from the states that their episodes recorded."""

from nnbench.presentation.film.pictures import save_strip, save_video, strip, video_frames
from nnbench.presentation.film.subjects import (
    PLACES,
    FilmError,
    Place,
    Subject,
    expert_subject,
    find_units,
    rank_of,
    stored_subjects,
    zoo_subjects,
)
from nnbench.presentation.film.takes import PICTURE, Film, Take, roll_out, shoot

__all__ = [
    "PICTURE",
    "PLACES",
    "Film",
    "FilmError",
    "Place",
    "Subject",
    "Take",
    "expert_subject",
    "find_units",
    "rank_of",
    "roll_out",
    "save_strip",
    "save_video",
    "shoot",
    "stored_subjects",
    "strip",
    "video_frames",
    "zoo_subjects",
]
