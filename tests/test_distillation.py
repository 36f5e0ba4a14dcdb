from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import GaussianActor
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo import distillation
from nnbench.tasks.zoo.distillation import build_pool, distil, learn_from
from nnbench.tasks.zoo.expert import load_expert
from nnbench.tasks.zoo.ghn import GHNConfig, GHNEnsemble
from nnbench.tasks.zoo.manifest import SHIPPED
from nnbench.tasks.zoo.presets import DaggerConfig, DistillationConfig, PoolConfig
from nnbench.tasks.zoo.states import LabelledStates

CONFIG = DistillationConfig(
    dagger=DaggerConfig(iterations=2, episodes=10, updates=2, batch=16),
    pool=PoolConfig(episodes=18, updates=30, batch=32, architectures=4),
    ghn=GHNConfig(channels=32),
)


@pytest.fixture(scope="module")
def expert() -> dict[str, torch.Tensor]:
    return load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors")


def test_pool_holds_the_experts_actions_and_is_made_once(
    simulator: Simulator, expert: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    pool = build_pool(simulator, expert, tmp_path, CONFIG)
    assert pool.observations.shape == (18 * 50, 42) and pool.actions.shape == (18 * 50, 8)
    standardiser = simulator.task.standardiser
    seen = (pool.observations.numpy() * standardiser.scale + standardiser.mean).astype(np.float32)
    labels = GaussianActor.from_state_dict(expert)(seen).clip(-1, 1)
    torch.testing.assert_close(pool.actions, torch.from_numpy(labels), atol=1e-4, rtol=1e-4)  # rounded to and fro

    class Refusing:
        task = simulator.task

        def rollout(self, units: Any) -> Any:
            raise AssertionError("a finished pool was gathered again")

    again = build_pool(Refusing(), expert, tmp_path, CONFIG)  # type: ignore[arg-type]
    assert torch.equal(again.observations, pool.observations)


def test_the_pool_does_not_depend_on_the_decoder(
    simulator: Simulator, expert: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    # The pilot is all that the pool could have from the decoder. Its shapes are compared, not its numbers: of two that
    # are trained in one process, with several threads, the last bits may differ.
    shapes = []
    for ghn in (GHNConfig(channels=32), GHNConfig(channels=32, decoder="upsample")):
        build_pool(simulator, expert, tmp_path / ghn.decoder, replace(CONFIG, ghn=ghn))
        pilot = load_file(tmp_path / ghn.decoder / "pilot" / "state.safetensors")
        shapes.append({name: tensor.shape for name, tensor in pilot.items()})
    assert shapes[0] == shapes[1]


def test_a_killed_training_on_a_pool_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation, "_KEEP_EVERY", 7)
    states = LabelledStates(torch.randn(500, 42, generator=torch.Generator().manual_seed(0)), torch.full((500, 8), 0.5))

    def learn(state: Path | None) -> GHNEnsemble:
        ensemble = GHNEnsemble([0, 1], 42, 8, CONFIG.ghn)
        learn_from(states, ensemble, load_splits().train, CONFIG, state=state, quiet=True)
        return ensemble

    clip, clipped = distillation._clip_each, []

    def killed(*arguments: Any) -> None:
        clipped.append(0)
        if len(clipped) == 19:
            raise KeyboardInterrupt
        clip(*arguments)

    monkeypatch.setattr(distillation, "_clip_each", killed)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "state.safetensors")
    done = len(clipped)
    resumed = learn(tmp_path / "state.safetensors").state_dict()
    assert len(clipped) - done == 30 - 14, "the first fourteen updates were kept"
    monkeypatch.setattr(distillation, "_clip_each", clip)
    straight = learn(None).state_dict()
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


def test_ensemble_learns_and_a_member_does_not_depend_on_its_group() -> None:
    rng = torch.Generator().manual_seed(0)
    observations = torch.randn(500, 42, generator=rng)
    states = LabelledStates(observations, torch.full((500, 8), 0.5))
    together, alone = GHNEnsemble([0, 1], 42, 8, CONFIG.ghn), GHNEnsemble([1], 42, 8, CONFIG.ghn)
    for ensemble in (together, alone):
        learn_from(states, ensemble, load_splits().train, CONFIG)
    for (name, a), b in zip(together.state_dict().items(), alone.state_dict().values(), strict=True):
        torch.testing.assert_close(a[1:], b, atol=1e-4, rtol=1e-3, msg=name)
    untrained = GHNEnsemble([0, 1], 42, 8, CONFIG.ghn)

    def error(ensemble: Any) -> float:
        policy = ensemble.policies((32, 32, 16, 64))[1]
        x = observations
        for layer in range(5):
            x = x @ policy[f"{2 * layer}.weight"].T + policy[f"{2 * layer}.bias"]
            x = torch.relu(x) if layer < 4 else x
        return float((x - states.actions).square().mean())

    assert error(together) < 0.5 * error(untrained)


def test_without_a_pool_every_hypernetwork_has_a_buffer_of_its_own(
    simulator: Simulator, expert: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    config = replace(CONFIG, pool=None, dagger=replace(CONFIG.dagger, buffer=600))
    ensemble = distil(simulator, expert, [0, 1], tmp_path, config)
    assert ensemble.seeds == (0, 1)
    weights = [ensemble.policies((32, 32, 16, 64))[seed]["2.weight"] for seed in (0, 1)]
    assert not torch.equal(*weights)
    assert [path.name for path in sorted(tmp_path.rglob("*.safetensors"))] == [  # finished buffers are removed
        "ghns-0-0.safetensors",
        "ghns-1-1.safetensors",
    ]


def test_only_the_latest_states_are_kept_in_a_buffer() -> None:
    parts = [LabelledStates(torch.full((2, 1), float(i)), torch.full((2, 1), -float(i))) for i in range(3)]
    buffer = LabelledStates.join(parts).latest(3)
    assert buffer.observations.flatten().tolist() == [1, 2, 2] and buffer.actions.flatten().tolist() == [-1, -2, -2]
