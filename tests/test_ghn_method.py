"""The source `ghn` hands out every hypernetwork's policy equally often, in an order of its own seed."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nnbench.methods.ghn import Method
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import Weights, check_weights, random_policy

ARCH = (16, 32, 16, 32)
SEEDS = (3, 5, 8)


def hypernetwork_policies(arch: Architecture) -> dict[int, Weights]:
    return {seed: random_policy(arch, 42, 8, torch.Generator().manual_seed(seed)) for seed in SEEDS}


def ghn_seeds(samples: list[Weights]) -> list[int]:
    """Which hypernetwork wrote each sample."""
    policies = hypernetwork_policies(ARCH)
    return [
        next(seed for seed in SEEDS if all(torch.equal(sample[key], policies[seed][key]) for key in sample))
        for sample in samples
    ]


@pytest.fixture
def method(tmp_path: Path) -> Method:
    training: Any = SimpleNamespace(hypernetwork_policies=hypernetwork_policies)
    Method.fit(training, seed=0, directory=tmp_path).save(tmp_path)
    return Method.load(tmp_path, training)


@pytest.mark.parametrize("n", [0, 1, 3, 7, 9])
def test_every_hypernetwork_writes_its_share(method: Method, n: int) -> None:
    samples = method.generate(ARCH, n)
    assert len(samples) == n
    counts = Counter(ghn_seeds(samples))
    assert {counts[seed] for seed in SEEDS} <= {n // 3, -(-n // 3)}
    for sample in samples:
        check_weights(sample, ARCH, 42, 8, "ghn")


def test_the_order_is_the_seeds_and_every_round_holds_all(method: Method) -> None:
    order = ghn_seeds(method.generate(ARCH, 30, seed=1))
    assert order == ghn_seeds(method.generate(ARCH, 30, seed=1))
    assert order != ghn_seeds(method.generate(ARCH, 30, seed=2))
    assert all(sorted(order[i : i + 3]) == list(SEEDS) for i in range(0, 30, 3))
    assert len({tuple(order[i : i + 3]) for i in range(0, 30, 3)}) > 1


def test_repeated_samples_share_no_memory(method: Method) -> None:
    samples = method.generate(ARCH, 4)
    samples[3]["0.weight"].zero_()
    assert all(sample["0.weight"].any() for sample in samples[:3])


def test_leaves_no_files(method: Method, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
