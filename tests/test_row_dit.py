"""The control is `nnit_pca` but for its tokens, and learns as it does."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from helpers import two_networks

from nnbench.harness.conformance import toy_training_set
from nnbench.methods import nnit_pca, row_dit
from nnbench.methods.nnit.tokens import patchify
from nnbench.methods.nnit_pca.config import CPU, REHEARSAL
from nnbench.methods.nnit_pca.model import PcaNNiT
from nnbench.methods.row_dit import Method
from nnbench.tasks.policies.architectures import load_splits
from nnbench.tasks.policies.mlp import check_weights, flatten_weights

ZOO = replace(toy_training_set(), architectures=((16, 16, 16, 16),), _networks=two_networks)
ROWS = replace(REHEARSAL, tokenisation="rows")
SMALL = replace(
    ROWS, width=64, depth=2, batch=8, steps=400, peak_lr=5e-3, warmup=20, ema=0.95, sampling_steps=12, joint_share=0.0
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Method:
    return Method.fit(ZOO, seed=0, directory=tmp_path_factory.mktemp("fit"), config=SMALL)


def test_differs_from_nnit_pca_in_nothing_but_the_tokens_and_the_steps_that_equal_time_leaves() -> None:
    for theirs, ours, allowed in ((CPU, Method.config, {"steps"}), (REHEARSAL, Method.rehearsal, set())):
        differing = {field.name for field in fields(ours) if getattr(theirs, field.name) != getattr(ours, field.name)}
        assert differing == {"tokenisation"} | allowed
    overridden = {name for name in vars(Method) if not name.startswith("_")}
    assert overridden == {"name", "variant_of", "config", "rehearsal"} and "__init__" not in vars(Method)


def test_a_token_is_a_neuron_with_a_layer_and_a_place_in_it() -> None:
    model = PcaNNiT(ROWS)
    assert model.patch_in.in_features == 65
    assert model.place_out.weight.shape == (5 * 64, ROWS.place_rank, 65)
    assert (model.layer_embedding.num_embeddings, model.row_embedding.num_embeddings) == (5, 64)
    assert model.column_embedding.num_embeddings == 1
    backbone = sum(parameter.numel() for parameter in PcaNNiT(REHEARSAL).blocks.parameters())
    assert sum(parameter.numel() for parameter in model.blocks.parameters()) == backbone


@pytest.mark.slow
def test_learns_to_write_the_training_networks(fitted: Method) -> None:
    for arch in ZOO.architectures:
        known = torch.stack([patchify(network, (1, 65)) for network in two_networks(arch).values()])  # (2, L, P)
        written = torch.stack([patchify(sample, (1, 65)) for sample in fitted.generate(arch, 8)])  # (8, L, P)
        errors = (written[:, None] - known).square().sum(dim=3)  # (8, 2, L)
        # So small a model may put a row of one beside a row of the other; their average is 0.7 away from either.
        gaps = errors.min(dim=1).values.sum(dim=1).sqrt() / known[0].norm()
        assert float(gaps.median()) < 0.4
        assert set(errors.sum(dim=2).argmin(dim=1).tolist()) == {0, 1}


@pytest.mark.slow
def test_writes_what_it_never_saw_and_loads_what_it_saved(fitted: Method, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = Method.load(tmp_path, ZOO)
    arch = load_splits().unseen[0]
    for sample, again in zip(fitted.generate(arch, 2), loaded.generate(arch, 2), strict=True):
        check_weights(sample, arch, 42, 8, "row_dit")
        assert torch.equal(flatten_weights(sample), flatten_weights(again))
    (chosen, joint), *_ = fitted.generate_joint(2)
    check_weights(joint, chosen, 42, 8, "row_dit")


def test_progress_and_errors_carry_its_name(tmp_path: Path) -> None:
    Method.fit(ZOO, seed=0, directory=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"row_dit.csv", "row_dit.safetensors"}
    with pytest.raises(ValueError, match=r"a model of row_dit; .*nnbench train --method row_dit"):
        Method.load(tmp_path, ZOO)
    assert row_dit.Method.name != nnit_pca.Method.name
