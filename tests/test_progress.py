"""What a run says while it runs."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from nnbench.commands.progress import Progress, describe_unfinished
from nnbench.harness.isolation import MethodError
from nnbench.harness.outcome import Outcome
from nnbench.protocol import PROTOCOLS, Protocol, Unit
from nnbench.tasks.policies.tracks import Track, load_track

ARCHS = ((16, 16, 16, 32), (32, 32, 16, 64))


def _prepared(task: str, missing: dict[str, int], untrained: list[str]) -> Any:
    """What `nnbench.preparing.prepare` returns, as far as `Progress` reads it."""
    return SimpleNamespace(
        zoo=SimpleNamespace(task=SimpleNamespace(name=task)),
        sources={"nearest": None, "nnit": None},
        archs=ARCHS,
        protocol=PROTOCOLS["quick"],
        missing=missing,
        untrained=untrained,
        workers=2,
    )


class _Store:
    def unit_rows(self, unit: Unit) -> pa.Table:
        stages, success = ["selection", "test", "test"], [True, True, False]
        return pa.table({"stage": stages, "success_at_end": success, "return": [1.0, 30.0, 40.0]})


def _outcome(method: str, seconds: float | None, error: MethodError | None = None) -> Outcome:
    fields: dict[str, Any] = {"method_sha256": "ab" * 32, "generator_seed": 0, "arch": ARCHS[0]}
    unit = Unit(protocol=PROTOCOLS["quick"], task="PickCube-v1", method=method, **fields)
    stages = {"generate": 0.0, "selection": 0.0, "test": seconds, "novelty": seconds} if seconds is not None else None
    return Outcome(unit=unit, seconds=stages, error=error)


@pytest.fixture
def work() -> list[Any]:
    return [
        _prepared("PickCube-v1", {"nearest": 1, "nnit": 2}, ["nnit"]),
        _prepared("PushCube-v1", {"nearest": 0, "nnit": 2}, []),
    ]


@pytest.fixture
def progress(work: list[Any]) -> Progress:
    return Progress(work)


def test_it_says_first_what_is_about_to_happen(work: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    Progress(work).announce(work, "unseen")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "5 of 8 units to do: nearest, nnit on PickCube-v1, PushCube-v1, split unseen; protocol quick (top 5 of 50 "
        "samples by 20 episodes, 50 test episodes); training first: nnit on PickCube-v1; 2 workers"
    )


def test_a_unit_is_one_line_with_the_rest_of_the_whole_command(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    store: Any = _Store()
    progress.report(_outcome("nearest", 10), store)
    progress.report(_outcome("nnit", 100), store)
    first, second = capsys.readouterr().err.splitlines()
    stages = "20 s (generate 0, selection 0, test 10, novelty 10)"
    assert first.startswith(f"PickCube-v1  nearest 16-16-16-32: success 50.0 %, return 35.0, {stages}")
    assert first.endswith("1 of 5 done, about 40 s left"), "of nnit nothing is known yet"
    assert second.endswith("2 of 5 done, about 5 min left"), "three more of nnit"


def test_a_failed_unit_is_done_and_the_method_with_its_last_one(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    store: Any = _Store()
    progress.report(_outcome("nearest", None, MethodError("method nearest: no answer")), store)
    assert capsys.readouterr().err.splitlines()[-1] == "nnbench: method nearest: no answer"
    assert progress.method_done("PickCube-v1", "nearest") and not progress.method_done("PickCube-v1", "nnit")
    progress.report(_outcome("nnit", None), store)
    line = capsys.readouterr().err
    assert "finished meanwhile by another process" in line and re.search("2 of 5 done\n", line)
    assert not progress.done


@pytest.mark.parametrize("track", ["paper", "narrow"])
@pytest.mark.parametrize(("done", "said"), [(0, []), (1, ["nearest on PickCube-v1: 1 of 8 architectures"]), (8, [])])
def test_a_method_without_its_mean_is_named_with_where_its_rows_are(
    track: str, done: int, said: list[str], tmp_path: Path
) -> None:
    ours, other = load_track(track), load_track("narrow" if track == "paper" else "paper")

    def manifest(arch: Any, protocol: Protocol = PROTOCOLS["quick"], track: Track = ours) -> dict[str, Any]:
        fields: dict[str, Any] = {"method": "nearest", "method_sha256": "ab" * 32, "generator_seed": 0, "arch": arch}
        fields |= track.unit_fields(arch)
        return {"unit": Unit(protocol=protocol, task="PickCube-v1", **fields).fields}

    unseen = ours.splits.unseen
    manifests = [manifest(arch) for arch in unseen[:done]] + [manifest(unseen[-1], Protocol())]
    manifests += [manifest(arch, track=other) for arch in other.splits.unseen]
    asked = _prepared("PickCube-v1", {}, [])
    asked.seed, asked.store = 0, SimpleNamespace(root=tmp_path, manifests=lambda: manifests)
    asked.zoo.track = ours
    lines = list(describe_unfinished([asked], "unseen"))
    assert [line.split(",")[0] for line in lines] == said
    named = "" if track == "paper" else f" --track {track}"
    assert all(f"`nnbench table 2 --detail --results {tmp_path}{named}` shows them" in line for line in lines)
