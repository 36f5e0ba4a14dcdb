import os
from pathlib import Path

import pytest

from nnbench.tasks.files import write_atomically, write_json


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, 1)

    def fill_disk(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, os.strerror(28))

    with pytest.raises(OSError, match=r"value.json: could not be written \(No space left on device\); free some space"):
        write_atomically(path, fill_disk)
    assert path.read_text() == "1\n" and list(tmp_path.iterdir()) == [path]
