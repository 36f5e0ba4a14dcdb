"""D2NWG: networks are vectors and back, both stages learn and go on bit for bit, and a misfit says what is wrong."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    check_that_a_training_validates_what_it_writes,
    check_that_load_names_misfits,
    distance,
    interrupt_at,
    same,
    two_networks,
)
from safetensors.torch import load_file

from nnbench.harness.conformance import toy_training_set
from nnbench.methods import _machine, _noise, _optimisation, d2nwg, d2nwg_grid
from nnbench.methods.d2nwg import Method
from nnbench.methods.d2nwg import training as d2nwg_training
from nnbench.methods.d2nwg.config import REHEARSAL, Config, Stage, on_components
from nnbench.methods.d2nwg.model import VAE, Conv1d, UNet, principal_components
from nnbench.methods.d2nwg.training import Corpus, diffusion_loss, encode_all, vae_loss
from nnbench.methods.d2nwg.vectors import Layout, devectorise, places, vector_size, vectorise
from nnbench.methods.nnit.tokens import encode_architecture
from nnbench.tasks.policies.architectures import load_splits, parameter_shapes
from nnbench.tasks.policies.mlp import check_weights, flatten_weights, random_policy
from nnbench.tasks.push_cube import PUSH_CUBE

ALL_ARCHITECTURES = load_splits().train + load_splits().unseen + load_splits().outside
NARROW, WIDE = (16, 16, 16, 64), (64, 64, 32, 32)
STAGE = Stage(batch=16, steps=120, peak_lr=3e-3, warmup=20, ema=0.95)
SMALL = replace(
    REHEARSAL,
    features=(32, 2),
    vae_width=32,
    latents=4,
    picture=(4, 2),
    unet_width=64,
    unet_multipliers=(1, 1),
    embedding=64,
    condition_channels=8,
    sampling_steps=50,
    vae=STAGE,
    diffusion=replace(STAGE, steps=400),
)
"""Of `d2nwg`."""
GRID = replace(
    on_components(replace(SMALL, features=(16, 2))), sampling_steps=20, vae=replace(STAGE, steps=10), diffusion=STAGE
)
"""Of `d2nwg_grid`."""


ZOO = replace(toy_training_set(), architectures=(NARROW, WIDE), _networks=two_networks)


def fit(directory: Path, zoo: Any = ZOO, seed: int = 0, config: Config = REHEARSAL) -> Method:
    return Method.fit(zoo, seed=seed, directory=directory, config=config)


def losses(path: Path) -> list[float]:
    return [float(row["loss"]) for row in csv.DictReader(path.open())]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fit")


@pytest.fixture(scope="module")
def fitted(directory: Path) -> Method:
    return fit(directory, config=SMALL)


@pytest.mark.parametrize("layout", ["flat", "grid"])
@pytest.mark.parametrize("observation_dim", [35, 42])
def test_a_vector_holds_every_architecture_exactly(layout: Any, observation_dim: int) -> None:
    for arch in ALL_ARCHITECTURES:
        weights = random_policy(arch, observation_dim, 8, torch.Generator().manual_seed(sum(arch)))
        weights = {key: value + 1 for key, value in weights.items()}  # nothing is zero, biases neither
        vector = vectorise(weights, arch, layout, observation_dim, 8)
        assert vector.shape == (vector_size(4, observation_dim, 8),)
        assert int(vector.count_nonzero()) == len(flatten_weights(weights))
        assert same(devectorise(vector, arch, layout, observation_dim, 8), weights)


def test_another_width_shifts_all_that_follows_it_in_the_flat_vector_and_nothing_in_the_grid() -> None:
    narrow, wide = (32, 16, 64, 32), (64, 16, 64, 32)  # the first layer is wider
    weights = random_policy(wide, 42, 8, torch.Generator().manual_seed(0))
    read = {
        layout: devectorise(vectorise(weights, wide, layout, 42, 8), narrow, layout, 42, 8)
        for layout in ("flat", "grid")
    }
    for key, shape in parameter_shapes(narrow, 42, 8).items():
        kept = weights[key][tuple(slice(size) for size in shape)]
        assert torch.equal(read["grid"][key], kept)
        assert key == "0.weight" or key.endswith("bias") or not torch.isclose(read["flat"][key], kept).any()
    assert torch.equal(places((64,) * 4, "grid", 42, 8), places((64,) * 4, "flat", 42, 8))


def test_principal_components_are_as_many_as_the_networks_span() -> None:
    vectors = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    vectors[4] = vectors[0] - vectors[1]
    basis = principal_components(vectors, 8)
    torch.testing.assert_close(basis @ basis.T, torch.eye(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(vectors @ basis.T @ basis, vectors, atol=1e-4, rtol=0)
    first = (vectors @ principal_components(vectors, 1).T).square().sum()
    assert float(first) == pytest.approx(float(torch.linalg.svdvals(vectors)[0] ** 2), rel=1e-4)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 1, 0)])
def test_a_convolution_by_matrices_is_torchs(kernel: int, stride: int, padding: int) -> None:
    ours = Conv1d(6, 4, kernel, stride=stride, padding=padding)
    x = torch.randn(2, 6, 8, requires_grad=True)
    found, expected = ours(x), torch.nn.Conv1d.forward(ours, x)
    torch.testing.assert_close(found, expected)
    to = [x, *ours.parameters()]
    weights = torch.randn_like(found)
    slopes = [torch.autograd.grad((y * weights).sum(), to) for y in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_what_grid_vectors_span_holds_architectures_between_them_and_what_flat_ones_span_does_not() -> None:
    rng = torch.Generator().manual_seed(0)
    widest = [random_policy((64,) * 4, 42, 8, rng) for _ in range(3)]
    crops: dict[Layout, list[torch.Tensor]] = {"flat": [], "grid": []}
    asked: dict[Layout, torch.Tensor] = {}
    for arch in ((64, 64, 64, 64), (16, 64, 64, 64), (64, 64, 64, 16), (16, 64, 64, 16)):  # the last is not spanned
        for policy in widest:
            cut = {
                key: policy[key][tuple(slice(size) for size in shape)]
                for key, shape in parameter_shapes(arch, 42, 8).items()
            }
            for layout, vectors in crops.items():
                vectors.append(vectorise(cut, arch, layout, 42, 8))
                asked[layout] = places(arch, layout, 42, 8)
    left = {}
    for layout, vectors in crops.items():
        *known, new = torch.stack(vectors).split(3)
        basis = principal_components(torch.cat(known), 9)
        error = (new @ basis.T @ basis - new)[:, asked[layout]]
        left[layout] = float(error.norm() / new.norm())
    assert left["grid"] < 0.5 * left["flat"]


class Halves:
    """An autoencoder of one latent place: mean half of the vector, standard deviation .3, decodes twice the latent."""

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = x[:, None, :] / 2
        return mean, torch.full_like(mean, 2 * math.log(0.3))

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return 2 * latent[:, 0]


def test_the_autoencoders_loss_is_the_sum_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(d2nwg_training, "computes_bfloat16", lambda device: False)
    corpus = Corpus(torch.full((1, 1000), 2.0), torch.zeros(1, 6, 5))
    vae: Any = Halves()
    config = replace(REHEARSAL, vae=replace(REHEARSAL.vae, batch=64), kl_weight=3.0, square_weight=2.0)
    found = float(vae_loss(vae, corpus, config, torch.Generator().manual_seed(0)))
    # Decoded less x is .6 of a standard normal; each latent number diverges by half of 1 + .09 - 1 - log .09.
    absolute, squared = 0.6 * math.sqrt(2 / math.pi), 0.36
    divergence = 1000 * 0.5 * (1 + 0.09 - 1 - math.log(0.09))
    assert found == pytest.approx(1000 * (absolute + 2 * squared) + 3 * divergence, rel=0.01)


def test_the_diffusion_learns_samples_of_posteriors_at_standard_deviation_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(d2nwg_training, "computes_bfloat16", lambda device: False)
    rng = torch.Generator().manual_seed(0)
    corpus = Corpus(5 + 3 * torch.randn(8, 40, generator=rng), torch.randint(2, (8, 6, 5), generator=rng).float())
    vae: Any = Halves()
    config = replace(REHEARSAL, picture=(4, 10), diffusion=replace(REHEARSAL.diffusion, batch=256))
    latents = encode_all(vae, corpus, config)
    assert latents.mean.shape == (8, 4, 10) and float(latents.mean.std()) == pytest.approx(1, rel=1e-3)
    torch.testing.assert_close(latents.mean.flatten(1), latents.scale * corpus.vectors / 2)
    torch.testing.assert_close(latents.std, 0.3 * latents.scale.expand(8, 4, 10))

    seen: dict[str, torch.Tensor] = {}

    class Asked:
        def diffuse(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            seen.update(x0=x0, noise=noise, t=t)
            return x0 + 100 * noise

        def draw_timesteps(self, count: int, rng: torch.Generator) -> torch.Tensor:
            return torch.arange(count)

        def loss(self, output: torch.Tensor, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor, **_: Any) -> Any:
            assert x0 is seen["x0"] and noise is seen["noise"] and t is seen["t"]
            return output

    def unet(x: torch.Tensor, codes: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert t is seen["t"] and torch.equal(x, seen["x0"] + 100 * seen["noise"])
        return codes

    process: Any = Asked()
    codes = diffusion_loss(unet, latents, corpus, process, config, rng)  # type: ignore[arg-type]
    own = (codes[:, None] == corpus.codes).flatten(2).all(dim=2).int().argmax(dim=1)  # whose architecture was told
    off = (seen["x0"] - latents.mean[own]) / latents.std[own]
    assert float(off.mean()) == pytest.approx(0, abs=0.05) and float(off.std()) == pytest.approx(1, abs=0.05)


def test_the_loss_of_the_diffusion_falls(fitted: Method, directory: Path) -> None:
    found = losses(directory / "d2nwg-diffusion.csv")
    assert found[-1] < 0.4 * found[0]  # at late timesteps nobody can tell one network from another


def test_learns_to_write_the_training_networks(fitted: Method) -> None:
    assert_writes_the_training_networks(fitted, 0.3)


def assert_writes_the_training_networks(method: Method, most: float) -> None:
    for arch in (NARROW, WIDE):
        known = torch.stack([flatten_weights(network) for network in ZOO.networks(arch).values()])
        written = torch.stack([flatten_weights(sample) for sample in method.generate(arch, 12)])
        gaps = torch.cdist(written, known) / known[0].norm()  # (12, 2), of the two networks 1.4
        assert float(gaps.min(dim=1).values.median()) < most
        assert set(gaps.argmin(dim=1).tolist()) == {0, 1}


def test_learns_to_reconstruct_the_training_networks(fitted: Method, directory: Path) -> None:
    found = losses(directory / "d2nwg-vae.csv")
    assert found[-1] < 0.5 * found[0]
    for arch in (NARROW, WIDE):
        known = list(ZOO.networks(arch).values())
        for network, again in zip(known, fitted.reconstruct(known, arch), strict=True):
            check_weights(again, arch, 42, 8, "d2nwg")
            assert distance(again, network) < 0.2 * flatten_weights(network).norm()  # the other is 1.4 away
    assert fitted.reconstruct([], NARROW) == []


def test_principal_components_reconstruct_from_the_start(tmp_path: Path) -> None:
    method = fit(tmp_path, config=replace(GRID, vae=replace(STAGE, steps=1), diffusion=replace(STAGE, steps=1)))
    for arch in (NARROW, WIDE):
        known = list(ZOO.networks(arch).values())
        for network, again in zip(known, method.reconstruct(known, arch), strict=True):
            assert distance(network, again) < 0.05 * flatten_weights(network).norm()


def test_there_are_as_many_features_and_latents_as_the_zoo_has_components(tmp_path: Path) -> None:
    method = fit(tmp_path, config=GRID)
    config, vae = method.manifest.config, method.model.vae
    assert config.features == config.picture == (2, 2) and config.latents == 2  # of four networks
    torch.testing.assert_close(vae.basis @ vae.basis.T, torch.eye(4), atol=2e-3, rtol=0)  # none is dead
    alone = replace(ZOO, architectures=(WIDE,), _networks=lambda arch: {0: two_networks(arch)[0]})
    with pytest.raises(ValueError, match="the training networks span 1 dimensions, expected at least 2"):
        fit(tmp_path, alone, config=GRID)


def test_on_components_it_learns_to_write_the_training_networks(tmp_path: Path) -> None:
    assert_writes_the_training_networks(fit(tmp_path, config=GRID), 0.1)


@pytest.mark.parametrize("target", ["noise", "v"])
def test_every_option_trains_and_samples(tmp_path: Path, target: Any) -> None:
    (sample,) = fit(tmp_path, config=replace(REHEARSAL, target=target, sampler="ancestral")).generate(NARROW, 1)
    check_weights(sample, NARROW, 42, 8, "d2nwg")


def test_models_of_the_released_sizes_have_the_released_shapes() -> None:
    released = replace(
        REHEARSAL,
        features=(1, 64, 64),
        vae_width=128,
        vae_multipliers=(1, 1, 2),
        vae_blocks=2,
        picture=(1, 32, 32),
        unet_width=256,
        unet_multipliers=(1, 1, 1, 2),
        unet_blocks=2,
        embedding=1024,
        attention_from=2,
    )
    with torch.device("meta"):
        vae, unet = VAE(vector_size(4, 42, 8), released), UNet(released)
        mean, log_variance = vae.encode(torch.zeros(2, 15_752))
        assert mean.shape == log_variance.shape == (2, *vae.latents) == (2, 4, 16, 16)
        assert vae.decode(mean).shape == (2, 15_752)
        assert math.prod(released.picture) == math.prod(vae.latents)
        x = torch.zeros(2, 1, 1024)
        assert unet(x, torch.zeros(2, 6, 5), torch.zeros(2)).shape == x.shape
    assert [layer.out_features for layer in (vae.read[0], vae.write)] == [4096, 15_752]


@pytest.mark.parametrize("stage", ["vae", "diffusion"])
def test_an_interrupted_run_ends_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    monkeypatch.setattr(_optimisation, "CHECKPOINT_EVERY", 5)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    straight.mkdir()
    broken.mkdir()
    expected = fit(straight)

    with monkeypatch.context() as patched:
        interrupt_at(patched, 7, getattr(REHEARSAL, stage))
        with pytest.raises(KeyboardInterrupt):
            fit(broken)
    assert (broken / f"d2nwg-{stage}.safetensors").exists()
    assert (broken / "d2nwg-diffusion.safetensors").exists() == (stage == "diffusion")
    resumed = fit(broken)

    for name in ("d2nwg-vae.safetensors", "d2nwg-diffusion.safetensors"):
        assert same(load_file(straight / name), load_file(broken / name))
    assert resumed.manifest.final_loss == expected.manifest.final_loss
    assert all(map(same, resumed.generate(NARROW, 2), expected.generate(NARROW, 2)))


@pytest.mark.slow
@pytest.mark.skipif(not _machine.can_compile(), reason="no C++ compiler or no headers of Python, which nothing needs")
def test_fused_kernels_learn_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(REHEARSAL, unet_multipliers=(1,))  # compiling takes long
    plain = fit(tmp_path / "plain", config=config)
    monkeypatch.setattr(_machine, "_COMPILE_FROM", REHEARSAL.diffusion.steps)
    calls: list[type] = []
    compile_model = torch.compile

    def compile_and_count(model: torch.nn.Module, **options: Any) -> Any:
        calls.append(type(model))
        return compile_model(model, **options)

    monkeypatch.setattr(torch, "compile", compile_and_count)
    compiled = fit(tmp_path / "compiled", config=config)
    assert calls == [UNet]
    assert compiled.manifest.final_loss == pytest.approx(plain.manifest.final_loss, rel=1e-3)
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()


def test_refuses_the_checkpoint_of_another_run(tmp_path: Path) -> None:
    fit(tmp_path, seed=0)
    with pytest.raises(ValueError, match=r"d2nwg-vae\.safetensors: .*'seed': 1.*'seed': 0.*delete it"):
        fit(tmp_path, seed=1)


def test_a_sample_depends_on_architecture_seed_and_its_number_alone(
    fitted: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = fitted.generate(WIDE, 5, seed=4)
    for sample, again in zip(fitted.generate(WIDE, 3, seed=4), many, strict=False):
        assert distance(sample, again) < 1e-3
    assert distance(fitted.generate(WIDE, 1, seed=5)[0], many[0]) > 0.1
    monkeypatch.setattr(_noise, "SAMPLE_BATCH", 2)
    assert max(map(distance, fitted.generate(WIDE, 5, seed=4), many)) < 1e-3


def test_generates_policies_for_architectures_it_never_saw(fitted: Method) -> None:
    picture, t = fitted.model.unet.picture, torch.tensor([500])
    noisy = torch.randn(1, *picture, generator=torch.Generator().manual_seed(0))
    predicted = []
    for arch in load_splits().unseen:
        first, second = fitted.generate(arch, 2)
        check_weights(first, arch, 42, 8, "d2nwg")
        assert not same(first, second)
        with torch.no_grad():
            predicted.append(fitted.model.unet(noisy, encode_architecture(arch)[None], t).flatten())
    assert float(torch.pdist(torch.stack(predicted)).min()) > 0.01, "the architecture is a condition"


def test_a_saved_model_is_the_same(fitted: Method, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = Method.load(tmp_path, ZOO)
    assert loaded.manifest == fitted.manifest
    assert all(map(same, loaded.generate(WIDE, 2, seed=3), fitted.generate(WIDE, 2, seed=3)))
    known = list(ZOO.networks(WIDE).values())
    assert all(map(same, loaded.reconstruct(known, WIDE), fitted.reconstruct(known, WIDE)))
    assert json.loads((tmp_path / "config.json").read_text())["config"]["diffusion"]["steps"] == 400


def test_load_says_what_does_not_fit(fitted: Method, tmp_path: Path) -> None:
    other = replace(ZOO, task=PUSH_CUBE)
    check_that_load_names_misfits(
        fitted, tmp_path, ZOO, other, "trained for task 'PickCube-v1', expected 'PushCube-v1'"
    )


def test_names_an_architecture_that_does_not_fit(fitted: Method) -> None:
    with pytest.raises(ValueError, match=r"24-32-32-32 has width 24, .*\(16, 32, 64\)"):
        fitted.generate((24, 32, 32, 32), 1)
    with pytest.raises(ValueError, match="24-32-32-32 has width 24"):
        fitted.reconstruct([], (24, 32, 32, 32))
    with pytest.raises(ValueError, match=r"expected a policy of architecture 16-16-16-32, got one of"):
        fitted.reconstruct(list(ZOO.networks(WIDE).values()), (16, 16, 16, 32))


def test_a_diverging_run_stops(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="d2nwg-vae: .*lower peak_lr"):
        fit(tmp_path, config=replace(REHEARSAL, vae=replace(REHEARSAL.vae, peak_lr=1e30, warmup=1)))


def test_the_grid_and_its_components_are_a_variant() -> None:
    plain, grid = d2nwg.Method, d2nwg_grid.Method
    assert not plain.config.principal and not plain.rehearsal.principal and plain.config.target == "noise"
    assert grid.config.principal and grid.rehearsal.principal
    assert (plain.config.layout, grid.config.layout) == ("flat", "grid")
    assert grid.config.diffusion == plain.config.diffusion, "both learn for as long"


def test_a_training_validates_what_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_that_a_training_validates_what_it_writes(d2nwg, Method, ZOO, tmp_path, monkeypatch)
