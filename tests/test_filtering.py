"""Which of a zoo's policies are trained on: by their scores, and by the track."""

from typing import Any

from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.tracks import load_track
from nnbench.tasks.task import Filter
from nnbench.tasks.zoo.filtering import keep_best
from nnbench.tasks.zoo.manifest import SHIPPED, read_index, read_zoo_manifest

TRAINED, HELD_OUT, OUTSIDE = "16-16-16-64", "16-16-16-32", "16-16-16-16"


def row(seed: int, total: float, success: float, arch: str = TRAINED) -> dict[str, Any]:
    return {"arch": arch, "ghn_seed": seed, "return": total, "success_at_end": success}


ROWS = [
    row(0, 36, 0.95),
    row(1, 39, 0.85),
    row(2, 34.99, 1),
    row(3, 38, 0.9),
    row(4, 37, 1),
    row(5, 40, 1, HELD_OUT),
    row(6, 40, 1, OUTSIDE),
]


def test_the_filter_keeps_the_best_and_says_why_not_the_others() -> None:
    judged = keep_best(ROWS, Filter(best=2), load_splits())
    assert [row["reason"] for row in judged] == [
        "not among the best 2",
        "success 0.850 < 0.9",
        "return 34.99 < 35",
        "",
        "",
        "held out",
        "outside the space",
    ]
    assert [row["valid"] for row in judged] == [False, False, False, True, True, False, False]


def test_another_track_holds_out_others() -> None:
    splits = load_track("narrow").splits
    assert {row["reason"] for row in keep_best(ROWS[3:6], Filter(), splits)} == {"held out"}
    assert keep_best([row(0, 40, 1, "64-64-64-16")], Filter(), splits)[0]["valid"], "held out on the paper's track"


def test_the_zoos_that_ship_are_filtered_so() -> None:
    for folder in SHIPPED.iterdir():
        if folder.is_dir():
            rows, found = read_index(folder), read_zoo_manifest(folder)["filter"]
            assert [row["valid"] for row in keep_best(rows, Filter(**found), load_splits())] == [
                r["valid"] for r in rows
            ]
