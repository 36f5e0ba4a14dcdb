from pathlib import Path
from typing import Any

import pytest
import torch

from nnbench.tasks.distillation import DistillationConfig, LabelledStates, build_pool, train_ensemble
from nnbench.tasks.expert import load_expert
from nnbench.tasks.policy import GaussianActor
from nnbench.tasks.simulation import Simulator
from nnbench.tasks.zoo import SHIPPED

CONFIG = DistillationConfig(
    iterations=2, episodes=10, pilot_updates=2, pilot_batch=16, pool_episodes=18, updates=30, batch=32, architectures=4
)


@pytest.fixture(scope="module")
def expert() -> dict[str, torch.Tensor]:
    return load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors")


def test_pool_holds_the_experts_actions_and_is_made_once(
    simulator: Simulator, expert: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    pool = build_pool(simulator, expert, tmp_path, CONFIG)
    assert pool.observations.shape == (18 * 50, 42) and pool.actions.shape == (18 * 50, 8)
    labels = GaussianActor.from_state_dict(expert)(pool.observations.numpy()).clip(-1, 1)
    torch.testing.assert_close(pool.actions, torch.from_numpy(labels))

    class Refusing:
        task = simulator.task

        def rollout(self, units: Any) -> Any:
            raise AssertionError("a finished pool was gathered again")

    again = build_pool(Refusing(), expert, tmp_path, CONFIG)  # type: ignore[arg-type]
    assert torch.equal(again.observations, pool.observations)


def test_ensemble_learns_and_a_member_does_not_depend_on_its_group(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    observations = torch.randn(500, 42, generator=rng)
    states = LabelledStates(observations, torch.full((500, 8), 0.5))
    together = train_ensemble(states, [0, 1], tmp_path / "together", CONFIG, group=2)
    apart = train_ensemble(states, [0, 1], tmp_path / "apart", CONFIG, group=1)
    for (name, a), b in zip(together.state_dict().items(), apart.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3, msg=name)

    untrained = train_ensemble(states, [0, 1], tmp_path / "none", DistillationConfig(updates=2, learning_rate=1e-9))

    def error(ensemble: Any) -> float:
        policy = ensemble.policies((32, 32, 16, 64))[1]
        x = observations
        for layer in range(5):
            x = x @ policy[f"{2 * layer}.weight"].T + policy[f"{2 * layer}.bias"]
            x = torch.relu(x) if layer < 4 else x
        return float((x - states.actions).square().mean())

    assert error(together) < 0.5 * error(untrained)
