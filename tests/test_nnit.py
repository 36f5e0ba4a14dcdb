"""NNiT: a small model learns, a killed run goes on bit for bit, and a misfit says what is wrong."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    ACTION_DIM,
    OBSERVATION_DIM,
    TRAINED,
    check_that_load_names_misfits,
    distance,
    interrupt_at,
    same,
    toy_zoo,
)
from safetensors.torch import load_file

from nnbench.methods import _noise, _optimisation, _validation, nnit, nnit_noise, nnit_v
from nnbench.methods._diffusion import Process
from nnbench.methods.nnit import Method
from nnbench.methods.nnit.config import CPU, REHEARSAL, Config
from nnbench.methods.nnit.model import NNiT, attention
from nnbench.methods.nnit.tokens import encode_architecture, patchify, positions, valid_patches
from nnbench.methods.nnit.training import batch_loss, build_corpora
from nnbench.tasks.policies.architectures import Architecture, load_splits
from nnbench.tasks.policies.mlp import Weights, check_weights, flatten_weights, random_policy
from nnbench.tasks.zoo.zoo import Zoo

ALL_ARCHITECTURES = load_splits().train + load_splits().unseen + load_splits().outside
PATCH = (16, 16)
TINY = REHEARSAL
SMALL = Config(
    width=64,
    depth=2,
    heads=2,
    batch=16,
    steps=400,
    peak_lr=3e-3,
    warmup=20,
    ema=0.95,
    sampling_steps=20,
    joint_share=0.0,
)


def policy(arch: Architecture, seed: int, observation_dim: int = OBSERVATION_DIM) -> Weights:
    weights = random_policy(arch, observation_dim, ACTION_DIM, torch.Generator().manual_seed(seed))
    for key in weights:
        if key.endswith("bias"):
            weights[key] = 0.1 * torch.randn(weights[key].shape, generator=torch.Generator().manual_seed(seed + 7))
    return weights


def fit(directory: Path, zoo: Any = None, seed: int = 0, config: Config = TINY) -> Method:
    return Method.fit(zoo or toy_zoo(policy), seed=seed, directory=directory, config=config)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Method:
    return fit(tmp_path_factory.mktemp("fit"), config=SMALL)


def test_learns_to_write_the_training_networks(fitted: Method) -> None:
    for arch in TRAINED:
        known = toy_zoo(policy).networks(arch)
        valid = valid_patches(arch, OBSERVATION_DIM, ACTION_DIM, PATCH)
        patches = {seed: patchify(network, PATCH)[valid] for seed, network in known.items()}
        written = torch.stack([patchify(sample, PATCH)[valid] for sample in fitted.generate(arch, 16)])  # (16, l, P)
        errors = torch.stack([(written - own).square().sum(dim=2) for own in patches.values()])  # (2, 16, l)
        norm = flatten_weights(known[0]).norm()
        # So small a model may put a patch of one beside a patch of the other; their average is 0.7 away from either.
        assert float(errors.min(dim=0).values.sum(dim=1).sqrt().median() / norm) < 0.1
        assert set(errors.sum(dim=2).argmin(dim=0).tolist()) == {0, 1}


def test_learns_what_error_to_expect(fitted: Method) -> None:
    expected = fitted.model.expected_log_error(torch.tensor([100, 900]))
    assert expected is not None and expected[0] < expected[1] - 1
    assert NNiT(replace(TINY, balanced=False)).expected_log_error(torch.tensor([1])) is None


@pytest.mark.slow
def test_learns_which_architectures_there_are(tmp_path: Path) -> None:
    pairs = fit(tmp_path, config=replace(SMALL, joint_share=1.0)).generate_joint(12)
    for arch, weights in pairs:
        check_weights(weights, arch, OBSERVATION_DIM, ACTION_DIM, "nnit")
    known = [(arch, weights) for arch, weights in pairs if arch in TRAINED]
    assert len(known) >= 8 and {arch for arch, _ in known} == set(TRAINED)  # of 81 that there could be
    for arch, weights in known:
        networks = toy_zoo(policy).networks(arch).values()
        untrained = min(distance(policy(arch, seed=99), other) for other in networks)
        assert min(distance(weights, other) for other in networks) < 0.9 * untrained


@pytest.mark.parametrize("target", ["noise", "x0", "v"])
@pytest.mark.parametrize("tokens", ["grid", "valid"])
def test_every_option_trains_and_samples(tmp_path: Path, target: Any, tokens: Any) -> None:
    config = replace(
        TINY,
        target=target,
        tokens=tokens,
        learned_variance=True,
        sampler="ancestral",
        sampling_steps=5,
    )
    method = fit(tmp_path, config=config)
    (sample,), ((arch, joint),) = method.generate(TRAINED[0], 1), method.generate_joint(1)
    check_weights(sample, TRAINED[0], OBSERVATION_DIM, ACTION_DIM, "nnit")
    check_weights(joint, arch, OBSERVATION_DIM, ACTION_DIM, "nnit")
    log = (tmp_path / "nnit.csv").read_text().splitlines()
    assert log[0].startswith("step,loss,lr,ms_per_step") and log[-1].startswith("20,")


def test_no_direction_of_a_patch_is_lost_to_noise(tmp_path: Path) -> None:
    """Of predicted noise the sampler multiplies what the model does not pass on by a hundred."""
    config = replace(SMALL, patch=4, width=16, depth=1, target="noise", place_std=0.02, peak_lr=1e-2)
    method, zoo = fit(tmp_path, config=config), toy_zoo(policy)
    corpus = build_corpora(zoo, config.token_shape, torch.device("cpu"))[0]
    process = Process(config.timesteps, "noise", learned_variance=False)
    seen, place = corpus.valid.nonzero()[:, 0], positions(config.token_shape)
    w0 = corpus.patches[:, seen].repeat(8, 1, 1)
    t, noise = torch.full((len(w0),), 900), torch.randn(w0.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        noisy = process.diffuse(w0, noise, t)
        _, predicted = method.model(corpus.codes.expand(len(w0), -1, -1), noisy, place[seen], 0 * t, t)
    error = (predicted - noise).flatten(0, 1)
    assert float(torch.linalg.eigvalsh(error.T @ error / len(error)).max()) < 0.03  # 1 where it is lost


def test_attention_is_the_same_with_a_gradient_as_without() -> None:
    q, k, v = torch.randn(3, 2, 4, 7, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attention(q.clone().requires_grad_(), k, v), attention(q, k, v))


def test_holds_nothing_of_the_zoo_before_it_is_trained() -> None:
    """What it is built from is the configuration and the seed: no component, mean or basis of the networks."""

    def built(shift: int) -> NNiT:
        zoo = toy_zoo(lambda arch, seed, observation_dim: policy(arch, seed + shift, observation_dim))
        return Method.build(Method.config, build_corpora(zoo, PATCH, torch.device("cpu")), seed=0)

    first, second = built(0), built(50)
    assert same(dict(first.state_dict()), dict(second.state_dict()))
    assert not list(first.buffers()) and all(parameter.requires_grad for parameter in first.parameters())


def test_one_map_in_and_out_serves_all_places() -> None:
    model, place, rng = NNiT(TINY), positions(PATCH), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for embedding in (model.layer_embedding, model.row_embedding, model.column_embedding):
            embedding.weight.zero_()
        model.patch_out.weight.normal_(generator=rng)
    codes, t = encode_architecture(TRAINED[0])[None], torch.ones(1)
    patches = torch.randn(1, len(place), 256, generator=rng)
    written = model(codes, patches, place, t, t)[1]
    order = torch.randperm(len(place), generator=rng)
    torch.testing.assert_close(model(codes, patches[:, order], place, t, t)[1], written[:, order])


@pytest.mark.slow
def test_validation_scores_the_samples(zoo: Zoo) -> None:
    networks = zoo.training_set()
    found = _validation.validate(networks, lambda arch, n: list(networks.networks(arch).values())[:n])
    assert found["return"] > 34 and found["success_at_end"] > 0.8  # validated policies


def test_an_interrupted_run_ends_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_optimisation, "CHECKPOINT_EVERY", 5)
    straight = tmp_path / "straight"
    broken = tmp_path / "broken"
    straight.mkdir()
    broken.mkdir()
    expected = fit(straight)

    with monkeypatch.context() as patched:
        interrupt_at(patched, 13)
        with pytest.raises(KeyboardInterrupt):
            fit(broken)
    assert sorted(path.name for path in broken.iterdir()) == ["nnit.csv", "nnit.safetensors"]
    resumed = fit(broken)

    assert same(load_file(straight / "nnit.safetensors"), load_file(broken / "nnit.safetensors"))
    assert resumed.manifest.final_loss == expected.manifest.final_loss
    assert all(map(same, resumed.generate(TRAINED[0], 2), expected.generate(TRAINED[0], 2)))


def test_refuses_the_checkpoint_of_another_run(tmp_path: Path) -> None:
    fit(tmp_path, seed=0)
    with pytest.raises(ValueError, match=r"nnit\.safetensors: .*'seed': 1.*'seed': 0.*delete it"):
        fit(tmp_path, seed=1)


def test_global_randomness_is_neither_used_nor_moved(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "saved").mkdir()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    method = fit(tmp_path)
    first = method.generate(TRAINED[0], 2)
    method.save(tmp_path / "saved")
    Method.load(tmp_path / "saved", toy_zoo(policy))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = fit(tmp_path / "again").generate(TRAINED[0], 2)
    assert all(map(same, first, second))


def test_generates_valid_distinct_policies_for_any_architecture(fitted: Method) -> None:
    for arch in ((64, 16, 32, 16), (16, 16, 16, 16), (64, 64, 64, 64)):
        samples = fitted.generate(arch, 8)
        check_weights(samples[0], arch, OBSERVATION_DIM, ACTION_DIM, "nnit")
        assert max(distance(samples[0], other) for other in samples) > 1.0  # one of two networks is recalled, or both


def test_a_sample_depends_on_architecture_seed_and_its_number_alone(
    fitted: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = fitted.generate(TRAINED[0], 5, seed=4)
    for sample, again in zip(fitted.generate(TRAINED[0], 3, seed=4), many, strict=False):
        assert distance(sample, again) < 1e-3
    # Another seed may recall the same one of two networks, though not from the same noise.
    assert distance(fitted.generate(TRAINED[0], 1, seed=5)[0], many[0]) > 1e-2
    monkeypatch.setattr(_noise, "SAMPLE_BATCH", 2)
    assert max(map(distance, fitted.generate(TRAINED[0], 5, seed=4), many)) < 1e-3


def test_asked_to_choose_architectures_fewer_are_the_first_too(fitted: Method) -> None:
    fewer, more = fitted.generate_joint(2, seed=4), fitted.generate_joint(4, seed=4)
    for (arch, sample), (again, other) in zip(fewer, more, strict=False):
        assert arch == again and distance(sample, other) < 1e-3


@pytest.mark.parametrize("joint_share", [0.0, 1.0])
def test_the_architecture_is_clean_or_as_noisy_as_the_weights(joint_share: float) -> None:
    """Eq. 4. A batch has networks of one architecture where that is clean, else of any, with all patches."""
    corpora = build_corpora(toy_zoo(policy), PATCH, torch.device("cpu"))
    codes = torch.stack([corpus.codes for corpus in corpora])
    model, place, process = NNiT(TINY), positions(PATCH), Process(1000, "x0", learned_variance=False)
    given: list[tuple[torch.Tensor, ...]] = []
    model.register_forward_pre_hook(lambda module, inputs: given.append(inputs))
    rng = torch.Generator().manual_seed(0)
    for _ in range(6):
        batch_loss(model, corpora, place, process, replace(TINY, batch=32, joint_share=joint_share), rng)
    for noisy_a, noisy_w, seen, t_a, t_w in given:
        assert torch.equal(t_a, t_w) if joint_share else not t_a.any()
        assert len(t_w.unique()) > 16 and noisy_w.shape[1] == len(seen) <= len(place)
        if joint_share:
            assert len(seen) == len(place)
        else:
            assert len(noisy_a.unique(dim=0)) == 1 and any(torch.equal(noisy_a[0], code) for code in codes)
    if not joint_share:
        assert len({tuple(noisy_a[0].flatten().tolist()) for noisy_a, *_ in given}) == len(corpora)


def test_variants_predict_what_their_names_say_and_differ_in_nothing_else_but_two_numbers() -> None:
    assert nnit_noise.Method.config == replace(CPU, target="noise", place_std=0.02, peak_lr=3e-3)
    assert nnit_v.Method.config == replace(CPU, target="v", place_std=0.02, peak_lr=2e-3)
    assert Method.config == CPU and CPU.target == "x0"


def test_a_saved_model_generates_the_same(fitted: Method, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = Method.load(tmp_path, toy_zoo(policy))
    assert all(map(same, loaded.generate(TRAINED[1], 2, seed=3), fitted.generate(TRAINED[1], 2, seed=3)))
    manifest = json.loads((tmp_path / "config.json").read_text())
    assert manifest["config"]["steps"] == SMALL.steps
    assert math.isfinite(manifest["final_loss"])


def test_load_says_what_does_not_fit(fitted: Method, tmp_path: Path) -> None:
    zoo, other = toy_zoo(policy), toy_zoo(policy, observation_dim=35)
    check_that_load_names_misfits(fitted, tmp_path, zoo, other, "trained for observation_dim 42, expected 35")


@pytest.mark.parametrize("arch", [(24, 32, 32, 32), (32, 32, 32), (32, 32, 32, 32, 32)])
def test_names_an_architecture_without_symbols(fitted: Method, arch: Architecture) -> None:
    with pytest.raises(ValueError, match=r"width 24.*\(16, 32, 64\)|hidden layers, expected 4"):
        fitted.generate(arch, 1)


def test_trains_in_bfloat16_where_the_machine_computes_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nnit.training, "computes_bfloat16", lambda device: True)
    method = fit(tmp_path)
    assert {parameter.dtype for parameter in method.model.parameters()} == {torch.float32}
    assert 0 < method.manifest.final_loss < 2


def test_says_early_and_late_how_long_it_will_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, config=replace(TINY, steps=30))
    said = [line for line in capsys.readouterr().out.splitlines() if "minutes left" in line]
    assert "nnit 0 of 0 minutes left" in said[:-1] and said[-1].startswith("nnit step 30 ")
    assert _optimisation._time_left(ms_per_step=600, step=1000, steps=4000) == "30 of 40 minutes left"


def test_a_diverging_run_stops(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="lower peak_lr"):
        fit(tmp_path, config=Config(width=32, depth=1, heads=2, batch=4, steps=5, warmup=1, peak_lr=1e30))
