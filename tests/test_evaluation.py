"""A whole unit at small scale in the real simulator: racing is exact, a kill loses nothing, equal work is done once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnbench.harness.evaluation import rescore, results_elsewhere, simulate
from nnbench.harness.novelty import Novelty
from nnbench.protocol import Protocol, Unit
from nnbench.store.store import Store
from nnbench.tasks.policies.mlp import PolicyActor, Weights, weights_sha256
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.episodes import Episodes
from nnbench.tasks.simulation.workers import Rollout, Simulator
from nnbench.tasks.zoo.zoo import Zoo

TASK = load_task("PickCube-v1")
ARCH = (16, 16, 16, 32)
PROTOCOL = Protocol(samples=8, top=2, selection_episodes=12, screening_episodes=3, test_episodes=4)
UNIT = Unit(protocol=PROTOCOL, task="PickCube-v1", method="mixed", method_sha256="0" * 64, generator_seed=0, arch=ARCH)


class Mixed:
    """Good policies, useless ones, and a copy of the first."""

    def __init__(self, zoo: Zoo) -> None:
        good = list(zoo.hypernetwork_policies(ARCH).values())[:3]
        bad = [{key: torch.zeros_like(value) for key, value in good[0].items()} for _ in range(4)]
        for i, weights in enumerate(bad):
            weights["8.bias"] += 0.01 * i  # stands still, or almost
        self.samples: list[Weights] = [*bad[:2], *good, *bad[2:], good[0]]

    def generate(self, arch: tuple[int, ...], n: int, *, seed: int = 0) -> list[Weights]:
        assert (arch, n, seed) == (ARCH, PROTOCOL.samples, 0)
        return self.samples


class Replay:
    """Answers with episodes that the real simulator ran. Counts episodes, and fails after a given number of them."""

    workers, task = 2, TASK

    def __init__(self, recorded: dict[Any, tuple[float, bool, bool, bool]], fail_after: int = 10**9) -> None:
        self.recorded, self.episodes, self.fail_after = recorded, 0, fail_after

    def rollout(self, units: Any) -> Any:
        for position, unit in enumerate(units):
            if self.episodes >= self.fail_after:
                raise KeyboardInterrupt
            self.episodes += len(unit.seeds)
            columns = zip(*(self.recorded[key] for key in _keys(unit)), strict=True)
            yield position, Episodes(unit.seeds, *(np.array(column) for column in columns))


def _keys(unit: Rollout) -> list[Any]:
    """Policy and episode of each row."""
    actor = unit.actor
    assert isinstance(actor, PolicyActor)
    return [
        (actor.weights[-1][p].tobytes(), actor.biases[-1][p].tobytes(), seed)
        for p, seed in zip(actor.index, unit.seeds.tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def recorded(simulator: Simulator, zoo: Zoo) -> dict[Any, tuple[float, bool, bool, bool]]:
    seeds = np.array([*PROTOCOL.selection_seeds, *PROTOCOL.test_seeds])
    alone = np.zeros(len(seeds), int)
    units = [Rollout(PolicyActor.stack([w], alone, TASK.standardiser), seeds) for w in Mixed(zoo).samples]
    return {
        key: (float(total), bool(once), bool(at_end), False)
        for unit, run in zip(units, simulator.episodes(units), strict=True)
        for key, total, once, at_end in zip(_keys(unit), run.returns, run.success_once, run.success_at_end, strict=True)
    }


def test_the_race_ends_as_the_full_evaluation_does(recorded: Any, zoo: Zoo, tmp_path: Path) -> None:
    mixed, replay = Mixed(zoo), Replay(recorded)
    simulate(UNIT, mixed, replay, Store(tmp_path)).write(Novelty(zoo), Store(tmp_path))  # type: ignore[arg-type]
    rows = Store(tmp_path).rows().to_pylist()

    seeds = np.array(PROTOCOL.selection_seeds)
    full = []
    for weights in mixed.samples:
        unit = Rollout(PolicyActor.stack([weights], np.zeros(len(seeds), int), TASK.standardiser), seeds)
        full.append(np.mean([recorded[key][0] for key in _keys(unit)]))
    best = sorted(range(8), key=lambda sample: (-full[sample], sample))[:2]
    by_rank = {row["rank"]: row["sample"] for row in rows if row["selected"]}
    assert [by_rank[0], by_rank[1]] == best
    for sample in best:
        mine = [row["return"] for row in rows if row["sample"] == sample and row["stage"] == "selection"]
        assert len(mine) == 12 and np.mean(mine) == pytest.approx(full[sample], rel=1e-6)
    # 7 distinct networks, of which the useless four are out before the end, then two or fewer on the test episodes.
    selection = replay.episodes - 4 * len({row["weights_sha256"] for row in rows if row["selected"]})
    assert 7 * 3 <= selection < 7 * 12
    assert not (tmp_path / "partial").exists() or not any((tmp_path / "partial").iterdir())


def test_the_full_evaluation_chooses_the_same(recorded: Any, zoo: Zoo, tmp_path: Path) -> None:
    raced, full, replay = Store(tmp_path / "raced"), Store(tmp_path / "full"), Replay(recorded)
    simulate(UNIT, Mixed(zoo), Replay(recorded), raced).write(Novelty(zoo), raced)  # type: ignore[arg-type]
    simulate(UNIT, Mixed(zoo), replay, full, full=True).write(Novelty(zoo), full)  # type: ignore[arg-type]
    chosen = [rows.filter(rows["selected"]) for rows in (raced.rows(), full.rows())]
    assert chosen[0].equals(chosen[1])
    distinct = len(set(chosen[1]["weights_sha256"].to_pylist()))
    assert replay.episodes == 7 * 12 + 4 * distinct


def test_episodes_of_an_equal_network_are_taken_from_another_unit(recorded: Any, zoo: Zoo, tmp_path: Path) -> None:
    both, alone, other = Store(tmp_path / "both"), Store(tmp_path / "alone"), replace(UNIT, method="other")
    simulate(other, Mixed(zoo), Replay(recorded), both, full=True).write(Novelty(zoo), both)  # type: ignore[arg-type]
    again, undisturbed = Replay(recorded), Replay(recorded)
    taken = simulate(UNIT, Mixed(zoo), again, both).write(Novelty(zoo), both)  # type: ignore[arg-type]
    whole = simulate(UNIT, Mixed(zoo), undisturbed, alone).write(Novelty(zoo), alone)  # type: ignore[arg-type]
    assert both.unit_rows(UNIT).equals(alone.unit_rows(UNIT)), "no episode more than it would have run itself"
    assert again.episodes == 0 and taken.counts is not None and whole.counts is not None
    assert (taken.counts["episodes"], taken.counts["reused"]) == (0, undisturbed.episodes)
    assert whole.counts["reused"] == 0 and taken.counts["full"] == whole.counts["full"]


def test_a_first_look_shortens_the_whole(recorded: Any, zoo: Zoo, tmp_path: Path) -> None:
    store, alone = Store(tmp_path / "both"), Store(tmp_path / "alone")
    look = replace(UNIT, protocol=replace(PROTOCOL, selection_episodes=5, test_episodes=2, top=1))
    simulate(look, Mixed(zoo), Replay(recorded), store).write(Novelty(zoo), store)  # type: ignore[arg-type]
    shortened, undisturbed = Replay(recorded), Replay(recorded)
    whole = simulate(UNIT, Mixed(zoo), shortened, store).write(Novelty(zoo), store)  # type: ignore[arg-type]
    simulate(UNIT, Mixed(zoo), undisturbed, alone).write(Novelty(zoo), alone)  # type: ignore[arg-type]
    assert store.unit_rows(UNIT).equals(alone.unit_rows(UNIT))
    assert whole.counts is not None and whole.counts["reused"] >= 7 * 3 + 2
    assert shortened.episodes == undisturbed.episodes - whole.counts["reused"]


def test_of_another_architecture_or_horizon_nothing_is_taken(recorded: Any, zoo: Zoo, tmp_path: Path) -> None:
    store, networks = Store(tmp_path), {weights_sha256(sample): sample for sample in Mixed(zoo).samples}
    simulate(UNIT, Mixed(zoo), Replay(recorded), store).write(Novelty(zoo), store)  # type: ignore[arg-type]
    others = {"method": "other"}, {"arch": (64, 64, 64, 64)}, {"protocol": replace(PROTOCOL, horizon=40)}
    found = [len(results_elsewhere(replace(UNIT, **changes), networks, store)) for changes in others]
    assert found[0] > 0 and found[1:] == [0, 0]
    assert results_elsewhere(UNIT, networks, store) == {}, "what it says itself is not another's"
    (tmp_path / f"{UNIT.key}.parquet").write_bytes(b"damaged")
    assert results_elsewhere(replace(UNIT, method="other"), networks, store) == {}


def test_rescoring_changes_only_the_novelty(recorded: Any, zoo: Zoo, tmp_path: Path) -> None:
    store = Store(tmp_path)
    simulate(UNIT, Mixed(zoo), Replay(recorded), store).write(Novelty(zoo), store)  # type: ignore[arg-type]
    rows, policies, before = store.rows(), store.policies(), store.manifests()[0]

    class Elsewhere:
        states, training_set, source_name, track = zoo.states, zoo.training_set, zoo.source_name, zoo.track

        def policies(self, arch: Any) -> dict[int, Weights]:
            return {5: Mixed(zoo).samples[0]}

    rescore(UNIT, Novelty(Elsewhere()), store)  # type: ignore[arg-type]
    assert store.finished(UNIT) and store.unfinished() == {}
    assert set(store.policies()["ghn_seed"].to_pylist()) == {5} and store.rows().equals(rows)
    rescore(UNIT, Novelty(zoo), store)
    assert str(store.policies().to_pylist()) == str(policies.to_pylist())  # NaN, a zero network's cosine, is no equal
    assert store.rows().equals(rows)
    after = store.manifests()[0]
    stated = {name: value for name, value in after.items() if name not in ("rescored", "checksum")}
    assert stated == {name: value for name, value in before.items() if name != "checksum"}
    assert after["rescored"].keys() >= {"machine", "versions", "created"}, "who simulated and who compared"


def test_a_killed_unit_goes_on_and_ends_the_same(recorded: Any, zoo: Zoo, tmp_path: Path) -> None:
    whole, killed = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    undisturbed, first, second = Replay(recorded), Replay(recorded, fail_after=40), Replay(recorded)
    simulate(UNIT, Mixed(zoo), undisturbed, whole).write(Novelty(zoo), whole)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        simulate(UNIT, Mixed(zoo), first, killed).write(Novelty(zoo), killed)  # type: ignore[arg-type]
    assert not killed.finished(UNIT) and killed.rows().num_rows == 0
    simulate(UNIT, Mixed(zoo), second, killed).write(Novelty(zoo), killed)  # type: ignore[arg-type]
    assert killed.finished(UNIT)
    assert killed.rows().equals(whole.rows())
    assert first.episodes + second.episodes == undisturbed.episodes


def test_a_unit_runs_in_the_real_simulator(simulator: Simulator, zoo: Zoo, tmp_path: Path) -> None:
    line = simulate(UNIT, Mixed(zoo), simulator, Store(tmp_path)).write(Novelty(zoo), Store(tmp_path))  # type: ignore[arg-type]
    assert str(line).startswith("mixed 16-16-16-32: ") and Store(tmp_path).finished(UNIT)
    chosen = {row["sample"]: row for row in Store(tmp_path).rows().to_pylist() if row["selected"]}
    assert set(chosen) <= {2, 3, 4, 7}  # a hypernetwork's policy beats one that stands still
    described = {row["sample"]: row for row in Store(tmp_path).policies().to_pylist()}
    assert all(described[sample]["ghn_distance"] == 0 for sample in chosen)
    assert all(described[sample]["ghn_spread"] > 5 for sample in chosen)
    assert described[2]["other_l2"] == 0 == described[7]["other_l2"] < described[3]["other_l2"]  # 7 is a copy of 2
    ranked = sorted(chosen, key=lambda sample: chosen[sample]["rank"])
    assert [described[sample]["top_l2"][place] for place, sample in enumerate(ranked)] == [0, 0]
    assert described[0]["top_l2"] is None


def test_a_method_may_choose_the_architectures(simulator: Simulator, zoo: Zoo, tmp_path: Path) -> None:
    archs = [(16, 16, 16, 32), (64, 32, 16, 64), (16, 16, 16, 32)]

    class Choosing:
        def generate(self, arch: Any, n: int, *, seed: int = 0) -> list[Weights]:
            assert (arch, n) == (None, 3)
            return [zoo.hypernetwork_policies(arch)[seed] for seed, arch in enumerate(archs)]

    protocol = Protocol(samples=3, top=2, selection_episodes=2, screening_episodes=1, test_episodes=2)
    unit = replace(UNIT, arch=None, protocol=protocol)
    outcome = simulate(unit, Choosing(), simulator, Store(tmp_path)).write(Novelty(zoo), Store(tmp_path))
    assert str(outcome).startswith("mixed joint: ")
    described = Store(tmp_path).policies().to_pylist()
    assert [row["arch"] for row in described] == ["16-16-16-32", "64-32-16-64", "16-16-16-32"]
    assert [row["partition"] for row in described] == ["unseen", "train", "unseen"]
    assert all(row["joint"] and row["ghn_distance"] == 0 for row in described)
    assert np.isnan(described[1]["other_l2"]) and described[0]["other_l2"] > 10
