"""A whole unit at small scale in the real simulator: racing is exact, a kill loses nothing, equal work is done once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnbench.evaluation import architectures_of, evaluate
from nnbench.protocol import Protocol, Unit
from nnbench.store import Store
from nnbench.tasks.policy import InvalidWeights, PolicyActor, Weights, random_policy
from nnbench.tasks.simulation import Rollout, Simulator
from nnbench.tasks.zoo import Zoo

ARCH = (16, 16, 16, 32)
PROTOCOL = Protocol(samples=8, top=2, selection_episodes=12, screening_episodes=3, test_episodes=4)
UNIT = Unit(protocol=PROTOCOL, task="PickCube-v1", method="mixed", method_sha256="0" * 64, generator_seed=0, arch=ARCH)


class Mixed:
    """Good policies, useless ones, and a copy of the first."""

    def __init__(self, zoo: Zoo) -> None:
        good = list(zoo.hypernetwork_policies(ARCH).values())[:3]
        generator = torch.Generator().manual_seed(0)
        bad = [random_policy(ARCH, 42, 8, generator) for _ in range(4)]
        self.samples: list[Weights] = [*bad[:2], *good, *bad[2:], good[0]]

    def generate(self, arch: tuple[int, ...], n: int, *, seed: int = 0) -> list[Weights]:
        assert (arch, n, seed) == (ARCH, PROTOCOL.samples, 0)
        return self.samples


class CountingSimulator:
    """Passes work to the real simulator, counts its episodes, and fails after a given number of them."""

    def __init__(self, simulator: Simulator, fail_after: int = 10**9) -> None:
        self.simulator, self.workers, self.episodes, self.fail_after = simulator, simulator.workers, 0, fail_after

    def rollout(self, units: Any) -> Any:
        for position, episodes in self.simulator.rollout(units):
            if self.episodes >= self.fail_after:
                raise KeyboardInterrupt
            self.episodes += len(episodes.seeds)
            yield position, episodes


def test_the_race_ends_as_the_full_evaluation_does(simulator: Simulator, zoo: Zoo, tmp_path: Path) -> None:
    mixed, counting = Mixed(zoo), CountingSimulator(simulator)
    evaluate(UNIT, mixed, zoo, counting, Store(tmp_path))  # type: ignore[arg-type]
    rows = Store(tmp_path).rows().to_pylist()

    seeds = np.array(PROTOCOL.selection_seeds)
    full = [
        simulator.episodes([Rollout(PolicyActor.stack([w], np.zeros(len(seeds), int)), seeds)])[0].returns.mean()
        for w in mixed.samples
    ]
    best = sorted(range(8), key=lambda sample: (-full[sample], sample))[:2]
    by_rank = {row["rank"]: row["sample"] for row in rows if row["selected"]}
    assert [by_rank[0], by_rank[1]] == best
    for sample in best:
        mine = [row["return"] for row in rows if row["sample"] == sample and row["stage"] == "selection"]
        assert len(mine) == 12 and np.mean(mine) == pytest.approx(full[sample], rel=1e-6)
    # 7 distinct networks, of which the useless four are out before the end, then two or fewer on the test episodes.
    selection = counting.episodes - 4 * len({row["weights_sha256"] for row in rows if row["selected"]})
    assert 7 * 3 <= selection < 7 * 12
    assert not (tmp_path / "partial").exists() or not any((tmp_path / "partial").iterdir())


def test_a_killed_unit_goes_on_and_ends_the_same(simulator: Simulator, zoo: Zoo, tmp_path: Path) -> None:
    whole, killed = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    counting = CountingSimulator(simulator)
    evaluate(UNIT, Mixed(zoo), zoo, counting, whole)  # type: ignore[arg-type]
    first = CountingSimulator(simulator, fail_after=40)
    with pytest.raises(KeyboardInterrupt):
        evaluate(UNIT, Mixed(zoo), zoo, first, killed)  # type: ignore[arg-type]
    assert not killed.finished(UNIT) and killed.rows().num_rows == 0
    second = CountingSimulator(simulator)
    evaluate(UNIT, Mixed(zoo), zoo, second, killed)  # type: ignore[arg-type]
    assert killed.finished(UNIT)
    assert killed.rows().equals(whole.rows())
    assert first.episodes + second.episodes == counting.episodes


def test_weights_that_are_no_policy_stop_the_unit_and_name_the_sample(
    simulator: Simulator, zoo: Zoo, tmp_path: Path
) -> None:
    mixed = Mixed(zoo)
    mixed.samples[5] = random_policy((16, 16, 16, 64), 42, 8, torch.Generator().manual_seed(0))
    with pytest.raises(InvalidWeights, match="method mixed, sample 5: no policy of architecture 16-16-16-32"):
        evaluate(UNIT, mixed, zoo, simulator, Store(tmp_path))  # type: ignore[arg-type]
    mixed.samples.pop()
    with pytest.raises(ValueError, match=r"generate\(16-16-16-32, 8\) returned 7 networks"):
        evaluate(UNIT, mixed, zoo, simulator, Store(tmp_path))  # type: ignore[arg-type]


def test_unknown_split_is_refused() -> None:
    assert len(architectures_of("unseen")) == 8 and len(architectures_of("outside")) == 9
    with pytest.raises(ValueError, match="unknown split 'unsen': expected one of seen, unseen, outside"):
        architectures_of("unsen")
