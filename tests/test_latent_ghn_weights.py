"""The variant that makes up its observations: where policies agree, and from weights alone."""

from pathlib import Path

import pytest
import torch

from nnbench.harness.conformance import toy_training_set
from nnbench.methods import latent_ghn_weights
from nnbench.methods.latent_ghn_weights import KEPT, Method, agreed
from nnbench.tasks.policies.mlp import Weights, check_weights
from nnbench.tasks.policies.training_set import HeldOutAccess

TOY = toy_training_set(reads=("weights",))


def agreeing_but_for_the_last_number(count: int = 4) -> list[Weights]:
    """Policies that do the same, except for what the last number of an observation makes them do."""
    rng = torch.Generator().manual_seed(0)
    one = next(iter(TOY.networks(TOY.architectures[0]).values()))
    policies = []
    for _ in range(count):
        first = one["0.weight"].clone()
        first[:, -1] = torch.randn(len(first), generator=rng)
        policies.append({**one, "0.weight": first})
    return policies


def test_observations_are_kept_on_which_teachers_agree() -> None:
    drawn = torch.randn(4_000, 42, generator=torch.Generator().manual_seed(1))
    kept = agreed(drawn, agreeing_but_for_the_last_number())
    assert kept.shape == (4_000 // KEPT, 42)
    known = {tuple(row) for row in drawn.tolist()}
    assert all(tuple(row) in known for row in kept.tolist())
    assert float(kept[:, -1].abs().mean()) < 0.1 < 0.6 < float(kept[:, 0].abs().mean())


def test_what_is_made_up_repeats_itself_and_is_as_much_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    teachers = agreeing_but_for_the_last_number()

    def collect() -> torch.Tensor:
        return Method.collect_states(TOY, teachers, torch.Generator().manual_seed(0))

    monkeypatch.setattr(latent_ghn_weights, "AT_A_TIME", 3_000)  # the last part is smaller
    assert collect().shape == (200, 42)
    assert torch.equal(collect(), collect())


def test_learns_and_writes_without_any_state(tmp_path: Path) -> None:
    with pytest.raises(HeldOutAccess, match="asks for states"):
        _ = TOY.states
    fitted = Method.fit(TOY, seed=0, directory=tmp_path)
    for weights in fitted.generate((24, 48, 16), 2):
        check_weights(weights, (24, 48, 16), 42, 8, "latent_ghn_weights")
