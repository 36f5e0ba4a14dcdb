from nnbench.analysis.access import HARD, name_access, rank_access
from nnbench.facts import Reading


def test_the_hard_class_reads_no_more_than_weights_and_is_first() -> None:
    classes: list[tuple[Reading, ...]] = [
        ("hypernetworks",),
        ("states", "weights"),
        ("weights", "expert"),
        ("weights",),
    ]
    assert [name_access(reads) for reads in sorted(classes, key=rank_access)] == [
        HARD,
        "weights, states",
        "weights, expert",
        "hypernetworks",
    ]
    assert name_access(()) == HARD, "to read nothing is no easier"
    assert rank_access(()) == rank_access(("weights",)), "in one class methods stay in their order"
    assert rank_access(("states", "weights")) == rank_access(("weights", "states"))
