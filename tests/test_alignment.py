from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from nnbench.tasks.files import write_json
from nnbench.tasks.policies.mlp import GaussianActor, random_policy
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.alignment import (
    SIDES,
    AlignmentConfig,
    compare,
    magnitudes,
    neighbour_correlation,
    summarise,
)
from nnbench.tasks.zoo.expert import load_expert
from nnbench.tasks.zoo.manifest import SHIPPED, ZooError
from nnbench.tasks.zoo.states import LabelledStates

TINY = AlignmentConfig(
    seeds=3, upsample_seeds=2, arch=(64, 64, 64), updates=30, batch=16, ghn_channels=4, side_by_side=2, episodes=2
)


@pytest.fixture(scope="module")
def states() -> LabelledStates:
    observations = torch.randn(300, 42, generator=torch.Generator().manual_seed(0))
    expert = GaussianActor.from_state_dict(load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors"))
    return LabelledStates(observations, torch.from_numpy(expert(observations.numpy()).clip(-1, 1)))


def test_rows_are_written_and_finished_policies_kept(
    simulator: Simulator, states: LabelledStates, tmp_path: Path
) -> None:
    states.save(tmp_path / "pool" / "pool.safetensors")
    write_json(tmp_path / "pool" / "made-with.json", {"standardiser_sha256": simulator.task.standardiser.sha256})
    rows = compare(simulator, tmp_path / "pool", tmp_path / "work", tmp_path / "out", TINY)
    seeds = {"conv1x1": 3, "upsample": 2, "sgd": 3}
    assert [(row["side"], row["seed"]) for row in rows] == [
        (side, seed) for side in SIDES for seed in range(seeds[side])
    ]
    assert pq.read_table(tmp_path / "out" / "alignment" / "PickCube-v1.parquet").to_pylist() == rows
    assert len(rows[0]["magnitudes"]) == 42 + 3 * 64
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    assert compare(simulator, tmp_path / "pool", tmp_path / "work", tmp_path / "out", TINY) == rows
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    assert set(summarise(rows)) == set(SIDES)

    with pytest.raises(ValueError, match="pool.safetensors: no states to learn from; `nnbench zoo build"):
        compare(simulator, tmp_path, tmp_path / "work", tmp_path / "out", TINY)
    states.latest(200).save(tmp_path / "pool" / "pool.safetensors")
    with pytest.raises(ZooError, match="holds work of another"):
        compare(simulator, tmp_path / "pool", tmp_path / "work", tmp_path / "out", TINY)
    write_json(tmp_path / "pool" / "made-with.json", {"standardiser_sha256": "0" * 64})
    with pytest.raises(ValueError, match="pool.safetensors: not known to be standardised as PickCube-v1 is now"):
        compare(simulator, tmp_path / "pool", tmp_path / "fresh", tmp_path / "out", TINY)
    (tmp_path / "pool" / "made-with.json").unlink()
    with pytest.raises(ValueError, match="pool.safetensors: not known to be standardised"):
        compare(simulator, tmp_path / "pool", tmp_path / "fresh", tmp_path / "out", TINY)


def test_neighbours_and_profiles_of_known_weights() -> None:
    policy = random_policy((64, 64, 64), 42, 8, torch.Generator().manual_seed(0))
    assert abs(neighbour_correlation(policy)) < 0.05
    smooth = torch.outer(torch.linspace(-1, 1, 64), torch.linspace(0.5, 1, 64))
    assert neighbour_correlation(policy | {"2.weight": smooth, "4.weight": smooth}) > 0.9
    columns = magnitudes(policy | {"2.weight": torch.tensor([[1.0, -3.0], [1.0, 3.0]])})[1]
    torch.testing.assert_close(columns, torch.tensor([0.5, 1.5]))
