import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nnbench.tasks.files import file_sha256
from nnbench.tasks.integrity import parse_sealed, seal
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.manifest import ZooError
from nnbench.tasks.zoo.validation import roll_out_again


def _with_other_records(tiny_zoo: Path, copy: Path, name: str, change: float, rows: slice) -> Path:
    """A copy of the zoo whose index, and the hash of it, were changed."""
    shutil.copytree(tiny_zoo, copy)
    index = pq.read_table(tiny_zoo / "index.parquet").to_pylist()
    for row in index[rows]:
        row[name] += change
    pq.write_table(pa.Table.from_pylist(index), copy / "index.parquet")
    manifest = parse_sealed((copy / "manifest.json").read_bytes())
    manifest["files"]["index.parquet"] = file_sha256(copy / "index.parquet")
    (copy / "manifest.json").write_text(json.dumps(seal(manifest)))
    return copy


def test_policies_roll_out_again_to_their_records(simulator: Simulator, tiny_zoo: Path) -> None:
    again = roll_out_again(simulator, tiny_zoo, 5)
    assert again.policies == again.exact == 5  # rolled out on the machine that recorded them
    assert again.return_difference < 1e-4 and again.success_difference == 0
    assert abs(again.return_mean) < 1e-4 and again.success_mean == 0


def test_a_record_that_no_rounding_error_explains_is_refused(
    simulator: Simulator, tiny_zoo: Path, tmp_path: Path
) -> None:
    one = _with_other_records(tiny_zoo, tmp_path / "one", "return", 10.0, slice(1))
    with pytest.raises(ZooError, match="index.parquet: seed 0 of .* scored .*, recorded is"):
        roll_out_again(simulator, one, 5)
    unsolved = _with_other_records(tiny_zoo, tmp_path / "unsolved", "success_at_end", 1.0, slice(1))
    with pytest.raises(ZooError, match="index.parquet: seed 0 of .* scored .*, recorded is"):
        roll_out_again(simulator, unsolved, 5)
    # What one policy's luck would explain, all of them cannot have.
    every = _with_other_records(tiny_zoo, tmp_path / "every", "return", 6.0, slice(None))
    with pytest.raises(
        ZooError, match=r"5 policies scored \{'return': -[56]\..* more than recorded in the mean; use the"
    ):
        roll_out_again(simulator, every, 5)
    roll_out_again(simulator, _with_other_records(tiny_zoo, tmp_path / "near", "return", 2.0, slice(None)), 5)
