"""NNiT: tokens are exact, a small model learns, a killed run goes on bit for bit, and a misfit says what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nnbench.methods import nnit
from nnbench.methods.nnit import Config, Method
from nnbench.tasks.architectures import Architecture, load_splits
from nnbench.tasks.policy import Weights, check_weights, flatten_weights, random_policy
from nnbench.tasks.zoo import TrainingSet

OBSERVATION_DIM, ACTION_DIM = 42, 8
ALL_ARCHITECTURES = load_splits().train + load_splits().unseen + load_splits().outside
TRAINED = ((16, 16, 16, 32), (16, 32, 16, 16))
NEVER_VALID = (16, 16, 32, 16)
TINY = nnit.REHEARSAL
SMALL = Config(width=64, depth=2, heads=2, batch=16, steps=400, peak_lr=3e-3, warmup=20, ema=0.95, sampling_steps=20)


def toy_zoo(observation_dim: int = OBSERVATION_DIM, sha256: str = "a" * 64) -> TrainingSet:
    """Two random networks for each architecture."""
    task: Any = SimpleNamespace(name="pick_cube", observation_dim=observation_dim, action_dim=ACTION_DIM)

    def networks(arch: Architecture) -> dict[int, Weights]:
        return {} if arch == NEVER_VALID else {seed: policy(arch, seed, observation_dim) for seed in (0, 1)}

    return TrainingSet(task, sha256, (NEVER_VALID, *TRAINED), networks, None)


def policy(arch: Architecture, seed: int, observation_dim: int = OBSERVATION_DIM) -> Weights:
    weights = random_policy(arch, observation_dim, ACTION_DIM, torch.Generator().manual_seed(seed))
    for key in weights:
        if key.endswith("bias"):
            weights[key] = 0.1 * torch.randn(weights[key].shape, generator=torch.Generator().manual_seed(seed + 7))
    return weights


def fit(directory: Path, zoo: Any = None, seed: int = 0, config: Config = TINY) -> Method:
    return Method.fit(zoo or toy_zoo(), seed=seed, directory=directory, config=config)


def same(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def distance(first: Weights, second: Weights) -> float:
    return (flatten_weights(first) - flatten_weights(second)).norm().item()


@pytest.mark.parametrize("patch", [16, 5])
def test_patches_hold_every_architecture_exactly(patch: int) -> None:
    for arch in ALL_ARCHITECTURES:
        weights = policy(arch, seed=sum(arch))
        tokens = nnit.patchify(weights, patch)
        grids = nnit.patch_grids(arch, OBSERVATION_DIM, ACTION_DIM, patch)
        assert len(tokens) == len(nnit.patch_positions(grids)) == sum(rows * cols for rows, cols in grids)
        assert same(nnit.unpatchify(tokens, arch, OBSERVATION_DIM, ACTION_DIM, patch), weights)


def test_a_patch_lies_where_its_position_says() -> None:
    arch = (16, 64, 32, 16)
    weights = policy(arch, seed=3)
    positions = nnit.patch_positions(nnit.patch_grids(arch, OBSERVATION_DIM, ACTION_DIM, 16)).tolist()
    tokens = nnit.patchify(weights, 16)
    inner = tokens[positions.index([2, 1, 3])].view(16, 16)
    assert torch.equal(inner, weights["4.weight"][16:32, 48:64])
    edge = tokens[positions.index([1, 2, 1])].view(16, 16)
    assert torch.equal(edge[:, 0], weights["2.bias"][32:48])
    assert not edge[:, 1:].any()


def test_weights_are_normalised_by_one_scale_that_padding_does_not_move() -> None:
    corpora, scale = nnit.build_corpora(toy_zoo(), 16, torch.device("cpu"))
    values = torch.cat([flatten_weights(w) for arch in TRAINED for w in toy_zoo().networks(arch).values()])
    assert (scale * values).std().item() == pytest.approx(0.538)
    assert torch.equal(corpora[1].patches[1], nnit.patchify(policy(TRAINED[1], 1), 16) * scale)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Method:
    return fit(tmp_path_factory.mktemp("fit"), config=SMALL)


def test_learns_to_write_the_training_networks(fitted: Method) -> None:
    for arch in TRAINED:
        known = toy_zoo().networks(arch)
        untrained = min(distance(policy(arch, seed=99), other) for other in known.values())
        samples = fitted.generate(arch, 16)
        nearest = [min(known, key=lambda seed: distance(sample, known[seed])) for sample in samples]
        ratios = [distance(sample, known[seed]) / untrained for sample, seed in zip(samples, nearest, strict=True)]
        assert sorted(ratios)[8] < 0.15  # the average of both networks, what a model blind to noise writes, lies at 0.5
        assert set(nearest) == {0, 1}


def test_sampling_follows_the_probability_flow() -> None:
    """For data N(0, s^2) the best prediction is known, and the flow carries noise z to s * z."""
    std, levels = 0.538, nnit.signal_levels(1000)

    def best_prediction(x: torch.Tensor, positions: Any, widths: Any, t: torch.Tensor) -> torch.Tensor:
        level = levels[t, None, None]
        return level.sqrt() * std**2 * x / (level * std**2 + 1 - level)

    noise = torch.randn(2, 3, 256, generator=torch.Generator().manual_seed(0))
    model: Any = best_prediction
    clean = nnit.denoise(model, noise, torch.empty(0), torch.empty(0), Config(sampling_steps=200))
    torch.testing.assert_close(clean, std * noise, rtol=0.05, atol=1e-3)


def test_an_interrupted_run_ends_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nnit, "CHECKPOINT_EVERY", 5)
    straight = tmp_path / "straight"
    broken = tmp_path / "broken"
    straight.mkdir()
    broken.mkdir()
    expected = fit(straight)

    with monkeypatch.context() as patched:
        patched.setattr(nnit, "learning_rate", interrupt_at(13, nnit.learning_rate))
        with pytest.raises(KeyboardInterrupt):
            fit(broken)
    assert [path.name for path in broken.iterdir()] == ["resume.safetensors"]
    resumed = fit(broken)

    assert same(load_file(straight / "resume.safetensors"), load_file(broken / "resume.safetensors"))
    assert resumed.manifest.final_loss == expected.manifest.final_loss
    assert all(map(same, resumed.generate(TRAINED[0], 2), expected.generate(TRAINED[0], 2)))


def interrupt_at(step: int, function: Callable[[int, Config], float]) -> Callable[[int, Config], float]:
    def interrupting(now: int, config: Config) -> float:
        if now == step:
            raise KeyboardInterrupt
        return function(now, config)

    return interrupting


def test_refuses_the_checkpoint_of_another_run(tmp_path: Path) -> None:
    fit(tmp_path, seed=0)
    with pytest.raises(ValueError, match=r"resume\.safetensors: .*'seed': 1.*'seed': 0.*delete it"):
        fit(tmp_path, seed=1)


def test_global_randomness_is_neither_used_nor_moved(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "saved").mkdir()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    method = fit(tmp_path)
    first = method.generate(TRAINED[0], 2)
    method.save(tmp_path / "saved")
    Method.load(tmp_path / "saved", toy_zoo())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = fit(tmp_path / "again").generate(TRAINED[0], 2)
    assert all(map(same, first, second))


def test_generates_valid_distinct_policies_for_any_architecture(fitted: Method) -> None:
    for arch in ((64, 16, 32, 16), (16, 16, 16, 16), (64, 64, 64, 64)):
        first, second = fitted.generate(arch, 2)
        check_weights(first, arch, OBSERVATION_DIM, ACTION_DIM, "nnit")
        assert distance(first, second) > 1.0


def test_a_sample_depends_on_architecture_seed_and_its_number_alone(
    fitted: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = fitted.generate(TRAINED[0], 5, seed=4)
    for sample, again in zip(fitted.generate(TRAINED[0], 3, seed=4), many, strict=False):
        assert distance(sample, again) < 1e-3
    assert distance(fitted.generate(TRAINED[0], 1, seed=5)[0], many[0]) > 1.0
    monkeypatch.setattr(nnit, "GENERATE_BATCH", 2)
    assert max(map(distance, fitted.generate(TRAINED[0], 5, seed=4), many)) < 1e-3


def test_a_saved_model_generates_the_same(fitted: Method, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = Method.load(tmp_path, toy_zoo())
    assert all(map(same, loaded.generate(TRAINED[1], 2, seed=3), fitted.generate(TRAINED[1], 2, seed=3)))
    manifest = json.loads((tmp_path / "config.json").read_text())
    assert manifest["config"]["steps"] == SMALL.steps
    assert manifest["final_loss"] > 0


def test_load_says_what_does_not_fit(fitted: Method, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json.*train"):
        Method.load(tmp_path, toy_zoo())
    fitted.save(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json: trained for observation_dim 42, expected 35; train again"):
        Method.load(tmp_path, toy_zoo(observation_dim=35))
    with pytest.raises(ValueError, match=r"zoo_sha256 'aaa.*expected 'bbb.*train again"):
        Method.load(tmp_path, toy_zoo(sha256="b" * 64))
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(ValueError, match=r"model\.safetensors.*train again"):
        Method.load(tmp_path, toy_zoo())


@pytest.mark.parametrize("arch", [(24, 32, 32, 32), (32, 32, 32), (32, 32, 32, 32, 32)])
def test_names_an_architecture_without_embedding(fitted: Method, arch: Architecture) -> None:
    with pytest.raises(ValueError, match=r"width 24.*\(16, 32, 64\)|hidden layers, expected 4"):
        fitted.generate(arch, 1)


def test_trains_in_bfloat16_where_there_are_matrix_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nnit, "has_matrix_units", lambda device: True)
    method = fit(tmp_path)
    assert {parameter.dtype for parameter in method.model.parameters()} == {torch.float32}
    assert 0 < method.manifest.final_loss < 1


def test_a_diverging_run_stops(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="lower peak_lr"):
        fit(tmp_path, config=Config(width=32, depth=1, heads=2, batch=4, steps=5, warmup=1, peak_lr=1e30))
