import math

import numpy as np
import pytest

from nnbench.analysis.statistics import Interval, hierarchical_interval, resample, reselected_interval, wilson


def _crossed_success(
    rng: np.random.Generator, archs: int, policies: int, episodes: int, policy_std: float, episode_std: float
) -> list[list[np.ndarray]]:
    """Success of policies of unequal skill on shared episodes of unequal difficulty."""
    difficulty = episode_std * rng.standard_normal(episodes)
    skill = 1 + policy_std * rng.standard_normal((archs, policies))
    logits = skill[:, :, None] - difficulty
    return [list(table) for table in rng.random(logits.shape) < 1 / (1 + np.exp(-logits))]


@pytest.mark.parametrize(("policy_std", "episode_std"), [(1.0, 0.0), (0.0, 2.0), (0.7, 1.5)])
def test_interval_covers_the_true_mean(policy_std: float, episode_std: float) -> None:
    rng = np.random.default_rng(1)
    truth = np.mean([np.mean(_crossed_success(rng, 8, 10, 200, policy_std, episode_std)) for _ in range(1500)])
    covered = 0
    for _ in range(200):
        groups = _crossed_success(rng, 3, 10, 60, policy_std, episode_std)
        interval = hierarchical_interval([groups], replicates=300)
        covered += interval.low <= truth <= interval.high
    assert covered >= 0.89 * 200  # 95% promised; ten policies give a bootstrap a little less


def test_shared_episodes_widen_the_interval() -> None:
    # Policies that all fail on the same hard episodes tell no more about episodes than one of them does.
    hard = np.arange(100) % 2 == 0
    same = [[hard] * 10] * 8
    interval = hierarchical_interval([same])
    assert interval.mean == 0.5
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.05, rel=0.15)


def test_duplicates_are_one_network() -> None:
    rng = np.random.default_rng(0)
    networks = [rng.random(50) < skill for skill in (0.2, 0.5, 0.6, 0.95)]
    twice = networks * 5
    labels = ["a", "b", "c", "d"] * 5
    single = hierarchical_interval([[networks]])
    clustered = hierarchical_interval([[twice]], [[labels]])
    naive = hierarchical_interval([[twice]])
    assert clustered == pytest.approx(single)
    assert clustered.high - clustered.low > 1.3 * (naive.high - naive.low)


def test_duplicates_keep_their_weight() -> None:
    interval = hierarchical_interval([[[np.ones(10), np.ones(10), np.ones(10), np.zeros(10)]]], [[[1, 1, 1, 2]]])
    assert interval.mean == 0.75
    assert interval.low == 0 and interval.high == 1  # either network may be drawn alone


def test_architectures_weigh_equally_and_are_not_drawn() -> None:
    low, high = [np.zeros(40)] * 2, [np.full(40, 10.0)] * 6
    assert hierarchical_interval([[low, high]]) == Interval(5.0, 5.0, 5.0)


@pytest.mark.parametrize("value", [False, True])
def test_equal_outcomes_do_not_claim_certainty(value: bool) -> None:
    interval = hierarchical_interval([[[np.full(200, value)] * 10] * 8])
    outer = wilson(200 * value, 200)  # 200 distinct episodes, not 16,000
    assert interval == Interval(float(value), outer.low, outer.high)
    assert 0.015 < interval.high - interval.low < 0.03


def test_a_single_policy_has_the_interval_of_its_episodes() -> None:
    success = np.arange(200) < 150
    interval = hierarchical_interval([[[success]]])
    outer = wilson(150, 200)
    assert interval.low == pytest.approx(outer.low, abs=0.01)
    assert interval.high == pytest.approx(outer.high, abs=0.01)


def test_interval_is_repeatable_and_narrows_with_the_level() -> None:
    groups = _crossed_success(np.random.default_rng(3), 4, 10, 50, 1.0, 1.0)
    wide = hierarchical_interval([groups])
    assert hierarchical_interval([groups]) == wide
    assert hierarchical_interval([groups], seed=1) != wide
    narrow = hierarchical_interval([groups], level=0.5)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_generators_are_drawn_where_there_are_several() -> None:
    rng = np.random.default_rng(5)
    luck = rng.normal(0, 1.0, 12)
    groups = [[[own + rng.normal(0, 0.1, 50) for _ in range(4)]] for own in luck]
    interval = hierarchical_interval(groups)
    assert interval.mean == pytest.approx(luck.mean(), abs=0.05)
    expected = 2 * 1.96 * luck.std() / 12**0.5
    assert interval.high - interval.low == pytest.approx(expected, rel=0.15)
    together = hierarchical_interval([[policies for group in groups for policies in group]])
    assert together.high - together.low < 0.3 * expected  # as architectures they would not be drawn


def _two_methods(rng: np.random.Generator, policy_std: float) -> list[list[list[np.ndarray]]]:
    """Success of two methods' policies, the second a little less skilled, on the same episodes."""
    difficulty = 2.0 * rng.standard_normal(60)
    skill = np.array([1.2, 0.8])[:, None, None, None] + policy_std * rng.standard_normal((2, 3, 10, 1))
    logits = skill - difficulty
    return [[list(table) for table in method] for method in rng.random(logits.shape) < 1 / (1 + np.exp(-logits))]


@pytest.mark.parametrize("policy_std", [0.0, 1.0])
def test_the_interval_of_a_difference_covers_it(policy_std: float) -> None:
    rng = np.random.default_rng(6)
    both = [np.mean(_two_methods(rng, policy_std), axis=(1, 2, 3)) for _ in range(1500)]
    truth = np.mean([ours - theirs for ours, theirs in both])
    covered, widths = 0, []
    for _ in range(200):
        ours, theirs = (
            resample([method], replicates=300, stream=stream)
            for stream, method in enumerate(_two_methods(rng, policy_std), 1)
        )
        interval = ours.minus(theirs)
        covered += interval.low <= truth <= interval.high
        unpaired = [one.interval().high - one.interval().low for one in (ours, theirs)]
        widths.append((interval.high - interval.low) / math.hypot(*unpaired))
    assert covered >= 0.89 * 200  # as above
    assert np.median(widths) < (0.6 if policy_std == 0 else 0.95)  # hard episodes are hard for both


def test_policies_of_two_methods_are_drawn_apart() -> None:
    policies = [np.full(30, value) for value in (0.1, 0.9) * 5]
    first, second = (resample([[policies]], stream=stream) for stream in (1, 2))
    assert first.minus(first).high == 0 and abs(np.corrcoef(first.replicates, second.replicates)[0, 1]) < 0.1
    assert first.minus(second).high > 0.2


def test_two_methods_that_never_fail_are_not_certainly_equal() -> None:
    always, often = np.ones(50), np.arange(50) > 0
    lowest = wilson(50, 50).low
    first, second, third = (
        resample([[[successes] * 3]], stream=stream) for stream, successes in enumerate((always, always, often), 1)
    )
    assert first.minus(second) == Interval(0.0, lowest - 1, 1 - lowest)
    assert first.minus(third).low <= lowest - third.mean and first.minus(third).high >= 0.02


def _selected(rng: np.random.Generator, skills: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns and success of samples of these skills on 30 episodes."""
    returns = skills[:, None] + rng.normal(0, 1.0, (len(skills), 30)) + rng.normal(0, 0.5, 30)
    return returns, returns > 0.5


def test_the_interval_of_the_chosen_covers_the_procedure() -> None:
    rng = np.random.default_rng(2)

    def score() -> float:
        returns, success = _selected(rng, rng.normal(0, 1.0, 40))
        return float(success[np.argsort(-returns.mean(axis=1))[:5]].mean())

    truth = np.mean([score() for _ in range(3000)])
    covered = 0
    for _ in range(200):
        interval = reselected_interval([[_selected(rng, rng.normal(0, 1.0, 40))]], 5, replicates=300)
        covered += bool(interval.low <= truth <= interval.high)
    assert covered >= 0.85 * 200  # 95% promised; the best of redrawn samples are a little better than the best


def test_the_luck_of_the_chosen_is_in_their_interval() -> None:
    rng = np.random.default_rng(4)
    equal = _selected(rng, np.zeros(100))  # all alike: who is chosen is luck alone
    interval = reselected_interval([[equal]], 10)
    best = np.argsort(-equal[0].mean(axis=1))[:10]
    fixed = hierarchical_interval([[list(equal[1][best])]])
    assert interval.mean == pytest.approx(fixed.mean)
    assert interval.low > fixed.low  # every replicate finds lucky ones again


@pytest.mark.parametrize(
    ("groups", "clusters", "message"),
    [
        ([], None, "at least one generator"),
        ([[[np.ones(3)], []]], None, "one policy of each"),
        ([[[np.ones(3), np.ones(4)]]], None, r"\[3, 4\] episodes"),
        ([[[np.ones(0)]]], None, "1 or more"),
        ([[[np.array([1.0, np.nan])]]], None, "NaN"),
        ([[[np.ones(3)]]], [[["a", "b"]]], "one cluster label per policy"),
    ],
)
def test_unusable_values_are_refused(
    groups: list[list[list[np.ndarray]]], clusters: list[list[list[str]]] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        hierarchical_interval(groups, clusters)


def test_wilson_agrees_with_published_values() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3
    for successes, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        interval = wilson(successes, n)
        assert interval == pytest.approx((successes / n, low, high), abs=5e-5)
    assert wilson(29, 29).high == 1 and wilson(29, 29).low == pytest.approx(0.8830, abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
        wilson(successes, n)
