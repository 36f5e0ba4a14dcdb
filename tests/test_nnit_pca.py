"""What `nnit_pca` adds to `nnit`: components of the zoo that fit it, told to every token, and a map for each place."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ACTION_DIM, OBSERVATION_DIM, TRAINED, same, toy_zoo

from nnbench.methods.nnit.tokens import encode_architecture, positions
from nnbench.methods.nnit.training import build_corpora
from nnbench.methods.nnit_pca import Method, left_out, principal_components
from nnbench.methods.nnit_pca.config import CPU, REHEARSAL, Config
from nnbench.methods.nnit_pca.model import PcaNNiT
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import Weights, check_weights, random_policy

PATCH = (16, 16)
TINY = REHEARSAL


def policy(arch: Architecture, seed: int, observation_dim: int = OBSERVATION_DIM) -> Weights:
    return random_policy(arch, observation_dim, ACTION_DIM, torch.Generator().manual_seed(seed))


def fit(directory: Path, config: Config = TINY) -> Method:
    return Method.fit(toy_zoo(policy), seed=0, directory=directory, config=config)


def test_every_place_has_a_map_of_its_own() -> None:
    model, place = PcaNNiT(TINY), positions(PATCH)
    codes, t = encode_architecture(TRAINED[0])[None], torch.ones(1)
    patches = torch.randn(1, len(place), 256, generator=torch.Generator().manual_seed(0))
    before = model(codes, patches, place, t, t)[1]
    with torch.no_grad():
        model.place_out.bias[37] += 1
    assert (model(codes, patches, place, t, t)[1] != before).any(dim=2).nonzero().tolist() == [[0, 37]]


def test_every_token_is_told_of_the_whole_network() -> None:
    model, place, rng = PcaNNiT(TINY), positions(PATCH), torch.Generator().manual_seed(0)
    components = torch.linalg.qr(torch.randn(len(place) * 256, TINY.summary_rank, generator=rng)).Q
    with torch.no_grad():
        model.summary.components.copy_(components.view_as(model.summary.components))
        model.summary.out.weight.normal_(generator=rng)
        model.place_out.weight.normal_(generator=rng)
    codes, t = encode_architecture(TRAINED[0])[None], torch.ones(1)
    patches = torch.randn(1, len(place), 256, generator=rng)

    def changed_by(change: torch.Tensor) -> list[int]:
        other = patches.clone()
        other[0, 37] += change
        before, after = (model(codes, x, place, t, t)[1] for x in (patches, other))
        return (before - after).abs().amax(dim=(0, 2)).gt(1e-4).nonzero()[:, 0].tolist()

    # New blocks are the identity: nothing but the summary can tell one token of another.
    assert changed_by(model.summary.components[37, :, 0]) == list(range(len(place)))
    assert changed_by(torch.linalg.svd(model.summary.components[37].T).Vh[-1]) == [37]  # at right angles to them all
    part = torch.tensor([80, 37, 5])  # a place's part of the components goes with the place, wherever its token stands
    scores = torch.einsum("lp,lpr->r", patches[0, part], model.summary.components[part])
    found: list[torch.Tensor] = []
    model.summary.hidden.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0][0, : TINY.summary_rank]))
    model(codes, patches[:, part], place[part], t, t)
    torch.testing.assert_close(found[0], scores)


def test_the_summary_is_of_the_training_networks_principal_components(tmp_path: Path) -> None:
    corpora = build_corpora(toy_zoo(policy), PATCH, torch.device("cpu"))
    networks = torch.cat([corpus.patches.flatten(1) for corpus in corpora])  # (4, L P)
    components = principal_components(corpora, 6, seed=0).flatten(0, 1)
    torch.testing.assert_close(components.T @ components, torch.diag(torch.tensor([1.0, 1, 1, 1, 0, 0])))
    torch.testing.assert_close(networks @ components @ components.T, networks, atol=1e-4, rtol=0)
    first = principal_components(corpora, 2, seed=0).flatten(0, 1)
    exact = torch.linalg.svd(networks, full_matrices=False).S[:2].square().sum()
    torch.testing.assert_close((networks @ first).square().sum(), exact, rtol=0.01, atol=0)  # found by iteration
    model = fit(tmp_path).model
    assert isinstance(model, PcaNNiT)
    expected = principal_components(corpora, TINY.summary_rank, seed=0).half().float()
    torch.testing.assert_close(model.summary.components, expected)  # training leaves them


def test_its_ranks_follow_the_number_of_hypernetworks(tmp_path: Path) -> None:
    """Two in the toy zoo: two components each of a place, one each of the whole."""
    config = replace(TINY, place_rank=0, summary_rank=0)
    found = fit(tmp_path, config).manifest.config
    assert isinstance(found, Config) and (found.place_rank, found.summary_rank) == (4, 2)
    assert (CPU.place_rank, CPU.summary_rank) == (0, 0) and CPU.sized(32) == replace(
        CPU, place_rank=64, summary_rank=32
    )


def test_ranks_that_cannot_hold_the_zoo_are_refused(tmp_path: Path) -> None:
    corpora = build_corpora(toy_zoo(policy), PATCH, torch.device("cpu"))
    shares = [left_out(corpora, rank) for rank in (0, 1, 2, 4)]
    assert shares[0] == pytest.approx(1.0) and 0.2 < shares[1] < 1 and shares[1] > shares[2] > shares[3]
    assert left_out(corpora, 256) < 1e-6
    with pytest.raises(ValueError, match=r"maps of rank 1 leave out \d+ % .*raise place_rank"):
        fit(tmp_path, replace(TINY, place_rank=1))


def test_a_saved_model_generates_the_same(tmp_path: Path) -> None:
    method = fit(tmp_path)
    (tmp_path / "saved").mkdir()
    method.save(tmp_path / "saved")
    loaded = Method.load(tmp_path / "saved", toy_zoo(policy))
    assert all(map(same, loaded.generate(TRAINED[1], 2, seed=3), method.generate(TRAINED[1], 2, seed=3)))
    (sample,), ((arch, joint),) = method.generate(TRAINED[0], 1), method.generate_joint(1)
    check_weights(sample, TRAINED[0], OBSERVATION_DIM, ACTION_DIM, "nnit_pca")
    check_weights(joint, arch, OBSERVATION_DIM, ACTION_DIM, "nnit_pca")
    config: dict[str, Any] = json.loads((tmp_path / "saved" / "config.json").read_text())["config"]
    assert config["place_rank"] == TINY.place_rank
