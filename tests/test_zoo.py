import json
import shutil
from pathlib import Path

import pytest
import torch

from nnbench.tasks.architectures import load_splits
from nnbench.tasks.policy import check_weights
from nnbench.tasks.zoo import SHIPPED, HeldOutAccess, Zoo, ZooError

TASK = "PickCube-v1"


def test_training_set_holds_validated_policies_of_every_training_architecture(zoo: Zoo) -> None:
    training = zoo.training_set(reads_ghn=False)
    assert training.architectures == load_splits().train
    for arch in training.architectures:
        networks = training.networks(arch)
        assert networks, arch
        for seed, weights in networks.items():
            check_weights(weights, arch, 42, 8, f"GHN {seed}")
            assert all(torch.equal(weights[key], value) for key, value in zoo.hypernetwork_policies(arch)[seed].items())


@pytest.mark.parametrize("arch", [*load_splits().unseen, *load_splits().outside, (48, 48, 48, 48)])
def test_held_out_networks_are_out_of_reach(zoo: Zoo, arch: tuple[int, ...]) -> None:
    training = zoo.training_set(reads_ghn=False)
    with pytest.raises(HeldOutAccess, match="is no training architecture"):
        training.networks(arch)
    with pytest.raises(HeldOutAccess, match="does not declare it"):
        training.hypernetwork_policies(arch)
    assert set(zoo.training_set(reads_ghn=True).hypernetwork_policies(arch)) == set(zoo.hypernetwork_policies(arch))


def test_policies_that_failed_validation_are_left_out(zoo: Zoo, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    index = pq.read_table(SHIPPED / TASK / "index.parquet").to_pylist()
    failed = [row for row in index if not row["valid"]]
    assert all(row["success_at_end"] < 0.9 or row["return"] < 35 for row in failed)
    assert all(row["success_at_end"] >= 0.9 and row["return"] >= 35 for row in index if row["valid"])
    training = zoo.training_set(reads_ghn=False)
    kept = sum(len(training.networks(arch)) for arch in training.architectures)
    assert kept == len(index) - len(failed)


@pytest.mark.parametrize("name", ["ghns.safetensors", "index.parquet", "expert.safetensors"])
def test_a_changed_or_missing_file_is_named(tmp_path: Path, name: str) -> None:
    copy = tmp_path / "zoo"
    shutil.copytree(SHIPPED / TASK, copy)
    Zoo.open(TASK, copy)
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ZooError, match=f"{name}: missing or changed"):
        Zoo.open(TASK, copy)
    (copy / name).unlink()
    with pytest.raises(ZooError, match=f"{name}: missing or changed"):
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
        ({"files": None}, "not a zoo's manifest"),
    ):
        (copy / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(ZooError, match=message):
            Zoo.open(TASK, copy)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(ZooError, match="not a zoo's manifest"):
        Zoo.open(TASK, copy)
