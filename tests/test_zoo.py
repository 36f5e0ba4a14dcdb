from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import check_weights, flatten_weights
from nnbench.tasks.policies.training_set import HeldOutAccess
from nnbench.tasks.zoo.manifest import SHIPPED
from nnbench.tasks.zoo.zoo import Zoo

TASK = "PickCube-v1"


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


def test_policies_that_failed_validation_are_left_out(zoo: Zoo) -> None:
    index = [row for row in pq.read_table(SHIPPED / TASK / "index.parquet").to_pylist() if row["partition"] == "train"]
    failed = [row for row in index if not row["valid"]]
    assert all(row["success_at_end"] < 0.9 or row["return"] < 35 for row in failed)
    assert all(row["success_at_end"] >= 0.9 and row["return"] >= 35 for row in index if row["valid"])
    training = zoo.training_set()
    kept = sum(len(training.networks(arch)) for arch in training.architectures)
    assert kept == len(index) - len(failed)


@pytest.mark.slow
def test_training_weights_are_scaled_to_one_spread(tiny_zoo: Path) -> None:
    training = Zoo.open(TASK, tiny_zoo).training_set()
    weights = [flatten_weights(w) for arch in training.architectures for w in training.networks(arch).values()]
    assert float((torch.cat(weights) * training.scale).std()) == pytest.approx(0.538, rel=1e-5)
