import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from nnbench.tasks.integrity import DamagedError
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import flatten_weights
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.task import Filter
from nnbench.tasks.zoo.build import build_zoo, expert_file
from nnbench.tasks.zoo.manifest import SHIPPED, ZooError
from nnbench.tasks.zoo.presets import DistillationConfig
from nnbench.tasks.zoo.zoo import Zoo

TASK = "PickCube-v1"
EXPERT = SHIPPED / TASK / "expert.safetensors"


@pytest.mark.slow
def test_a_zoo_is_built_from_scratch(tiny_zoo: Path) -> None:
    index = pq.read_table(tiny_zoo / "index.parquet").to_pylist()
    splits = load_splits()
    assert [(row["arch"], row["ghn_seed"]) for row in index] == [
        ("-".join(map(str, arch)), seed) for arch in splits.train + splits.unseen + splits.outside for seed in (0, 1)
    ]
    assert {row["reason"] for row in index if row["partition"] == "train"} == {""}
    assert {row["reason"] for row in index if row["partition"] == "unseen"} == {"held out"}
    assert {row["reason"] for row in index if row["partition"] == "outside"} == {"outside the space"}
    zoo = Zoo.open(TASK, tiny_zoo)
    networks = zoo.training_set().networks(splits.train[0])
    assert set(networks) == {0, 1} and index[0]["parameters"] == flatten_weights(networks[0]).numel()
    states = load_file(tiny_zoo / "states.safetensors")["observations"]
    assert states.shape == (1024, 42) and len(states.unique(dim=0)) == 1024
    bank = zoo.training_set(reads=("weights", "states")).states
    assert bank.shape == (512, 42) and len(bank.unique(dim=0)) == 512


def test_a_zoo_without_a_bank_of_states_says_so_to_those_who_learn_from_states(tiny_zoo: Path, tmp_path: Path) -> None:
    folder = tmp_path / TASK
    shutil.copytree(tiny_zoo, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["bank.safetensors"], manifest["checksum"]  # as earlier versions wrote them
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "bank.safetensors").unlink()
    zoo = Zoo.open(TASK, folder)
    assert zoo.training_set().networks(load_splits().train[0])
    with pytest.raises(DamagedError, match=r"bank\.safetensors: missing or changed: there is no such file; restore it"):
        _ = zoo.training_set(reads=("weights", "states")).states


def test_a_trained_expert_goes_before_the_one_that_ships(tmp_path: Path) -> None:
    assert expert_file(tmp_path, TASK) == EXPERT and EXPERT.exists()
    trained = tmp_path / "expert" / TASK / "expert.safetensors"
    trained.parent.mkdir(parents=True)
    trained.touch()
    assert expert_file(tmp_path, TASK) == trained


@pytest.mark.slow
def test_a_killed_build_goes_on_and_ends_with_the_same_zoo(
    simulator: Simulator, tiny_zoo: Path, tiny_numbers: tuple[DistillationConfig, Filter], tmp_path: Path
) -> None:
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from conftest import LENIENT, TINY
        from nnbench.tasks.registry import load_task
        from nnbench.tasks.simulation.workers import Simulator
        from nnbench.tasks.zoo.build import build_zoo
        if __name__ == "__main__":
            with Simulator(load_task("PickCube-v1"), 1) as simulator:
                build_zoo(simulator, Path({str(EXPERT)!r}), Path("work"), Path("zoo"), [0, 1], TINY, LENIENT)
        """
    )
    for stage in ("work/pool.safetensors", "work/validation-*/64-*.json"):  # after the pool, in the validation
        process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
        while not list(tmp_path.glob(stage)):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    build_zoo(simulator, EXPERT, tmp_path / "work", tmp_path / "zoo", [0, 1], *tiny_numbers)
    for name in ("ghns.safetensors", "expert.safetensors", "index.parquet"):
        assert (tmp_path / "zoo" / name).read_bytes() == (tiny_zoo / name).read_bytes(), name
    # Of barely trained policies that hit the table: in one of 64 episodes PhysX moves a cube 1e-7 m otherwise, which
    # grows until the episode ends.
    again, once = (load_file(folder / "states.safetensors")["observations"] for folder in (tmp_path / "zoo", tiny_zoo))
    other = ~torch.isclose(again, once, atol=1e-5, rtol=1e-4).all(dim=1)
    assert other.float().mean() < 0.05 and (again - once).abs().max() < 1e-3


@pytest.mark.slow
def test_work_of_other_numbers_is_refused(
    simulator: Simulator, tiny_zoo: Path, tiny_numbers: tuple[DistillationConfig, Filter]
) -> None:
    other = replace(tiny_numbers[0], seed=1)
    with pytest.raises(ZooError, match="work: holds work of another expert or with other numbers or code; delete it"):
        build_zoo(simulator, EXPERT, tiny_zoo.parent / "work", tiny_zoo.parent / "zoo", [0, 1], other, tiny_numbers[1])
