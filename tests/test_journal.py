"""Episodes of a unit under way: kept in parts, whole or absent, in the order they came."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbench.store.journal import Journal
from nnbench.store.schemas import ROLLOUT_SCHEMA


def _episodes(start: int, stop: int) -> pa.Table:
    """Episodes of these seeds."""
    rows = [
        {
            "weights_sha256": "ab" * 32,
            "stage": "selection",
            "episode_seed": seed,
            "return": seed / 7,
            "success_once": True,
            "success_at_end": seed % 2 == 0,
            "diverged": seed == 3,
        }
        for seed in range(start, stop)
    ]
    return pa.Table.from_pylist(rows, ROLLOUT_SCHEMA)


def test_a_journal_survives_and_is_removed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "unit")
    assert journal.read() is None
    journal.append(_episodes(0, 3))
    journal.append(_episodes(3, 4))
    resumed = Journal(tmp_path / "unit")
    resumed.append(_episodes(4, 9))
    assert resumed.read() == _episodes(0, 9)
    resumed.clear()
    assert journal.read() is None and list(tmp_path.iterdir()) == []
    journal.clear()


def test_parts_keep_their_order_beyond_ten(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for episode in range(12):
        journal.append(_episodes(episode, episode + 1))
    assert journal.read() == _episodes(0, 12)


def test_two_processes_at_one_unit_keep_parts_of_their_own(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours" / "unit", tmp_path / "theirs" / "unit"
    Journal(ours, "a" * 8).append(_episodes(0, 3))
    Journal(theirs, "b" * 8).append(_episodes(1, 4))
    # As if both had looked before either wrote: the parts have the same number, and neither replaces the other.
    (part,) = theirs.iterdir()
    part.rename(ours / part.name)
    kept = Journal(ours).read()
    assert kept is not None and sorted(kept["episode_seed"].to_pylist()) == [0, 1, 1, 2, 2, 3]


def test_an_unfinished_part_is_not_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "unit")
    journal.append(_episodes(0, 3))
    (journal.directory / ".000001.parquet.1.tmp").write_bytes(b"PAR1")
    assert journal.read() == _episodes(0, 3)
    journal.clear()
    assert not journal.directory.exists()


def test_a_process_killed_while_writing_a_part_loses_only_that_part(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(_episodes(0, 3))
    program = (
        "import os, sys, pathlib; from nnbench.store.journal import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1])); episodes = journal.read()\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), 9)\n"
        "journal.append(episodes)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(journal.directory)], check=False)
    assert killed.returncode == -9
    assert journal.read() == _episodes(0, 3)
    journal.append(_episodes(3, 4))
    assert journal.read() == _episodes(0, 4)


@given(part=st.integers(0, 2), place=st.integers(0, 10**6), flip=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=300, deadline=None)
def test_damage_costs_only_its_own_part(part: int, place: int, flip: int, cut: bool) -> None:
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        for number in range(3):
            journal.append(_episodes(4 * number, 4 * number + 4))
        path = sorted(Path(folder).iterdir())[part]
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= flip
        path.write_bytes(content[: place % len(content)] if cut else content)
        whole = [number for number in range(3) if number != part]
        assert journal.read() == pa.concat_tables([_episodes(4 * n, 4 * n + 4) for n in whole])
