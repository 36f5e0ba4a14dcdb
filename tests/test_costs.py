from typing import Any

import pytest

from nnbench.analysis.costs import Costs
from nnbench.analysis.methods import Methods
from nnbench.facts import Facts
from nnbench.store.checkpoints import Budget

TASK = "PickCube-v1"
TRAINER = "distil"
METHODS = Methods({"nnit": Facts(name="nnit"), TRAINER: Facts(name=TRAINER, role="baseline", trains_each=True)})


def _unit(method: str, seconds: float | None, arch: str = "16-16-16-32", seed: int = 0) -> dict[str, Any]:
    """Of 10 networks."""
    unit = {"task": TASK, "method": method, "generator_seed": seed, "arch": arch, "protocol": {"samples": 10}}
    return {"unit": unit, "info": {} if seconds is None else {"wall_s": {"generate": seconds, "test": 99.0}}}


def _budget(seconds: float, seed: int = 0, task: str = TASK) -> Budget:
    return Budget("nnit", task, seed, 1_000 + seed, seconds, {"cpus": 2}, {})


def _costs(*units: dict[str, Any], budgets: tuple[Budget, ...] = (_budget(90.0),)) -> Costs:
    return Costs(units, lambda: budgets, METHODS)


def test_training_pays_off_after_so_many_networks() -> None:
    costs = _costs(_unit("nnit", 5.0), _unit(TRAINER, 10.0), _unit(TRAINER, 30.0, "64-64-64-64"))
    cost = costs.find(TASK, "nnit", [0], ["16-16-16-32"])
    assert (cost.training_s, cost.generation_s, cost.parameters) == (90, 0.5, 1_000)
    assert cost.trainer_s == 2, "the mean over all that it wrote, whatever the row is about"
    assert cost.break_even == 60, "90 s + 60 x 0.5 s = 60 x 2 s"
    assert costs.find(TASK, TRAINER, [0], ["16-16-16-32"]).break_even == 0, "it trains nothing beforehand"


def test_a_row_has_the_seconds_of_its_own_units() -> None:
    units = [_unit("nnit", 1.0), _unit("nnit", 3.0, "64-64-64-64"), _unit("nnit", 50.0, seed=1)]
    costs = _costs(*units, budgets=(_budget(90), _budget(30, seed=1), _budget(7, task="PushCube-v1")))
    both = ["16-16-16-32", "64-64-64-64"]
    assert costs.find(TASK, "nnit", [0], both).generation_s == pytest.approx(0.2)
    assert costs.find(TASK, "nnit", [1], both).generation_s == 5
    assert costs.find(TASK, "nnit", [0], both).training_s == 90
    assert costs.find(TASK, "nnit", [0, 1], both).training_s == 60, "a training per seed"


def test_what_is_not_known_is_not_guessed() -> None:
    slow = _costs(_unit("nnit", 10.0), _unit(TRAINER, 10.0)).find(TASK, "nnit", [0], ["16-16-16-32"])
    assert slow.training_s == 90 and slow.break_even is None, "as slow per network: no number is enough"
    alone = _costs(_unit("nnit", 5.0)).find(TASK, "nnit", [0], ["16-16-16-32"])
    assert alone.generation_s == 0.5 and alone.trainer_s is None and alone.break_even is None
    older = _costs(_unit("nnit", None), _unit("nnit", 5.0, seed=1), _unit(TRAINER, 10.0))
    assert older.find(TASK, "nnit", [0, 1], ["16-16-16-32"]).generation_s is None
    assert older.find(TASK, "nnit", [0, 1], ["16-16-16-32"]).training_s is None, "that of seed 1 is not kept"
    assert older.find(TASK, "nnit", [0], ["16-16-16-32"]).break_even is None


def test_trained_methods_are_looked_up_only_when_asked_for() -> None:
    costs = Costs([_unit("nnit", 5.0)], lambda: pytest.fail("reads every checkpoint"), METHODS)
    assert costs.find(TASK, "nnit", [0], ["16-16-16-32"]).generation_s == 0.5
    assert costs.find(TASK, TRAINER, [0], ["16-16-16-32"]).training_s == 0
