"""Tracks: those that ship are what they say, a user's file is checked, and none but the paper's changes its hashes."""

import csv
from pathlib import Path

import pytest
from helpers import run_command

from nnbench.errors import InputError
from nnbench.store.store import Store
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.tracks import contains, load_track, shipped_tracks


def write(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_the_papers_track_has_the_papers_hashes() -> None:
    paper = load_track("paper")
    assert paper.splits == load_splits() and paper.label == "paper" and paper.identity("ab" * 32) == "ab" * 32
    assert sum(bool(paper.contained(arch)) for arch in paper.splits.unseen) == 7, "as its sentence says"


def test_those_that_ship_split_the_space_and_keep_their_hashes() -> None:
    tracks = {track.name: track for track in shipped_tracks()}
    assert [*tracks] == ["paper", "narrow", "sgd", "sgd-narrow"]
    paper = load_splits()
    for track in tracks.values():
        splits = track.splits
        assert {*splits.train, *splits.unseen} == {*paper.train, *paper.unseen} and splits.outside == paper.outside
        assert len(splits.train) == 64 and len(splits.unseen) == len(splits.seen) == 8
        assert {*splits.seen} <= {*splits.train} and not {*splits.train} & {*splits.unseen}
        for place in range(4):  # every width can be learned at every place
            assert {arch[place] for arch in splits.train} == {16, 32, 64}
    # Rows carry them: a change of a file is a new track, and needs a new name.
    assert {name: track.label for name, track in tracks.items()} == LABELS


LABELS = {
    "paper": "paper",
    "narrow": "narrow-c18b691ac49d",
    "sgd": "sgd-86b66df11492",
    "sgd-narrow": "sgd-narrow-a08fb9d06169",
}


@pytest.mark.parametrize("name", ["narrow", "sgd-narrow"])
def test_no_held_out_architecture_of_narrow_contains_a_training_architecture(name: str) -> None:
    track = load_track(name)
    assert not any(contains(arch, other) for arch in track.splits.unseen for other in track.splits.train)
    assert not any(track.contained(arch) for arch in track.splits.unseen)


def test_a_deeper_architecture_contains_what_its_further_layers_can_pass_on() -> None:
    assert contains((32, 32, 32, 32, 32), (16, 32, 32, 16)) and contains((64, 16, 64, 16, 64), (32, 16, 16, 32))
    assert not contains((64, 16, 64, 16, 64), (32, 32, 16, 32))  # of 64-16-64-16-64 no two layers in a row are 32 wide
    assert not contains((32, 32, 32), (16, 16, 16, 32)) and contains((64, 24, 32), (64, 24, 32))


def test_another_source_or_split_is_another_identity() -> None:
    identities = {track.identity("ab" * 32) for track in shipped_tracks()}
    assert len(identities) == 4
    assert load_track("narrow").identity("cd" * 32) not in identities


def test_a_users_file_may_leave_out_what_follows(tmp_path: Path) -> None:
    track = load_track(write(tmp_path, 'asks = "One width only?"\nunseen = ["64-64-64-64", "24-24-24-24"]\n'))
    assert (track.name, track.source) == ("mine", "hypernetworks") and len(track.splits.train) == 71
    assert track.splits.partition((64, 64, 64, 64)) == track.splits.partition((24, 24, 24, 24)) == "unseen"
    assert len(track.splits.seen) == 8 and {*track.splits.seen} <= {*track.splits.train}
    small = load_track(write(tmp_path, 'asks = "x"\ntrain = ["16-16-16-16"]\nunseen = ["32-32-32-32"]', "small.toml"))
    assert small.splits.train == small.splits.seen == ((16, 16, 16, 16),) and len(small.splits.outside) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asks = 3", "asks = 3, expected what the track asks"),
        ("", "asks = None, expected"),
        ('asks = "x"\nsplit = 1', "unknown split; a track has asks, source, train, unseen, seen"),
        ('asks = "x"\nsource = "ghn"', "source = 'ghn', expected one of hypernetworks, sgd"),
        ('asks = "x"\nunseen = []', "unseen = \\[\\], expected a list of architectures"),
        ('asks = "x"\nunseen = [16]', "unseen = \\[16\\], expected a list of architectures"),
        ('asks = "x"\nunseen = ["16-x"]', "unseen: architecture '16-x': expected hidden widths"),
        ('asks = "x"\nunseen = ["8-8", "8-8"]', "unseen names 8-8 twice"),
        ('asks = "x"\ntrain = ["24-24-24-24"]', "train has 24-24-24-24, of which no zoo has policies"),
        ('asks = "x"\ntrain = ["32-32-16-64"]', "32-32-16-64 is in train and in unseen"),
        ('asks = "x"\nseen = ["32-32-16-64"]', "seen has 32-32-16-64, which is not in train"),
        ("asks = ", "not a TOML file"),
    ],
)
def test_a_file_that_is_no_track_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"mine\.toml: {message}"):
        load_track(write(tmp_path, text))


def test_an_unknown_track_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown track 'wide': expected one of paper, narrow, sgd, sgd-narrow, or"):
        load_track("wide")
    with pytest.raises(InputError, match=r"nothing\.toml: cannot be read \(No such file"):
        load_track(str(tmp_path / "nothing.toml"))
    with pytest.raises(InputError, match=r"paper\.toml: paper is the name of a track that ships"):
        load_track(write(tmp_path, 'asks = "x"', "paper.toml"))


@pytest.mark.slow
def test_a_track_of_ones_own_is_run_and_stays_apart_from_the_papers(tmp_path: Path) -> None:
    write(tmp_path, 'asks = "One suffices?"\ntrain = ["16-16-16-32"]\nunseen = ["32-32-16-64"]\n')
    scale = ("--n", "2", "--top-k", "1", "--episodes", "1", "--test-episodes", "1", "--workers", "1")
    asked = ("--track", "mine.toml", "--archs", "32-32-16-64", *scale)
    done = run_command("run", "--method", "nearest", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = Store(tmp_path / "results" / "runs").policies().to_pylist()
    label = load_track(str(tmp_path / "mine.toml")).label
    assert {(row["track"], row["partition"]) for row in found} == {(label, "unseen")}
    # Padded without loss: what is left is the one architecture that this track trains on.
    assert {row["effective_arch"] for row in found} == {"16-16-16-32"}

    table = ("table", "2", "--results", "results/runs", "--format", "csv", "--track")
    done = run_command(*table, "mine.toml", cwd=tmp_path)
    lines = [line for line in csv.DictReader(done.stdout.splitlines()) if line["method"] == "nearest"]
    assert done.returncode == 0 and {line["track"] for line in lines} == {label}
    papers = run_command(*table, "paper", cwd=tmp_path)
    assert papers.returncode == 0 and "nearest" not in papers.stdout


@pytest.mark.slow
def test_what_a_method_does_not_write_is_said_and_costs_no_other_method(tmp_path: Path) -> None:
    scale = ("--n", "2", "--top-k", "1", "--episodes", "1", "--test-episodes", "1", "--workers", "1")
    asked = ("--split", "depths", "--archs", "32-32-32-32-32", *scale)
    done = run_command("run", "--method", "nnit", "nearest", *asked, cwd=tmp_path)
    said = "method nnit cannot: it writes no depths that it was not trained on"
    assert done.returncode == 0 and said in done.stderr + done.stdout
    done = run_command("run", "--method", "nnit", *asked, cwd=tmp_path)
    assert done.returncode == 1 and said in done.stderr
