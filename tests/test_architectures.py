import itertools

import pytest

from nnbench.tasks.policies.architectures import (
    architecture_name,
    architectures_of,
    distance_to,
    load_splits,
    parameter_shapes,
    parse_architecture,
)


def test_splits_cover_the_space_once() -> None:
    splits = load_splits()
    space = set(itertools.product((16, 32, 64), repeat=4))
    assert (len(splits.train), len(splits.unseen), len(splits.outside)) == (64, 8, 9)
    assert set(splits.train) | set(splits.unseen) | set(splits.outside) == space
    assert set(splits.outside) == {arch for arch in space if arch[2:] == (16, 16)}
    assert set(splits.seen) <= set(splits.train) and len(set(splits.seen)) == 8


def test_the_papers_named_architectures_are_where_its_table_4_has_them() -> None:
    splits = load_splits()
    assert {(32, 16, 64, 32), (32, 64, 16, 32), (32, 32, 32, 16), (64, 64, 16, 32)} <= set(splits.seen)
    assert {(32, 32, 16, 64), (32, 32, 32, 64), (16, 16, 16, 32), (16, 64, 64, 32)} <= set(splits.unseen)
    assert splits.partition((32, 16, 16, 16)) == "outside"
    assert splits.partition((48, 16, 16, 16)) == "other"


def test_the_distance_is_to_the_nearest_of_as_many_layers() -> None:
    trained = [(16, 16, 32), (64, 64, 64), (32, 32, 32, 32)]
    assert distance_to((16, 16, 32), trained) == 0
    assert distance_to((8, 32, 32), trained) == 2, "half and twice as wide are equally far"
    assert distance_to((64, 48, 64), trained) == pytest.approx(0.415, abs=0.001)
    assert distance_to((32, 32), trained) is None and distance_to((16, 16), []) is None
    splits = load_splits()
    assert {distance_to(arch, splits.train) for arch in splits.unseen} == {1}


def test_names_and_shapes() -> None:
    assert parse_architecture("32-16-64-32") == (32, 16, 64, 32)
    assert architecture_name((32, 16, 64, 32)) == "32-16-64-32"
    shapes = parameter_shapes((32, 16, 64, 32), 42, 8)
    assert shapes["0.weight"] == (32, 42) and shapes["8.weight"] == (8, 32) and shapes["6.bias"] == (32,)


@pytest.mark.parametrize("text", ["", "32,16", "32--16", "0-16", "a-b"])
def test_text_that_is_no_architecture_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected hidden widths joined by '-'"):
        parse_architecture(text)


def test_unknown_split_is_refused() -> None:
    assert len(architectures_of("unseen")) == 8 and len(architectures_of("outside")) == 9
    with pytest.raises(ValueError, match="unknown split 'unsen': expected one of seen, unseen, outside"):
        architectures_of("unsen")


def test_a_splits_architectures_can_be_named() -> None:
    assert architectures_of("unseen", "16-16-16-32,32-32-16-64") == ((16, 16, 16, 32), (32, 32, 16, 64))
    assert len(architectures_of("seen")) == 8 and len(architectures_of("seen", "all")) == 64
    with pytest.raises(ValueError, match="16-16-16-64 is not in the split unseen: expected some of 32-32-16-64, "):
        architectures_of("unseen", "16-16-16-64")
    with pytest.raises(ValueError, match="architecture '16-x': expected hidden widths joined by '-'"):
        architectures_of("unseen", "16-x")
