import math

import pytest
import torch

from nnbench.metrics import nearest_policies, nearest_policy
from nnbench.tasks.policy import Weights, flatten_weights, random_policy


def _policy(seed: int, arch: tuple[int, ...] = (8, 4)) -> Weights:
    return random_policy(arch, 5, 3, torch.Generator().manual_seed(seed))


def _moved(policy: Weights, distance: float) -> Weights:
    step = distance / math.sqrt(len(flatten_weights(policy)))
    return {key: value + step for key, value in policy.items()}


def test_nearest_is_found_with_its_distance() -> None:
    candidates = {seed: _policy(seed) for seed in (11, 5, 42)}
    found = nearest_policy(_moved(candidates[42], 0.25), candidates)
    assert found.seed == 42
    assert found.distance == pytest.approx(0.25, rel=1e-4)


def test_a_copy_is_at_distance_zero() -> None:
    candidates = {seed: _policy(seed, (64, 64)) for seed in range(4)}
    assert nearest_policy({key: value.clone() for key, value in candidates[3].items()}, candidates) == (3, 0.0)


def test_batch_agrees_with_plain_arithmetic() -> None:
    candidates = {seed: _policy(seed) for seed in range(20)}
    samples = [_policy(100 + s) for s in range(7)]
    for sample, found in zip(samples, nearest_policies(samples, candidates), strict=True):
        distances = {
            seed: float((flatten_weights(sample).double() - flatten_weights(other).double()).norm())
            for seed, other in candidates.items()
        }
        assert found.seed == min(distances, key=lambda seed: distances[seed])
        assert found.distance == pytest.approx(distances[found.seed], rel=1e-5)
    assert nearest_policies([], candidates) == []


def test_equally_near_candidates_name_the_lowest_seed() -> None:
    twin = _policy(0)
    assert nearest_policy(_policy(1), {9: twin, 2: twin}).seed == 2


def test_unusable_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match="no candidates"):
        nearest_policy(_policy(0), {})
    with pytest.raises(ValueError, match="expected policies of one architecture"):
        nearest_policy(_policy(0), {0: _policy(0, (8, 8))})
    with pytest.raises(ValueError, match="expected one architecture"):
        nearest_policy(_policy(0), {0: _policy(0), 1: _policy(0, (8, 8))})
