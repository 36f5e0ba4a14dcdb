import json
import shutil
from pathlib import Path

import pytest

from nnbench.tasks.integrity import DamagedError
from nnbench.tasks.registry import load_task
from nnbench.tasks.zoo.manifest import SHIPPED, ZooError, list_architectures
from nnbench.tasks.zoo.zoo import Zoo

TASK = "PickCube-v1"


@pytest.mark.parametrize("name", ["ghns.safetensors", "states.safetensors", "index.parquet", "expert.safetensors"])
def test_a_changed_or_missing_file_is_named(tmp_path: Path, name: str) -> None:
    copy = tmp_path / "zoo"
    shutil.copytree(SHIPPED / TASK, copy)
    Zoo.open(TASK, copy)
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(DamagedError, match=f"{name}: missing or changed"):
        Zoo.open(TASK, copy)
    (copy / name).unlink()
    with pytest.raises(DamagedError, match=f"{name}: missing or changed"):
        Zoo.open(TASK, copy)


def test_a_folder_that_is_no_zoo_of_this_task_and_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no zoo of PickCube-v1 here"):
        Zoo.open(TASK, tmp_path)
    copy = tmp_path / "zoo"
    shutil.copytree(SHIPPED / TASK, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    for change, message in (
        ({"task": "PushCube-v1"}, "a zoo of PushCube-v1, expected PickCube-v1"),
        ({"splits_sha256": "0"}, "built for another split"),
        ({"standardiser_sha256": "0"}, "standardised by other constants"),
        ({"files": None}, "not a zoo's manifest"),
        ({"files": {}}, "missing or changed"),
    ):
        (copy / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises((ZooError, DamagedError), match=message):
            Zoo.open(TASK, copy)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(DamagedError, match="manifest.json: not what was written"):
        Zoo.open(TASK, copy)


def test_architectures_are_listed_with_what_is_trained_on(tiny_zoo: Path) -> None:
    listed = list_architectures(tiny_zoo, load_task(TASK))
    assert len(listed) == 81 and listed[0]["valid"] == listed[0]["policies"] == 2 and listed[-1]["valid"] == 0
