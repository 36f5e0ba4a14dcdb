"""What `run_units` yields: one outcome per unit, whoever finished it and whatever its method did."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnbench.api import Architecture, Untrained, Weights
from nnbench.harness import evaluation
from nnbench.harness import units as harness_units
from nnbench.harness.trained import Trained
from nnbench.harness.units import run_units
from nnbench.protocol import Protocol, Unit
from nnbench.registry import MethodSource
from nnbench.store.store import Store
from nnbench.tasks.files import write_json
from nnbench.tasks.integrity import seal
from nnbench.tasks.simulation.engine import SimulationError
from nnbench.tasks.zoo.zoo import Zoo

PROTOCOL = Protocol(samples=2, top=1, selection_episodes=2, screening_episodes=1, test_episodes=1)
GOOD = Unit(
    protocol=PROTOCOL,
    task="PickCube-v1",
    method="nearest",
    method_sha256="0" * 64,
    generator_seed=0,
    arch=(16, 16, 16, 32),
)


def untrained(folder: Path) -> Trained:
    """A method that learned nothing, as `nnbench train` leaves it."""
    manifest = {"method": "nearest", "task": GOOD.task, "seed": 0, "files": {}, "parameters": 0, "wall_s": 0.1}
    write_json(folder / "manifest.json", seal(manifest | {"machine": {"processor": "none"}}))
    return Trained("0" * 64, folder)


@pytest.mark.slow
def test_every_unit_has_an_outcome(zoo: Zoo, tmp_path: Path) -> None:
    class Empty(Untrained):
        name = "empty"
        role = "baseline"

        def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
            return []

    sources = {"nearest": MethodSource.of("nearest"), "empty": MethodSource.of(Empty)}
    trained = {name: untrained(tmp_path) for name in sources}
    store = Store(tmp_path / "runs")
    units = [GOOD, replace(GOOD, method="empty"), GOOD]
    done, failed, again = run_units(units, sources, trained, zoo, store, workers=1)

    assert [outcome.unit for outcome in (done, failed, again)] == units
    assert done.counts is not None and done.seconds is not None and done.error is None and not done.elsewhere
    assert done.counts["full"] == 4 and 2 <= done.counts["episodes"] <= 4
    assert done.seconds.keys() == {"generate", "selection", "test", "novelty"}
    assert str(done).startswith(f"nearest 16-16-16-32: {done.counts['episodes']} of 4 selection episodes simulated (")
    assert failed.error is not None and failed.counts is None and failed.seconds is None and not failed.elsewhere
    assert str(failed) == str(failed.error) and "returned 0 networks" in str(failed)
    assert again.elsewhere and str(again) == f"{GOOD.key}: finished meanwhile by another process"

    (manifest,) = store.manifests()
    facts = manifest["facts"]
    assert facts["name"] == "nearest" and facts.keys() == {
        *(
            "name",
            "role",
            "variant_of",
            "reads",
            "reference",
            "seen_only",
            "writes",
            "trains_each",
            "trained_as",
            "version",
        )
    }
    assert manifest["info"]["race"] == done.counts and manifest["info"]["wall_s"] == done.seconds


@pytest.mark.slow
def test_units_measured_together_have_the_rows_of_each_alone(zoo: Zoo, tmp_path: Path) -> None:
    units = [GOOD, replace(GOOD, arch=(16, 32, 16, 32), generator_seed=1)]
    sources, trained = {"nearest": MethodSource.of("nearest")}, {"nearest": untrained(tmp_path)}
    together, alone = Store(tmp_path / "together"), Store(tmp_path / "alone")
    outcomes = list(run_units(units, sources, trained, zoo, together, workers=1))
    assert [outcome.unit for outcome in outcomes] == units and not any(outcome.elsewhere for outcome in outcomes)
    for unit, beside in zip(units, outcomes, strict=True):
        (outcome,) = run_units([unit], sources, trained, zoo, alone, workers=1)
        assert outcome.counts == beside.counts
        assert together.unit_rows(unit).equals(alone.unit_rows(unit))
    assert str(together.policies().to_pylist()) == str(alone.policies().to_pylist())  # NaN is no equal
    assert together.unfinished() == {}


@pytest.mark.slow
def test_what_is_simulated_is_written_although_the_next_unit_breaks_off(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def simulate(unit: Unit, *rest: Any, **named: Any) -> Any:
        if unit.arch != GOOD.arch:
            raise SimulationError("no workers")
        return evaluation.simulate(unit, *rest, **named)

    monkeypatch.setattr(harness_units, "simulate", simulate)
    sources, trained = {"nearest": MethodSource.of("nearest")}, {"nearest": untrained(tmp_path)}
    store, units = Store(tmp_path / "runs"), [GOOD, replace(GOOD, arch=(64, 64, 64, 32))]
    outcomes = run_units(units, sources, trained, zoo, store, workers=1)
    assert next(outcomes).unit == GOOD and store.finished(GOOD)
    with pytest.raises(SimulationError, match="no workers"):
        next(outcomes)


def test_without_units_nothing_is_opened(zoo: Zoo, tmp_path: Path) -> None:
    assert list(run_units([], {}, {}, zoo, Store(tmp_path))) == []
