import pytest

from nnbench.analysis.reported import Reported, reported, reported_cells


@pytest.mark.parametrize(
    ("method", "partition", "task", "values"),
    [
        ("dataset", "train", "PickCube-v1", (39.37, 0.55, 0.98)),
        ("sane", "seen", "PushCube-v1", (6.90, 0.25, 0.06)),
        ("d2nwg", "seen", "PickCube-v1", (38.59, 1.35, 0.98)),
        ("nnit", "seen", "StackCubeEasy-v1", (38.38, 0.51, 0.91)),
        ("sane", "unseen", "PickCube-v1", (3.65, 0.41, 0.01)),
        ("d2nwg", "unseen", "StackCubeEasy-v1", (27.18, 2.35, 0.42)),
        ("nnit", "unseen", "PickCube-v1", (38.70, 0.36, 0.99)),
    ],
)
def test_table_2_as_printed(method: str, partition: str, task: str, values: tuple[float, float, float]) -> None:
    found = reported(2, task, method=method, partition=partition)
    expected = dict(zip(("return", "plus_minus", "success"), values, strict=True))
    assert found == Reported(2, task, method, partition, None, expected)


@pytest.mark.parametrize("task", ["PickCube-v1", "PushCube-v1", "StackCubeEasy-v1"])
def test_rows_come_in_the_papers_order(task: str) -> None:
    assert [(cell.method, cell.partition) for cell in reported_cells(2, task)] == [
        ("dataset", "train"),
        ("sane", "seen"),
        ("d2nwg", "seen"),
        ("nnit", "seen"),
        ("sane", "unseen"),
        ("d2nwg", "unseen"),
        ("nnit", "unseen"),
    ]


def test_success_is_a_fraction_and_return_within_the_horizon() -> None:
    for task in ("PickCube-v1", "PushCube-v1", "StackCubeEasy-v1"):
        for cell in reported_cells(2, task):
            assert 0 <= cell.values["success"] <= 1
            assert 0 < cell.values["plus_minus"] < cell.values["return"] < 50


def test_text_of_the_paper_agrees() -> None:
    # Section 6.4: D2NWG drops "to 59% and 42%" and "retains 89%"; NNiT has "over 85% success across all tasks"
    unseen = {
        (cell.method, cell.task): cell.values["success"]
        for task in ("PickCube-v1", "PushCube-v1", "StackCubeEasy-v1")
        for cell in reported_cells(2, task)
        if cell.partition == "unseen"
    }
    assert [unseen["d2nwg", task] for task in ("PickCube-v1", "StackCubeEasy-v1", "PushCube-v1")] == [0.59, 0.42, 0.89]
    assert all(success > 0.85 for (method, _), success in unseen.items() if method == "nnit")


def test_what_the_paper_does_not_report_is_none() -> None:
    assert reported(2, "PickCube-v1", method="nnit", partition="outside") is None
    assert reported(2, "PickCube-v1", method="crop", partition="unseen") is None
    assert reported_cells(2, "LiftPegUpright-v1") == ()


def test_other_tables_as_printed() -> None:
    sgd = reported(1, "PickCube-v1", method="sgd")
    assert sgd is not None and sgd.values == {
        "return": 39.49,
        "success": 0.989,
        "nearest_l2": 41.73,
        "nearest_cosine": 0.02,
    }
    joint = reported(3, "StackCubeEasy-v1", method="nnit", partition="joint")
    assert joint is not None and joint.values == {"return": 37.57, "plus_minus": 0.85, "success": 0.9}
    single = reported(4, "PickCube-v1", partition="unseen", arch="32-16-16-16")
    assert single is not None and single.values == {"return": 38.53, "success": 0.98}
    spread = reported(6, "StackCubeEasy-v1")
    assert spread is not None and spread.values == {"nearest_l2": 72.79, "nearest_cosine": 0.21}
