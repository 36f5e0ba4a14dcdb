"""Worker processes: equal results however work is cut, and what a person meets when a rollout goes wrong."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnbench.tasks.policies.mlp import PolicyActor, random_policy
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation import workers as simulation
from nnbench.tasks.simulation.engine import SimulationError
from nnbench.tasks.simulation.workers import Rollout, Simulator
from nnbench.tasks.zoo.zoo import Zoo

TASK = load_task("PickCube-v1")


def test_results_do_not_depend_on_how_work_is_cut(simulator: Simulator, zoo: Zoo) -> None:
    policies = [zoo.hypernetwork_policies(arch)[0] for arch in [(16, 32, 16, 64), (64, 64, 64, 64)]]
    seeds = np.arange(20)
    whole = simulator.episodes([Rollout(PolicyActor.stack(policies, seeds % 2, TASK.standardiser), seeds)])[0]
    cuts = np.split(seeds, [5, 8, 9])
    parts = simulator.episodes([Rollout(PolicyActor.stack(policies, cut % 2, TASK.standardiser), cut) for cut in cuts])
    np.testing.assert_array_equal(np.concatenate([part.returns for part in parts]), whole.returns)
    assert len(set(whole.returns.tolist())) > 10


def test_a_policy_that_diverges_fails_its_own_episodes_alone(simulator: Simulator, zoo: Zoo) -> None:
    arch, task = (16, 16, 16, 64), simulator.task
    good = next(iter(zoo.training_set().networks(arch).values()))
    wild = {key: torch.full_like(value, 1e30) for key, value in good.items()}
    index, seeds = np.array([0, 1, 0, 1]), np.array([41, 41, 42, 42])
    actor = PolicyActor.stack([good, wild], index, task.standardiser)
    (mixed,) = simulator.episodes([Rollout(actor, seeds)])
    assert mixed.diverged.tolist() == [False, True, False, True]
    assert (mixed.returns[mixed.diverged] == 0).all() and not mixed.success_once[mixed.diverged].any()
    alone = PolicyActor.stack([good], np.array([0, 0]), task.standardiser)
    (expected,) = simulator.episodes([Rollout(alone, np.array([41, 42]))])
    assert np.array_equal(mixed.returns[~mixed.diverged], expected.returns)
    with pytest.raises(SimulationError, match=r"episode seed 41, step 0: the policy's action is not finite"):
        simulator.episodes([Rollout(actor, seeds, record=True)])


@pytest.mark.parametrize(
    ("inputs", "outputs", "error", "message"),
    [
        (
            35,
            8,
            ValueError,
            "the policies read 35 numbers, the task's observation has 42; are they policies of another",
        ),
        (42, 7, SimulationError, r"PickCube-v1: the policy's actions have shape \(1, 7\), expected \(1, 8\)"),
    ],
)
def test_policies_of_another_task_are_refused(
    simulator: Simulator, inputs: int, outputs: int, error: type[Exception], message: str
) -> None:
    policy = random_policy((16, 16, 16, 32), inputs, outputs, torch.Generator().manual_seed(0))
    with pytest.raises(error, match=message):
        simulator.episodes([Rollout(PolicyActor.stack([policy], np.zeros(1, int), None), np.array([41]))])


@pytest.mark.parametrize("count", [0, 26])
def test_units_of_impossible_size_are_refused(simulator: Simulator, count: int) -> None:
    policy = random_policy((16, 16, 16, 32), 42, 8, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=f"a rollout of {count} episodes: expected 1 to 25"):
        simulator.episodes([Rollout(PolicyActor.stack([policy], np.zeros(count, int), None), np.arange(count))])


def test_unknown_task_and_no_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown task 'PickCub': expected one of PickCube-v1"):
        load_task("PickCub")
    with pytest.raises(ValueError, match="workers=0: expected at least 1"):
        Simulator(TASK, workers=0)


@pytest.fixture
def bad_actors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of actors that end or stop their worker process; the workers find it on the path they inherit."""
    (tmp_path / "bad_actors.py").write_text(
        textwrap.dedent(
            """
            import os, time
            from pathlib import Path
            import numpy as np

            class Dies:
                def __init__(self, times, folder):
                    self.times, self.folder = times, Path(folder)
                def __call__(self, observations):
                    died = len(list(self.folder.glob("death-*")))
                    if died < self.times:
                        (self.folder / f"death-{died}").touch()
                        os._exit(7)
                    return np.zeros((len(observations), 8), np.float32)

            class Hangs:
                def __call__(self, observations):
                    time.sleep(3600)
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    import bad_actors  # type: ignore[import-not-found]

    return bad_actors


def test_a_lost_worker_is_replaced_and_its_unit_done_once_more(bad_actors: Any, tmp_path: Path) -> None:
    harmless = Rollout(bad_actors.Dies(0, tmp_path), np.arange(3))
    with Simulator(TASK, 2) as simulator:
        expected = simulator.episodes([harmless])[0]
        units = [harmless, Rollout(bad_actors.Dies(1, tmp_path), np.arange(3)), harmless, harmless]
        for episodes in simulator.episodes(units):
            np.testing.assert_array_equal(episodes.returns, expected.returns)
    assert len(list(tmp_path.glob("death-*"))) == 1


def test_workers_that_die_over_no_unit_are_replaced(zoo: Zoo) -> None:
    policy = zoo.hypernetwork_policies((16, 16, 16, 32))[0]
    unit = Rollout(PolicyActor.stack([policy], np.zeros(3, int), TASK.standardiser), np.arange(3))
    with Simulator(TASK, 1) as simulator:
        (expected,) = simulator.episodes([unit])
        for worker in multiprocessing.active_children():
            os.kill(worker.pid or 0, signal.SIGKILL)
        time.sleep(1)  # pebble notices
        (again,) = simulator.episodes([unit])
    np.testing.assert_array_equal(again.returns, expected.returns)


def test_workers_that_cannot_start_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = random_policy((16, 16, 16, 32), 42, 8, torch.Generator())
    unit = Rollout(PolicyActor.stack([policy], np.zeros(3, int), None), np.arange(3))
    monkeypatch.setattr(simulation, "_start_worker", os.abort)  # which takes no argument: it fails
    with Simulator(TASK, 1) as simulator:
        with pytest.raises(SimulationError, match="PickCube-v1: the simulation workers could not start, .* twice"):
            simulator.episodes([unit])


def test_a_unit_that_loses_two_workers_is_named(bad_actors: Any, tmp_path: Path) -> None:
    with Simulator(TASK, 1) as simulator:
        with pytest.raises(SimulationError, match=r"PickCube-v1, episode seeds 5 to 7: .* exit code 7 .* second"):
            simulator.episodes([Rollout(bad_actors.Dies(2, tmp_path), np.arange(5, 8))])


def test_a_unit_that_hangs_two_workers_is_named(bad_actors: Any) -> None:
    with Simulator(TASK, 1, hang_s=2) as simulator:
        with pytest.raises(SimulationError, match=r"episode seeds 5 to 7: a worker process was still at it after 2 s"):
            simulator.episodes([Rollout(bad_actors.Hangs(), np.arange(5, 8))])


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(blow: signal.Signals) -> None:
    script = textwrap.dedent(
        """
        import multiprocessing, signal
        import numpy as np, torch
        from nnbench.tasks.policies.mlp import PolicyActor, random_policy
        from nnbench.tasks.simulation.workers import Rollout, Simulator
        from nnbench.tasks.registry import load_task
        if __name__ == "__main__":
            signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts with & ignores it
            with Simulator(load_task("PickCube-v1"), 2) as simulator:
                policy = random_policy((16, 16, 16, 32), 42, 8, torch.Generator())
                units = [Rollout(PolicyActor.stack([policy], np.zeros(25, int), None), np.arange(25))] * 1000
                for position, _ in simulator.rollout(units):
                    if position == 0:
                        print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    process.send_signal(blow)
    process.wait(timeout=20)
    deadline = time.monotonic() + 20
    while any(map(_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_alive, workers))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().split()[2] != "Z"
