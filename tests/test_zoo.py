import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from nnbench.tasks.files import file_sha256
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import check_weights, flatten_weights
from nnbench.tasks.policies.training_set import HeldOutAccess
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.task import Filter
from nnbench.tasks.zoo.build import build_zoo, expert_file
from nnbench.tasks.zoo.ghn import GHNConfig
from nnbench.tasks.zoo.manifest import SHIPPED, ZooError, list_architectures
from nnbench.tasks.zoo.presets import DaggerConfig, DistillationConfig, PoolConfig
from nnbench.tasks.zoo.validation import keep_best, roll_out_again
from nnbench.tasks.zoo.zoo import Zoo

TASK = "PickCube-v1"
EXPERT = SHIPPED / TASK / "expert.safetensors"
TINY = DistillationConfig(
    dagger=DaggerConfig(iterations=1, episodes=10, updates=2, batch=8),
    pool=PoolConfig(episodes=9, updates=4, batch=8, architectures=4),
    ghn=GHNConfig(channels=16),
)
LENIENT = Filter(min_return=0.0, min_success=0.0, episodes=1)


def test_training_set_holds_validated_policies_of_every_training_architecture(zoo: Zoo) -> None:
    training = zoo.training_set()
    assert training.architectures == load_splits().train
    for arch in training.architectures:
        networks = training.networks(arch)
        assert networks, arch
        for seed, weights in networks.items():
            check_weights(weights, arch, 42, 8, f"GHN {seed}")
            assert all(torch.equal(weights[key], value) for key, value in zoo.hypernetwork_policies(arch)[seed].items())


@pytest.mark.parametrize("arch", [*load_splits().unseen, *load_splits().outside, (48, 48, 48, 48)])
def test_held_out_networks_are_out_of_reach(zoo: Zoo, arch: tuple[int, ...]) -> None:
    training = zoo.training_set()
    with pytest.raises(HeldOutAccess, match="is no training architecture"):
        training.networks(arch)
    with pytest.raises(HeldOutAccess, match="does not declare it"):
        training.hypernetwork_policies(arch)
    declared = zoo.training_set(reads=("hypernetworks",))
    assert set(declared.hypernetwork_policies(arch)) == set(zoo.hypernetwork_policies(arch))


def test_policies_that_failed_validation_are_left_out(zoo: Zoo, tmp_path: Path) -> None:
    index = [row for row in pq.read_table(SHIPPED / TASK / "index.parquet").to_pylist() if row["partition"] == "train"]
    failed = [row for row in index if not row["valid"]]
    assert all(row["success_at_end"] < 0.9 or row["return"] < 35 for row in failed)
    assert all(row["success_at_end"] >= 0.9 and row["return"] >= 35 for row in index if row["valid"])
    training = zoo.training_set()
    kept = sum(len(training.networks(arch)) for arch in training.architectures)
    assert kept == len(index) - len(failed)


@pytest.mark.parametrize("name", ["ghns.safetensors", "states.safetensors", "index.parquet", "expert.safetensors"])
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
        ({"standardiser_sha256": "0"}, "standardised by other constants"),
        ({"files": None}, "not a zoo's manifest"),
        ({"files": {}}, "missing or changed since the zoo was built"),
    ):
        (copy / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(ZooError, match=message):
            Zoo.open(TASK, copy)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(ZooError, match="not a zoo's manifest"):
        Zoo.open(TASK, copy)


@pytest.fixture(scope="module")
def tiny(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    build_zoo(simulator, EXPERT, folder / "work", folder / "zoo", [0, 1], TINY, LENIENT)
    return folder / "zoo"


def test_a_zoo_is_built_from_scratch(tiny: Path) -> None:
    index = pq.read_table(tiny / "index.parquet").to_pylist()
    splits = load_splits()
    assert [(row["arch"], row["ghn_seed"]) for row in index] == [
        ("-".join(map(str, arch)), seed) for arch in splits.train + splits.unseen + splits.outside for seed in (0, 1)
    ]
    assert {row["reason"] for row in index if row["partition"] == "train"} == {""}
    assert {row["reason"] for row in index if row["partition"] == "unseen"} == {"held out"}
    assert {row["reason"] for row in index if row["partition"] == "outside"} == {"outside the space"}
    zoo = Zoo.open(TASK, tiny)
    networks = zoo.training_set().networks(splits.train[0])
    assert set(networks) == {0, 1} and index[0]["parameters"] == flatten_weights(networks[0]).numel()
    states = load_file(tiny / "states.safetensors")["observations"]
    assert states.shape == (1024, 42) and len(states.unique(dim=0)) == 1024
    listed = list_architectures(tiny, TASK)
    assert len(listed) == 81 and listed[0]["valid"] == listed[0]["policies"] == 2 and listed[-1]["valid"] == 0


def _with_other_records(tiny: Path, copy: Path, name: str, change: float, rows: slice) -> Path:
    """A copy of the zoo whose index, and the hash of it, were changed."""
    shutil.copytree(tiny, copy)
    index = pq.read_table(tiny / "index.parquet").to_pylist()
    for row in index[rows]:
        row[name] += change
    pq.write_table(pa.Table.from_pylist(index), copy / "index.parquet")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["index.parquet"] = file_sha256(copy / "index.parquet")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_policies_roll_out_again_to_their_records(simulator: Simulator, tiny: Path) -> None:
    again = roll_out_again(simulator, tiny, 5)
    assert again.policies == again.exact == 5  # rolled out on the machine that recorded them
    assert again.return_difference < 1e-4 and again.success_difference == 0
    assert abs(again.return_mean) < 1e-4 and again.success_mean == 0


def test_a_record_that_no_rounding_error_explains_is_refused(simulator: Simulator, tiny: Path, tmp_path: Path) -> None:
    one = _with_other_records(tiny, tmp_path / "one", "return", 10.0, slice(1))
    with pytest.raises(ZooError, match="index.parquet: GHN 0 on .* scored .*, recorded is"):
        roll_out_again(simulator, one, 5)
    unsolved = _with_other_records(tiny, tmp_path / "unsolved", "success_at_end", 1.0, slice(1))
    with pytest.raises(ZooError, match="index.parquet: GHN 0 on .* scored .*, recorded is"):
        roll_out_again(simulator, unsolved, 5)
    # What one policy's luck would explain, all of them cannot have.
    every = _with_other_records(tiny, tmp_path / "every", "return", 6.0, slice(None))
    with pytest.raises(
        ZooError, match=r"5 policies scored \{'return': -[56]\..* more than recorded in the mean; use the"
    ):
        roll_out_again(simulator, every, 5)
    roll_out_again(simulator, _with_other_records(tiny, tmp_path / "near", "return", 2.0, slice(None)), 5)


def test_a_trained_expert_goes_before_the_one_that_ships(tmp_path: Path) -> None:
    assert expert_file(tmp_path, TASK) == EXPERT and EXPERT.exists()
    trained = tmp_path / "expert" / TASK / "expert.safetensors"
    trained.parent.mkdir(parents=True)
    trained.touch()
    assert expert_file(tmp_path, TASK) == trained


def test_training_weights_are_scaled_to_one_spread(tiny: Path) -> None:
    training = Zoo.open(TASK, tiny).training_set()
    weights = [flatten_weights(w) for arch in training.architectures for w in training.networks(arch).values()]
    assert float((torch.cat(weights) * training.scale).std()) == pytest.approx(0.538, rel=1e-5)


def test_a_killed_build_goes_on_and_ends_with_the_same_zoo(simulator: Simulator, tiny: Path, tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from nnbench.tasks.simulation.workers import Simulator
        from nnbench.tasks.registry import load_task
        from test_zoo import EXPERT, LENIENT, TASK, TINY, build_zoo
        if __name__ == "__main__":
            with Simulator(load_task(TASK), 1) as simulator:
                build_zoo(simulator, EXPERT, Path("work"), Path("zoo"), [0, 1], TINY, LENIENT)
        """
    )
    for stage in ("work/pool.safetensors", "work/validation-*/64-*.json"):  # after the pool, in the validation
        process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
        while not list(tmp_path.glob(stage)):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    build_zoo(simulator, EXPERT, tmp_path / "work", tmp_path / "zoo", [0, 1], TINY, LENIENT)
    for name in ("ghns.safetensors", "expert.safetensors", "index.parquet"):
        assert (tmp_path / "zoo" / name).read_bytes() == (tiny / name).read_bytes(), name
    # Of barely trained policies that hit the table: PhysX moved a cube 1e-7 m otherwise in one of 64 episodes.
    states = [load_file(folder / "states.safetensors")["observations"] for folder in (tmp_path / "zoo", tiny)]
    torch.testing.assert_close(*states, atol=1e-5, rtol=1e-4)


def test_work_of_other_numbers_is_refused(simulator: Simulator, tiny: Path) -> None:
    other = replace(TINY, seed=1)
    with pytest.raises(ZooError, match="work: holds work of another expert or with other numbers; delete it"):
        build_zoo(simulator, EXPERT, tiny.parent / "work", tiny.parent / "zoo", [0, 1], other, LENIENT)


def test_the_filter_keeps_the_best_and_says_why_not_the_others() -> None:
    def row(seed: int, total: float, success: float, partition: str = "train") -> dict[str, Any]:
        return {"arch": "a", "ghn_seed": seed, "return": total, "success_at_end": success, "partition": partition}

    rows = [
        row(0, 36, 0.95),
        row(1, 39, 0.85),
        row(2, 34.99, 1),
        row(3, 38, 0.9),
        row(4, 37, 1),
        row(5, 40, 1, "unseen"),
    ]
    judged = keep_best(rows, Filter(best=2))
    assert [row["reason"] for row in judged] == [
        "not among the best 2",
        "success 0.850 < 0.9",
        "return 34.99 < 35",
        "",
        "",
        "held out",
    ]
    assert [row["valid"] for row in judged] == [False, False, False, True, True, False]
