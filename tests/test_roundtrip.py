"""Round trips: what is stored is what was rolled out, once, and the table averages only what belongs together."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnbench.analysis.round_trips import average
from nnbench.analysis.scores import TableError
from nnbench.harness.isolation import Isolated
from nnbench.harness.process import MethodError
from nnbench.harness.roundtrip import Reconstruction, measure
from nnbench.presentation.tables.zoo import round_trip_table
from nnbench.presentation.text import render
from nnbench.registry import MethodSource
from nnbench.store.roundtrip import read_roundtrips
from nnbench.tasks.policies.architectures import Architecture, architecture_name
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.registry import TASKS
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.validation import score_policies
from nnbench.tasks.zoo.zoo import Zoo

ARCH = (16, 16, 16, 64)
TASK = "PickCube-v1"


class Halves:
    """Leaves the first policy as it is and halves the others."""

    def __init__(self, zoo: Zoo) -> None:
        self.training, self.calls = zoo.training_set(), 0

    def reconstruct(self, arch: Architecture, ghn_seeds: Sequence[int]) -> list[Weights]:
        self.calls += 1
        networks = self.training.networks(arch)
        first, *others = [networks[seed] for seed in ghn_seeds]
        return [first, *({key: value / 2 for key, value in other.items()} for other in others)]


@pytest.mark.slow
def test_policies_and_what_is_left_of_them_are_rolled_out_once(zoo: Zoo, simulator: Simulator, tmp_path: Path) -> None:
    method = Halves(zoo)
    networks = method.training.networks(ARCH)

    def measured(episodes: int) -> bool:
        asked = Reconstruction(
            method="halves", method_sha256="a" * 64, generator_seed=3, archs=[ARCH], episodes=episodes
        )
        (trip,) = measure(asked, method, zoo, simulator, tmp_path)
        assert (trip.arch, trip.policies) == (ARCH, len(networks))
        return trip.measured

    assert measured(2) and method.calls == 1
    rows = read_roundtrips(tmp_path, TASK)
    assert [row["ghn_seed"] for row in rows] == list(networks)
    assert rows[0]["relative_l2"] == 0 and all(row["relative_l2"] == pytest.approx(0.5) for row in rows[1:])
    assert all(
        rows[0][f"reconstructed_{name}"] == rows[0][name] for name in ("return", "success_once", "success_at_end")
    )
    assert all(row["reconstructed_return"] < row["return"] for row in rows[1:])
    (score,) = score_policies(simulator, [networks[rows[1]["ghn_seed"]]], replace(TASKS[TASK].filter, episodes=2))
    assert rows[1]["return"] == pytest.approx(score["return"], abs=1e-3)
    expected = {"method": "halves", "generator_seed": 3, "episodes": 2, "arch": architecture_name(ARCH)}
    assert all(rows[0][key] == value for key, value in expected.items()) and rows[0]["zoo_sha256"] == zoo.sha256

    assert not measured(2) and method.calls == 1
    assert measured(1) and method.calls == 2 and len(read_roundtrips(tmp_path, TASK)) == 2 * len(rows)


def test_a_method_that_answers_wrongly_is_named(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from nnbench.methods import nearest\n"
        "class Method(nearest.Method):\n"
        "    name = 'mine'\n"
        "    def reconstruct(self, policies, arch):\n"
        "        if len(policies) == 2:\n"
        "            return [{key: value.clone() for key, value in policy.items()} for policy in policies]\n"
        "        policies[0]['0.bias'].zero_()\n"
        "        return policies\n"
    )
    networks = zoo.training_set().networks(ARCH)
    seeds = list(networks)[:3]
    with Isolated(MethodSource.of("mine", [tmp_path / "mine.py"]), tmp_path, (TASK, None, "paper")) as method:
        with pytest.raises(
            MethodError, match=r"^method mine: reconstruct\(3 policies, 16-16-16-64\) wrote into the tra"
        ):
            method.reconstruct(ARCH, seeds)
        again = method.reconstruct(ARCH, seeds[:2])
    assert all(
        (sample[key] == networks[seed][key]).all()
        for seed, sample in zip(seeds[:2], again, strict=True)
        for key in sample
    )


def _rows(arch: str, count: int, **changes: Any) -> list[dict[str, Any]]:
    row = {"task": TASK, "method": "sane", "method_sha256": "a" * 64, "generator_seed": 0, "episodes": 4, "arch": arch}
    scores = {"return": 38.0, "success_at_end": 1.0, "reconstructed_return": 30.0, "relative_l2": 0.2}
    return [row | scores | {"reconstructed_success_at_end": i / count} | changes for i in range(count)]


def test_the_tables_mean_is_over_architectures() -> None:
    rows = _rows("16-16-16-64", 2) + _rows("64-64-64-64", 4, reconstructed_success_at_end=0.0, relative_l2=0.4)
    table = round_trip_table(average(rows, TASK), TASK)
    grid, lines = table.grid, table.lines
    assert grid.rows[0] == ["sane s0", "2 archs", "6", "4", "38.0", "30.0", "100.0", "12.5", "0.300"]
    assert grid.rows[1][1:3] == ["16-16-16-64", "2"] and grid.rows[2][7:] == ["0.0", "0.400"]
    found = {(line.arch, line.metric): line.measured for line in lines}
    assert found[None, "reconstructed_success"] == 0.125 and found["64-64-64-64", "relative_l2"] == pytest.approx(0.4)
    assert max(map(len, render([table], "text", 120).splitlines())) <= 120
    assert round_trip_table([], TASK).grid.rows == [["—"] * 9]


@pytest.mark.parametrize("change", [{"method_sha256": "b" * 64}, {"episodes": 8}])
def test_trainings_and_numbers_of_episodes_never_mix(change: dict[str, Any]) -> None:
    with pytest.raises(
        TableError, match="round trips of sane on PickCube-v1, generator seed 0, are of .* do not averag"
    ):
        average(_rows("16-16-16-64", 2) + _rows("64-64-64-64", 2, **change), TASK)
    assert average(_rows("16-16-16-64", 2) + _rows("16-16-16-64", 2, generator_seed=1, **change), TASK)
