"""The baseline `distil`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nnbench.harness.conformance import toy_training_set
from nnbench.methods import distil
from nnbench.methods.distil import Method
from nnbench.tasks.policies.mlp import act, check_weights, flatten_weights
from nnbench.tasks.policies.training_set import HeldOutAccess

TOY = toy_training_set(reads=Method.reads)
ARCH = (24, 48, 16)  # of another depth, and of widths that no training policy has


def fit(directory: Path, **changes: Any) -> Method:
    return Method.fit(replace(TOY, **changes), seed=0, directory=directory)


def test_learns_what_training_policies_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distil, "UPDATES", 600)
    method = fit(tmp_path, rehearsal=False)
    samples = method.generate(ARCH, 3, seed=1)
    taught = [act(network, TOY.states) for arch in TOY.architectures for network in TOY.networks(arch).values()]
    for sample in samples:
        check_weights(sample, ARCH, 42, 8, "distil")
        errors = [float((act(sample, TOY.states) - actions).norm() / actions.norm()) for actions in taught]
        assert min(errors) < 0.3 and sorted(errors)[1] > 2 * min(errors), "one teacher, not their mean"


def test_networks_are_of_their_own_start_and_the_first_do_not_hang_on_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = fit(tmp_path)
    many = [flatten_weights(sample) for sample in method.generate(ARCH, 5, seed=1)]
    monkeypatch.setattr(distil, "SIDE_BY_SIDE", 2)
    again = [flatten_weights(sample) for sample in method.generate(ARCH, 3, seed=1)]
    for one, other in zip(many, again, strict=False):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert float((many[0] - many[1]).norm()) > 0.5 * float(many[0].norm())
    assert not torch.equal(flatten_weights(method.generate(ARCH, 1, seed=2)[0]), many[0])


def test_states_are_for_those_who_say_that_they_read_them() -> None:
    assert TOY.states.shape[1] == TOY.task.observation_dim
    with pytest.raises(HeldOutAccess, match='add "states" to its `reads`'):
        _ = toy_training_set().states
