"""Policies that are trained one by one, and a zoo of them. `test_kills.py` kills the training."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LENIENT, TINY

import nnbench
from nnbench.commands import zoos
from nnbench.errors import InputError
from nnbench.harness.novelty import ActionBank, Novelty
from nnbench.methods import nearest
from nnbench.tasks.integrity import DamagedError
from nnbench.tasks.policies.architectures import Architecture, load_splits
from nnbench.tasks.policies.mlp import GaussianActor, PolicyActor, check_weights, random_policy
from nnbench.tasks.policies.training_set import HeldOutAccess
from nnbench.tasks.registry import TASKS
from nnbench.tasks.simulation.workers import Simulator
from nnbench.tasks.zoo.build import build_zoo
from nnbench.tasks.zoo.direct import DirectPolicies, train_policies
from nnbench.tasks.zoo.distillation import learn_from
from nnbench.tasks.zoo.expert import load_expert
from nnbench.tasks.zoo.manifest import SHIPPED, ZooError, read_index, read_zoo_manifest
from nnbench.tasks.zoo.presets import DirectConfig, DistillationConfig, PoolConfig
from nnbench.tasks.zoo.sources import StoredPolicies
from nnbench.tasks.zoo.states import LabelledStates
from nnbench.tasks.zoo.zoo import Zoo

TASK = "PickCube-v1"
EXPERT = SHIPPED / TASK / "expert.safetensors"
NARROW, WIDE = (16, 16, 16, 32), (16, 32, 16, 64)
FEW = DirectConfig(states=TINY, updates=2, batch=8)
BEST = replace(LENIENT, best=1)


@pytest.fixture(scope="module")
def states() -> LabelledStates:
    observations = torch.randn(300, 42, generator=torch.Generator().manual_seed(0))
    expert = GaussianActor.from_state_dict(load_expert(EXPERT))
    return LabelledStates(observations, torch.from_numpy(expert(observations.numpy()).clip(-1, 1)))


@pytest.fixture(scope="module")
def pool_file(states: LabelledStates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pool") / "pool.safetensors"
    states.save(path)
    return path


@pytest.fixture(scope="module")
def direct_zoo(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two policies per architecture, which learned next to nothing; the better one is trained on."""
    folder = tmp_path_factory.mktemp("direct")
    build_zoo(simulator, EXPERT, folder / "work", folder / "zoo", [0, 1], FEW, BEST)
    return folder / "zoo"


def test_direct_policies_learn_and_are_what_training_sees(states: LabelledStates) -> None:
    arch = (16, 64)
    ensemble = DirectPolicies([3, 5], arch, 42, 8)
    alone = DirectPolicies([5], arch, 42, 8)
    check_weights(ensemble.policies(arch)[5], arch, 42, 8, "direct")
    assert torch.equal(alone.policies(arch)[5]["2.weight"], ensemble.policies(arch)[5]["2.weight"])

    def error() -> float:
        actions = PolicyActor.stack([ensemble.policies(arch)[5]], torch.zeros(300, dtype=torch.int).numpy(), None)(
            states.observations.numpy()
        )
        trained = ensemble.actions(torch.tensor(arch), states.observations.expand(2, 1, 300, 42))[1, 0]
        torch.testing.assert_close(trained.detach(), torch.from_numpy(actions), atol=1e-5, rtol=1e-4)
        return float((states.actions - torch.from_numpy(actions)).square().mean())

    before = error()
    learn_from(states, ensemble, [arch], DistillationConfig(pool=PoolConfig(updates=100, batch=64, architectures=1)))
    assert error() < 0.7 * before


def test_a_policy_depends_on_its_architecture_and_seed_alone(pool_file: Path, tmp_path: Path) -> None:
    def trained(name: str, archs: list[Architecture], seeds: list[int]) -> StoredPolicies:
        return train_policies(TASKS[TASK], pool_file, tmp_path / name, archs, seeds, FEW, workers=1)

    alone, many = trained("alone", [NARROW], [1]), trained("many", [WIDE, NARROW], [17, 1, 0])
    assert {value.dtype for value in many.tensors.values()} == {torch.float16} and many.policies((8, 8)) == {}
    one, policies = alone.policies(NARROW)[1], many.policies(NARROW)
    check_weights(one, NARROW, 42, 8, "stored")
    assert list(policies) == [17, 1, 0] and all(torch.equal(one[key], policies[1][key]) for key in one)
    starts = [policies[1], policies[0], policies[17], many.policies(WIDE)[1]]
    firsts = [policy["0.weight"] for policy in starts]  # two steps hardly change them; all are (16, 42)
    for a, b in ((0, 1), (0, 2), (0, 3)):
        assert abs(float(torch.corrcoef(torch.stack([firsts[a].flatten(), firsts[b].flatten()]))[0, 1])) < 0.2


@pytest.mark.slow
def test_all_architectures_are_scored_and_only_what_passes_is_trained_on(direct_zoo: Path) -> None:
    index, splits, zoo = read_index(direct_zoo), load_splits(), Zoo.open(TASK, direct_zoo, "sgd")
    archs = splits.train + splits.unseen + splits.outside
    assert [(row["arch"], row["ghn_seed"]) for row in index] == [
        ("-".join(map(str, arch)), seed) for arch in archs for seed in (0, 1)
    ]
    assert {row["reason"] for row in index if row["partition"] == "unseen"} == {"held out"}
    training = zoo.training_set()
    for arch in splits.train:
        rows = [row for row in index if row["arch"] == "-".join(map(str, arch))]
        best = max(rows, key=lambda row: float(row["return"]))
        networks = training.networks(arch)
        assert list(networks) == [best["ghn_seed"]] and best["valid"]
        stored = zoo.policies(arch)[best["ghn_seed"]]
        check_weights(stored, arch, 42, 8, "zoo")
        assert all(torch.equal(networks[best["ghn_seed"]][key], value) for key, value in stored.items())
        assert all(torch.equal(value.half().float(), value) for value in stored.values())


@pytest.mark.slow
def test_held_out_policies_never_reach_a_generator(direct_zoo: Path) -> None:
    zoo = Zoo.open(TASK, direct_zoo, "sgd")
    for arch in (*load_splits().unseen, *load_splits().outside):
        assert set(zoo.policies(arch)) == {0, 1}
        with pytest.raises(HeldOutAccess, match="is no training architecture"):
            zoo.training_set().networks(arch)
    assert len(nearest.Method.fit(zoo.training_set(), seed=0, directory=direct_zoo).generate((16, 16, 16, 32), 3)) == 3


@pytest.mark.slow
def test_nobody_asks_hypernetworks_that_are_not_there(direct_zoo: Path, tmp_path: Path) -> None:
    zoo = Zoo.open(TASK, direct_zoo, "sgd")
    with pytest.raises(ZooError, match=r"no hypernetworks wrote this zoo \(its source is sgd\); choose"):
        zoo.hypernetwork_policies(NARROW)
    for ask in (
        lambda: nnbench.run("ghn", zoo=direct_zoo, results=tmp_path, track="sgd"),
        lambda: nnbench.train("ghn", zoo=direct_zoo, track="sgd"),
    ):
        with pytest.raises(InputError, match="method ghn cannot: no hypernetworks wrote the policies of track sgd"):
            ask()
    with pytest.raises(ZooError, match="zoo: a zoo of source sgd, but track paper is about hypernetworks; choose"):
        nnbench.run("nearest", zoo=direct_zoo, results=tmp_path)


@pytest.mark.slow
def test_novelty_is_beside_the_zoos_own_policies(direct_zoo: Path) -> None:
    zoo = Zoo.open(TASK, direct_zoo, "sgd")
    strange = random_policy((24, 24, 24, 24), 42, 8, torch.Generator().manual_seed(0))
    copy, other = Novelty(zoo).columns([zoo.policies(NARROW)[1], strange], [0, 1])
    assert (copy["ghn_seed"], copy["ghn_distance"]) == (1, 0.0) and copy["ghn_spread"] > 1
    assert other["ghn_seed"] == -1 and np.isnan([other["ghn_distance"], other["ghn_spread"]]).all()
    assert other["action_distance"] > 0 and other["action_spread"] > 0


@pytest.mark.slow
def test_equal_seeds_of_two_architectures_are_strangers(direct_zoo: Path) -> None:
    zoo = Zoo.open(TASK, direct_zoo, "sgd")
    bank = ActionBank.of(zoo.training_set(), zoo.states, trained_alone=True)
    assert len(bank.writers.unique()) == len(bank.origins) == 64


@pytest.mark.slow
def test_the_commands_know_it(direct_zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoos.verify(zoo=direct_zoo, policies=2, workers=1)
    said = capsys.readouterr().out
    assert "2 policies of each architecture, trained one by one; 64 of 128 training policies are valid" in said
    assert "2 policies rolled out again" in said
    zoos.verify(zoo=direct_zoo, policies=0, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["source"] == "sgd" and found["seeds"] == 2 and "hypernetworks" not in found
    zoos.list_architectures(zoo=direct_zoo)
    assert len(capsys.readouterr().out.splitlines()) == 81


@pytest.mark.slow
def test_a_changed_manifest_or_file_is_damaged(direct_zoo: Path, tmp_path: Path) -> None:
    assert read_zoo_manifest(direct_zoo)["source"] == "sgd"
    text = (direct_zoo / "manifest.json").read_text()
    for old, new in (
        ('"sgd"', '"sge"'),
        ('"source"', '"sourse"'),
        ('"seeds"', '"seads"'),
        ('"updates": 2', '"updates": 3'),
    ):
        copy = tmp_path / new.strip('":').replace(" ", "")
        shutil.copytree(direct_zoo, copy)
        (copy / "manifest.json").write_text(text.replace(old, new, 1))
        with pytest.raises(DamagedError, match="manifest.json: "):
            Zoo.open(TASK, copy, "sgd")
    copy = tmp_path / "file"
    shutil.copytree(direct_zoo, copy)
    content = bytearray((copy / "policies.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "policies.safetensors").write_bytes(content)
    with pytest.raises(DamagedError, match="policies.safetensors: missing or changed"):
        Zoo.open(TASK, copy, "sgd")


@pytest.mark.slow
def test_work_of_other_numbers_is_refused(simulator: Simulator, direct_zoo: Path) -> None:
    folder = direct_zoo.parent
    with pytest.raises(ZooError, match="policies: holds work of another expert or with other numbers"):
        build_zoo(simulator, EXPERT, folder / "work", folder / "zoo", [0, 1], replace(FEW, updates=3), BEST)
