import itertools

import pytest

from nnbench.tasks.policies.architectures import architecture_name, load_splits, parameter_shapes, parse_architecture


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


def test_names_and_shapes() -> None:
    assert parse_architecture("32-16-64-32") == (32, 16, 64, 32)
    assert architecture_name((32, 16, 64, 32)) == "32-16-64-32"
    shapes = parameter_shapes((32, 16, 64, 32), 42, 8)
    assert shapes["0.weight"] == (32, 42) and shapes["8.weight"] == (8, 32) and shapes["6.bias"] == (32,)


@pytest.mark.parametrize("text", ["", "32,16", "32--16", "0-16", "a-b"])
def test_text_that_is_no_architecture_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected hidden widths joined by '-'"):
        parse_architecture(text)
