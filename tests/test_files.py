import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnbench.errors import NnbenchError
from nnbench.tasks.files import (
    WriteError,
    parse_rows,
    require_folder,
    write_atomically,
    write_folder,
    write_json,
    write_rows,
)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, 1)

    def fill_disk(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, os.strerror(28))

    with pytest.raises(OSError, match=r"value.json: could not be written \(No space left on device\); free some space"):
        write_atomically(path, fill_disk)
    assert path.read_text() == "1\n" and list(tmp_path.iterdir()) == [path]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "some"

    def fill(temporary: Path) -> None:
        (temporary / "one").write_text("1")

    def fill_disk(temporary: Path) -> None:
        fill(temporary)
        raise OSError(28, os.strerror(28))

    with pytest.raises(WriteError, match=r"some: could not be written \(No space left on device\); free some space"):
        write_folder(folder, fill_disk)
    assert list(folder.parent.iterdir()) == []
    write_folder(folder, fill)
    with pytest.raises(WriteError, match="some: could not be written"):
        write_folder(folder, fill)  # it is not empty
    assert [path.name for path in folder.parent.iterdir()] == ["some"]


def test_a_file_that_needs_its_folder_says_which_is_missing(tmp_path: Path) -> None:
    require_folder(tmp_path / "page.html")
    with pytest.raises(WriteError, match=r"new/page\.html: no such folder .*new; make it"):
        require_folder(tmp_path / "new" / "page.html")


def test_the_remedy_is_not_hidden_where_nothing_can_be_removed_either(tmp_path: Path) -> None:
    folder = tmp_path / "a file"
    folder.write_text("in the way of a folder")
    with pytest.raises(
        WriteError, match=r"value.json: could not be written \(.*\); choose a folder that you can write"
    ):
        write_json(folder / "value.json", 1)
    assert issubclass(WriteError, NnbenchError) and issubclass(WriteError, OSError)


COUNT_THREADS = """
import os, sys
from pathlib import Path
import pyarrow.parquet
from nnbench.tasks.files import parse_rows
before = len(os.listdir("/proc/self/task"))
assert parse_rows(Path(sys.argv[1]).read_bytes()) == [{"number": number} for number in range(1000)]
assert len(os.listdir("/proc/self/task")) == before, "a thread may outlive the interpreter, which then aborts"
"""


def test_tables_are_read_by_one_thread(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_rows(path, [{"number": number} for number in range(1000)])
    assert len(parse_rows(path.read_bytes())) == 1000
    subprocess.run([sys.executable, "-c", COUNT_THREADS, path], check=True)
