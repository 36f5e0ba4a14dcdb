"""The race chooses what the full evaluation chooses, in the same order, with fewer episodes."""

import numpy as np
import pytest

from nnbench.harness.race import Race, Result
from nnbench.protocol import Protocol

PROTOCOL = Protocol(samples=12, top=3, selection_episodes=20, screening_episodes=4, test_episodes=5)


def _returns(seed: int, best: float) -> dict[str, np.ndarray]:
    """Network to its return in each selection episode: networks of different quality, and noise."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(0, best, 9)
    noise = rng.normal(0, 4, (9, PROTOCOL.selection_episodes))
    returns = np.clip(means[:, None] + noise, 0, PROTOCOL.horizon).astype(np.float32)
    return {f"network {i}": values for i, values in enumerate(returns)}


def _run(race: Race, returns: dict[str, np.ndarray]) -> None:
    while episodes := race.next_selection():
        for episode in episodes:
            total = float(returns[episode.network][episode.seed - PROTOCOL.selection_seed_start])
            race.record(episode, Result(total, False, False, False))


@pytest.mark.parametrize("best", [3.0, 25.0, 49.0])
@pytest.mark.parametrize("seed", range(20))
def test_the_top_are_those_of_the_full_evaluation(seed: int, best: float) -> None:
    returns = _returns(seed, best)
    samples = [*returns, "network 4", "network 0", "network 8"]  # some are copies
    raced, full = Race(PROTOCOL, samples), Race(PROTOCOL, samples, full=True)
    _run(raced, returns)
    _run(full, returns)
    means = [float(sum(map(float, returns[network]))) for network in samples]
    assert raced.chosen() == full.chosen() == sorted(range(12), key=lambda sample: (-means[sample], sample))[:3]
    assert full.counts() == {"distinct_networks": 9, "episodes": 9 * 20, "full": 12 * 20}
    assert 9 * 4 <= raced.counts()["episodes"] <= 9 * 20
    for sample in raced.chosen():
        assert [seed for seed, _ in raced.results("selection", sample)] == list(PROTOCOL.selection_seeds)


def test_hopeless_networks_leave_after_the_screening() -> None:
    good = {f"good {i}": np.full(20, 45.0 + i, np.float32) for i in range(3)}
    returns = good | {f"bad {i}": np.full(20, 0.1 * i, np.float32) for i in range(9)}
    race = Race(PROTOCOL, list(returns))
    _run(race, returns)
    assert race.chosen() == [2, 1, 0]
    # 3 * 20 of the good; a bad one is out once it cannot reach 45 on average any more: at most after 4 of 20 episodes.
    assert race.counts()["episodes"] == 3 * 20 + 9 * 4


def test_only_the_chosen_are_tested() -> None:
    returns = _returns(0, 40.0)
    race = Race(PROTOCOL, [*returns, *["network 0"] * 3])
    _run(race, returns)
    tests = race.tests()
    chosen = {race.samples[sample] for sample in race.chosen()}
    assert {test.network for test in tests} == chosen and len(tests) == 5 * len(chosen)
    race.record(tests[0], Result(1.0, True, True, False))
    assert race.tests() == tests[1:]
