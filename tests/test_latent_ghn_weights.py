"""The variant that makes up its observations: where policies agree, and from weights alone."""

from pathlib import Path

import pytest
import torch

from nnbench.harness.conformance import toy_training_set
from nnbench.methods import latent_ghn_weights
from nnbench.methods.latent_ghn_weights import FLOOR, STRENGTH, WIDTH, Method, disagreement, make_up, slope, stack
from nnbench.tasks.policies.mlp import Weights, act, check_weights

TOY = toy_training_set(reads=("weights",))


def agreeing_in_all_but_two(count: int = 6) -> list[Weights]:
    """Policies that do the same, except for what the last two numbers of an observation make them do."""
    rng = torch.Generator().manual_seed(0)
    one = next(iter(TOY.networks(TOY.architectures[0]).values()))
    policies = []
    for _ in range(count):
        first = one["0.weight"].clone()
        first[:, -2:] = torch.randn(len(first), 2, generator=rng)
        policies.append({**one, "0.weight": first})
    return policies


def test_stacked_policies_act_as_each_does() -> None:
    policies = [network for arch in TOY.architectures[:3] for network in TOY.networks(arch).values()]
    states = 0.01 * torch.randn(5, 42, generator=torch.Generator().manual_seed(1))
    each = torch.stack([act(policy, states) for policy in policies])
    assert float(each.abs().max()) < 1  # nothing is clamped
    torch.testing.assert_close(disagreement(states, stack(policies)), each.var(dim=0).sum(dim=1), rtol=1e-3, atol=1e-6)


def test_the_slope_is_that_of_the_density() -> None:
    layers = [(weight.double(), bias.double()) for weight, bias in stack(agreeing_in_all_but_two())]
    x = torch.randn(3, 42, generator=torch.Generator().manual_seed(1)).double()

    def log_density(at: torch.Tensor) -> torch.Tensor:
        return -at.square().sum(dim=1) / (2 * WIDTH**2) - STRENGTH * (FLOOR + disagreement(at, layers)).log()

    step = torch.zeros_like(x)
    step[:, 7] = 1e-6
    numeric = (log_density(x + step) - log_density(x - step)) / 2e-6
    # How long it is, is cut; its direction is not.
    found = slope(x, layers)
    unit = found / found[:, 7:8]
    step[:, 7], step[:, 40] = 0, 1e-6
    other = (log_density(x + step) - log_density(x - step)) / 2e-6
    torch.testing.assert_close(unit[:, 40], other / numeric, rtol=1e-3, atol=1e-4)
    assert float(found.norm(dim=1).max()) <= latent_ghn_weights.LARGEST * (1 + 1e-6)


def test_made_up_observations_lie_where_policies_agree() -> None:
    teachers = agreeing_in_all_but_two()
    made = make_up(teachers, 300, 42, torch.Generator().manual_seed(0))
    assert made.shape == (300, 42) and bool(made.isfinite().all())
    began = torch.randn(300, 42, generator=torch.Generator().manual_seed(0))
    layers = stack(teachers)
    assert float(disagreement(made, layers).median()) < 0.2 * float(disagreement(began, layers).median())
    assert float(made[:, -2:].std()) < 0.5 < 0.8 < float(made[:, :-2].std())


def test_learns_and_writes_without_any_state(tmp_path: Path) -> None:
    fitted = Method.fit(TOY, seed=0, directory=tmp_path)
    for weights in fitted.generate((24, 48, 16), 2):
        check_weights(weights, (24, 48, 16), 42, 8, "latent_ghn_weights")


def test_the_states_of_the_zoo_are_out_of_reach() -> None:
    with pytest.raises(Exception, match="states"):
        _ = TOY.states
    assert Method.reads == ("weights",)
