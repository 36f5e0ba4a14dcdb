from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from nnbench.tasks.policies.mlp import (
    GaussianActor,
    InvalidWeights,
    MixtureActor,
    PolicyActor,
    Weights,
    check_weights,
    nearest_neighbours,
    random_policy,
    weights_sha256,
)

ARCHS = [(16, 32, 16, 64), (64, 64, 64, 64), (64, 16, 32, 16)]


def _sequential(arch: tuple[int, ...]) -> nn.Sequential:
    widths = (42, *arch, 8)
    layers = [m for i, o in zip(widths, widths[1:], strict=False) for m in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def test_stacked_policies_act_as_the_sequential_networks_whose_state_dicts_they_are() -> None:
    torch.manual_seed(0)
    networks = [_sequential(arch) for arch in ARCHS]
    observations = torch.randn(7, 42)
    index = np.array([2, 0, 1, 1, 0, 2, 2])
    actor = PolicyActor.stack([network.state_dict() for network in networks], index, None)
    expected = torch.stack([networks[p](observations[k]) for k, p in enumerate(index)]).detach()
    np.testing.assert_allclose(actor(observations.numpy()), expected.numpy(), atol=1e-5)


def test_what_a_row_does_does_not_depend_on_the_other_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    policies = [random_policy(arch, 42, 8, generator) for arch in ARCHS]
    observations = torch.randn(25, 42, generator=generator).numpy()
    index = np.arange(25) % 3
    together = PolicyActor.stack(policies, index, None)(observations)
    for k in range(25):
        alone = PolicyActor.stack(policies, index[k : k + 1], None)(observations[k : k + 1])
        np.testing.assert_array_equal(alone[0], together[k])


def test_expert_reads_layers_by_number_not_by_order() -> None:
    network = nn.Sequential(nn.Linear(42, 5), nn.Tanh(), nn.Linear(5, 8))
    state = dict(sorted(network.state_dict().items()))  # safetensors returns bias before weight
    observations = torch.randn(3, 42)
    actions = GaussianActor.from_state_dict(state)(observations.numpy())
    np.testing.assert_allclose(actions, network(observations).detach().numpy(), atol=1e-6)


def test_mixture_takes_the_teacher_with_probability_beta() -> None:
    beta = np.repeat([0.0, 0.3, 1.0], 1000)
    noise, rng = np.zeros(3000, np.float32), np.random.default_rng(0)
    actor = MixtureActor(lambda rows: np.ones_like(rows), lambda rows: np.zeros_like(rows), beta, noise, rng)
    shares = actor(np.zeros((3000, 1), np.float32)).reshape(3, 1000).mean(axis=1)
    assert shares[0] == 0 and 0.25 < shares[1] < 0.35 and shares[2] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("4.bias"), "missing 4.bias"),
        (lambda w: w.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda w: w.update({"0.weight": w["0.weight"].T}), r"0.weight has shape \(42, 16\), expected \(16, 42\)"),
        (lambda w: w["8.bias"].fill_(float("nan")), "8.bias holds NaN"),
        (lambda w: w.update({"2.bias": w["2.bias"].long()}), "2.bias has dtype torch.int64, expected torch.float32"),
    ],
)
def test_weights_that_are_no_policy_are_named(change: Callable[[Weights], object], message: str) -> None:
    weights = random_policy(ARCHS[0], 42, 8, torch.Generator().manual_seed(0))
    change(weights)
    with pytest.raises(InvalidWeights, match=f"method x, sample 3: no policy of architecture 16-32-16-64: .*{message}"):
        check_weights(weights, ARCHS[0], 42, 8, "method x, sample 3")


def test_accepted_weights_are_float32_in_layer_order_and_hash_by_value() -> None:
    weights = random_policy(ARCHS[0], 42, 8, torch.Generator().manual_seed(0))
    shuffled = dict(sorted(weights.items(), reverse=True))
    assert weights_sha256(check_weights(shuffled, ARCHS[0], 42, 8, "x")) == weights_sha256(weights)
    halved = check_weights({k: v.bfloat16() for k, v in weights.items()}, ARCHS[0], 42, 8, "x")
    assert halved["0.weight"].dtype == torch.float32
    assert weights_sha256(halved) != weights_sha256(weights)


def test_nearest_neighbours_of_known_policies() -> None:
    base = random_policy((16, 16, 16, 32), 42, 8, torch.Generator().manual_seed(0))
    near = base | {"0.bias": base["0.bias"] + 1}  # 16 entries
    far = {key: -value for key, value in base.items()}
    distances, cosines = nearest_neighbours([base, near, far])
    assert distances[:2].tolist() == pytest.approx([4, 4]) and distances[2] > 4
    assert cosines[0] == cosines[1] and 0.9 < cosines[0] < 1 and cosines[2] < 0
    assert nearest_neighbours([base, base])[0].tolist() == [0, 0]
    assert all(bool(column.isnan().all()) for column in nearest_neighbours([base]))
