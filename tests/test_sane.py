"""SANE: a small autoencoder learns, samples come from where they should, and a killed run goes on bit for bit."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import (
    ACTION_DIM,
    NARROW,
    OBSERVATION_DIM,
    TRAINED,
    WIDE,
    check_that_load_names_misfits,
    distance,
    interrupt_at,
    same,
    toy_zoo,
)
from safetensors.torch import load_file
from torch import Tensor

from nnbench.methods import (
    _optimisation,
    _validation,
    sane,
    sane_bootstrapped,
    sane_identity,
    sane_independent,
    sane_joint,
    sane_mz,
    sane_narrow,
    sane_unaligned,
)
from nnbench.methods.sane import Method
from nnbench.methods.sane import training as sane_training
from nnbench.methods.sane.config import CPU, Config, Sampling, mixed, rehearsal
from nnbench.methods.sane.model import Autoencoder, Block, Learner, Standard
from nnbench.methods.sane.sampling import Rows, collect_anchors, draw, keep_best, keep_first, stack
from nnbench.methods.sane.tokens import detokenise, layout, tokenise
from nnbench.methods.sane.training import (
    batch_loss,
    build_corpus,
    canonical_networks,
    contrastive_loss,
    draw_batch,
    reconstruction_loss,
    shuffled,
)
from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import (
    PolicyActor,
    Weights,
    architecture_of,
    check_weights,
    flatten_weights,
    random_policy,
)
from nnbench.tasks.policies.rebasin import permute

UNSEEN = (16, 32, 16, 32)
TINY = rehearsal(CPU)
SMALL = replace(TINY, width=64, latent=64, steps=250, peak_lr=3e-3, warmup=20, ema=0.9)


def policy(arch: Architecture, seed: int, observation_dim: int = OBSERVATION_DIM) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    weights = random_policy(arch, observation_dim, ACTION_DIM, generator)
    return {key: value + 0.05 * torch.randn(value.shape, generator=generator) for key, value in weights.items()}


def fit(directory: Path, zoo: Any = None, seed: int = 0, config: Config = TINY, kind: Any = Method) -> Any:
    directory.mkdir(exist_ok=True)
    return kind.fit(zoo or toy_zoo(policy), seed=seed, directory=directory, config=config)


def error(first: Weights, second: Weights) -> float:
    """Their distance, relative to the second."""
    return distance(first, second) / float(flatten_weights(second).norm())


def with_config(method: Method, **changes: Any) -> Method:
    manifest = replace(method.manifest, config=replace(method.manifest.config, **changes))
    return Method(method.model, manifest, method.training)


def sampled(method: Method, **changes: Any) -> Method:
    return Method(method.model, method.manifest, method.training, replace(Method.sampling, **changes))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fit")


@pytest.fixture(scope="module")
def fitted(directory: Path) -> Method:
    return fit(directory, config=SMALL)


def test_learns_to_reconstruct_the_training_networks(fitted: Method, directory: Path) -> None:
    losses = [float(line.split(",")[1]) for line in (directory / "sane.csv").read_text().splitlines()[1:]]
    assert losses[-1] < 0.6 * losses[0]
    for arch in TRAINED:
        policies = [policy(arch, 0), policy(arch, 1)]
        for network, again in zip(policies, fitted.reconstruct(policies, arch), strict=True):
            check_weights(again, arch, OBSERVATION_DIM, ACTION_DIM, "sane")
            assert error(again, network) < 0.25


def test_training_begins_at_random_as_the_authors_and_one_variant_with_a_nearly_whole_round_trip(
    fitted: Method,
) -> None:
    errors = {}
    for name, config in (("sane", CPU), ("sane_identity", sane_identity.Method.config)):
        build = partial(Autoencoder, config, OBSERVATION_DIM, ACTION_DIM, fitted.model.standard)
        model = _optimisation.seeded(build, 0).requires_grad_(False)
        untrained = Method(model, replace(fitted.manifest, config=config), toy_zoo(policy))
        errors[name] = error(untrained.reconstruct([policy(WIDE, 0)], WIDE)[0], policy(WIDE, 0))
    assert errors["sane_identity"] < 0.15 and errors["sane"] > 0.9


def test_the_later_variant_learns_too(tmp_path: Path) -> None:
    method = fit(tmp_path, config=replace(mixed(SMALL), steps=120, peak_lr=SMALL.peak_lr))
    policies = [policy(WIDE, 0), policy(WIDE, 1)]
    assert max(map(error, method.reconstruct(policies, WIDE), policies)) < 0.5


def test_a_reconstruction_keeps_the_order_of_the_neurons(fitted: Method) -> None:
    network, rng = policy(WIDE, 1), np.random.default_rng(0)
    orders = [rng.permutation(width) for width in WIDE]
    (plain,), (moved,) = (fitted.reconstruct([net], WIDE) for net in (network, permute(network, orders)))
    assert error(moved, permute(plain, orders)) < 1e-5
    assert error(moved, plain) > 0.5


def test_without_alignment_every_order_is_encoded_as_it_is(fitted: Method) -> None:
    as_it_is = with_config(fitted, align="none")
    network = policy(WIDE, 1)
    assert canonical_networks(toy_zoo(policy), WIDE, "none")[1].keys() == network.keys()
    assert same(canonical_networks(toy_zoo(policy), WIDE, "none")[1], network)
    assert not same(canonical_networks(toy_zoo(policy), WIDE, "rebasin")[1], network)
    backwards = [np.arange(width)[::-1].copy() for width in WIDE]
    moved = permute(network, backwards)
    (plain,), (other,) = (as_it_is.reconstruct([net], WIDE) for net in (network, moved))
    assert error(other, permute(plain, backwards)) > 1e-3


def test_shuffled_neurons_change_no_action() -> None:
    rng = torch.Generator().manual_seed(0)
    observations = np.random.default_rng(0).standard_normal((4, OBSERVATION_DIM)).astype(np.float32)
    for arch in (*TRAINED, (64, 32, 64, 16)):
        network = policy(arch, 3)
        view = shuffled(network, rng)
        before, after = (PolicyActor.stack([w], np.zeros(4, int), None)(observations) for w in (network, view))
        np.testing.assert_allclose(after, before, atol=1e-6)
        assert not torch.equal(view["0.bias"], network["0.bias"]) and not torch.equal(view["6.bias"], network["6.bias"])


def test_a_network_is_encoded_alike_beside_longer_ones(fitted: Method) -> None:
    short, long = policy(NARROW, 0), policy((64,) * 4, 0)
    (places, valid), (long_places, long_valid) = (
        layout(arch, OBSERVATION_DIM, ACTION_DIM) for arch in (NARROW, (64,) * 4)
    )
    missing = len(long_places) - len(places)

    def pad(x: Tensor) -> Tensor:
        return torch.nn.functional.pad(x, (0, 0, 0, missing))

    model = fitted.model
    with torch.no_grad():
        alone = model.encode(tokenise(short)[None], places[None], valid.any(1)[None])
        tokens = torch.stack([pad(tokenise(short)) + 9.0 * ~pad(valid).any(1, keepdim=True), tokenise(long)])
        pairs = torch.stack([pad(places), long_places]), torch.stack([pad(valid).any(1), long_valid.any(1)])
        together = model.encode(tokens, *pairs)
        torch.testing.assert_close(together[0, : len(places)], alone[0], atol=1e-4, rtol=1e-4)
        assert not together[0, len(places) :].any()
        decoded = model.decode(together, *pairs)[0, : len(places)]
        torch.testing.assert_close(
            decoded, model.decode(alone, places[None], valid.any(1)[None])[0], atol=1e-4, rtol=1e-4
        )


def test_a_block_is_gpt2s_without_mask_and_biases() -> None:
    """By torch's own attention: pre-norm, scores over the root of a head's size, exact GELU, both added."""
    block = _optimisation.seeded(lambda: Block(32, 4), 0)
    x = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(0))
    present = torch.ones(2, 7, dtype=torch.bool)
    present[1, 4:] = False
    q, k, v = (part.view(2, 7, 4, 8).transpose(1, 2) for part in block.qkv(F.layer_norm(x, (32,))).chunk(3, dim=2))
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=present[:, None, None])
    inner = x + attended.transpose(1, 2).reshape(2, 7, 32) @ block.proj.weight.T
    expected = inner + F.gelu(F.layer_norm(inner, (32,)) @ block.up.weight.T) @ block.down.weight.T
    torch.testing.assert_close(block(x, present)[present], expected[present], atol=1e-5, rtol=1e-5)
    assert {name for name, _ in block.named_parameters()} == {f"{part}.weight" for part in block._modules}


def test_layers_are_standardised_over_their_weights_alone() -> None:
    corpus = build_corpus(toy_zoo(policy), TINY)
    applied: list[list[Tensor]] = [[] for _ in range(5)]
    for network in corpus.networks:
        places, valid = corpus.layouts[architecture_of(network)]
        tokens = corpus.standard.apply_to(tokenise(network), places, valid)
        assert not tokens[~valid].any()
        torch.testing.assert_close(corpus.standard.undo(tokens, places)[valid], tokenise(network)[valid])
        for layer in range(5):
            applied[layer].append(tokens[(places[:, 1] == layer)[:, None] & valid])
    for values in applied:
        means, variances = torch.stack([v.mean() for v in values]), torch.stack([v.var() for v in values])
        assert abs(float(means.mean())) < 1e-5
        assert 0.99 < float(variances.mean()) < 1.01
    plain = build_corpus(toy_zoo(policy), mixed(TINY)).standard
    assert plain.mean.tolist() == [0.0] * 5 and plain.std.tolist() == [1.0] * 5


def test_padding_is_no_part_of_the_reconstruction_loss() -> None:
    rng = torch.Generator().manual_seed(0)
    valid = torch.rand(2, 7, 5, generator=rng) < 0.5
    target = torch.randn(2, 7, 5, generator=rng) * valid
    output = target + 0.1
    garbage = torch.where(valid, output, 1e3)
    per_window = reconstruction_loss(garbage, target, valid, 10, TINY)
    assert float(per_window) == pytest.approx(0.01 * int(valid.sum()) / (2 * 10 * 5), rel=1e-4)
    per_weight = reconstruction_loss(garbage, target, valid, 10, mixed(TINY))
    assert float(per_weight) == pytest.approx(0.01 / float(target[valid].var(correction=0)), rel=1e-2)
    scaled = reconstruction_loss(100 * garbage, 100 * target, valid, 10, mixed(TINY))
    assert float(scaled) == pytest.approx(float(per_weight), rel=1e-2)


def test_the_contrast_is_that_of_simclr() -> None:
    z = torch.randn(6, 30, generator=torch.Generator().manual_seed(0))
    similarity = torch.cosine_similarity(z[:, None], z[None], dim=2) / 0.1
    terms = []
    for i in range(6):
        others = [float(similarity[i, j].exp()) for j in range(6) if j != i]
        terms.append(-np.log(float(similarity[i, (i + 3) % 6].exp()) / sum(others)))
    assert float(contrastive_loss(z)) == pytest.approx(np.mean(terms), rel=1e-4)


def a_batch(config: Config, monkeypatch: pytest.MonkeyPatch) -> tuple[float, Learner, tuple[Tensor, ...]]:
    """The loss of a batch, and what the encoder of the model was given for it, in float32."""
    corpus = build_corpus(toy_zoo(policy), config)
    model = _optimisation.seeded(lambda: Learner(config, OBSERVATION_DIM, ACTION_DIM, corpus.standard), 0)
    given: list[tuple[Tensor, ...]] = []
    encode = model.autoencoder.encode

    def encode_and_keep(*inputs: Tensor) -> Tensor:
        given.append(inputs)
        return encode(*inputs)

    monkeypatch.setattr(model.autoencoder, "encode", encode_and_keep)
    monkeypatch.setattr(sane_training, "computes_bfloat16", lambda device: False)
    loss = batch_loss(model, corpus, config, torch.device("cpu"), torch.Generator().manual_seed(1))
    (inputs,) = given
    monkeypatch.setattr(model.autoencoder, "encode", encode)
    return float(loss.detach()), model, inputs


@pytest.mark.parametrize("config", [TINY, mixed(TINY)])
def test_two_noisy_views_are_contrasted_and_reconstructed_as_they_were_read(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, model, (views, places, present) = a_batch(config, monkeypatch)
    valid = views != 0  # no weight of these networks is zero
    with torch.no_grad():
        latent = model.autoencoder.encode(views, places, present)
        output = model.autoencoder.decode(latent, places, present)
        projected = model.project(latent)
    assert 0 < float(projected.std(dim=0).max()), "the head tells networks apart"
    reconstruction = float(reconstruction_loss(output, views, valid, model.window, config))
    contrast = float(contrastive_loss(projected))
    assert loss == pytest.approx(0.05 * contrast + 0.95 * reconstruction, rel=1e-4)
    assert min(0.05 * contrast, 0.95 * reconstruction) > 1e-3 * loss, "either would be missed"
    if not config.permute:
        first, second = views.chunk(2)
        ratio = (first / second)[valid.chunk(2)[0]].log()
        assert 0.13 < float(ratio.std()) < 0.16  # of each view .1


def test_of_two_views_only_the_second_is_permuted_and_only_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sane_training, "_NOISE", 0.0)
    _, _, (plain, _, _) = a_batch(TINY, monkeypatch)
    _, _, (permuted, _, _) = a_batch(replace(TINY, permute=True), monkeypatch)
    canonical, same_again = plain.chunk(2)
    first, second = permuted.chunk(2)
    assert torch.equal(canonical, same_again) and torch.equal(first, canonical)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.flatten().sort().values, other.flatten().sort().values) and not torch.equal(one, other)


def test_the_head_reads_the_window_whatever_was_padded_before() -> None:
    standard = Standard(torch.zeros(5), torch.ones(5))
    model = _optimisation.seeded(lambda: Learner(TINY, OBSERVATION_DIM, ACTION_DIM, standard), 0)
    latent = torch.randn(3, 50, TINY.latent, generator=torch.Generator().manual_seed(0))
    short, padded = (model.project(x) for x in (latent, torch.nn.functional.pad(latent, (0, 0, 0, 9))))
    assert short.shape == (3, 30) and torch.equal(short, padded)


def test_a_batch_has_different_networks_each_as_likely_as_any_other() -> None:
    networks = [policy(arch, seed) for arch in (NARROW, WIDE, (64,) * 4) for seed in range(4)]
    rng, counts = torch.Generator().manual_seed(0), np.zeros(len(networks))
    numbers = {id(network): number for number, network in enumerate(networks)}
    for _ in range(600):
        drawn = [numbers[id(network)] for network in draw_batch(networks, 3, rng)]
        assert len(set(drawn)) == 3
        counts[drawn] += 1
    assert counts.min() > 0.7 * 150 and counts.max() < 1.3 * 150


def all_held(latents: Tensor) -> Rows:
    return Rows(latents, torch.ones(*latents.shape[:-1], 1, dtype=torch.bool))


@pytest.mark.parametrize(
    ("coupling", "anchors_taken", "noises"), [("shared", 1, 1), ("joint", 1, 30), ("independent", 4, 30)]
)
def test_tokens_share_anchor_and_noise_as_far_as_they_are_coupled(
    coupling: Any, anchors_taken: int, noises: int
) -> None:
    anchors = all_held(torch.arange(4.0)[:, None, None] * 100 + torch.zeros(4, 30, 6))
    rng = torch.Generator().manual_seed(0)
    taken = set()
    for _ in range(40):
        sample = draw(anchors, coupling, 0.2, rng).latents
        chosen = (sample / 100).round()
        assert (chosen == chosen[:, :1]).all() and len(chosen[:, 0].unique()) <= anchors_taken
        noise = sample - 100 * chosen
        assert len(noise.round(decimals=3).unique(dim=0)) == noises
        taken |= set(chosen[:, 0].tolist())
    assert taken == {0, 1, 2, 3}


@pytest.mark.parametrize("coupling", ["shared", "joint", "independent"])
def test_the_bandwidth_is_the_standard_deviation_of_the_noise_whatever_the_anchors(coupling: Any) -> None:
    anchors = torch.randn(1, 2000, 64, generator=torch.Generator().manual_seed(0))
    for scale in (1.0, 100.0):
        drawn = draw(all_held(scale * anchors), coupling, 0.5, torch.Generator().manual_seed(1))
        noise = drawn.latents - scale * anchors[0]
        assert float(noise.std()) == pytest.approx(0.5, rel=0.15)


def test_at_no_bandwidth_samples_are_reconstructions_if_tokens_are_coupled(fitted: Method) -> None:
    canonical = canonical_networks(toy_zoo(policy), WIDE, "rebasin")
    whole = fitted.reconstruct([*canonical.values()], WIDE)
    samples = sampled(fitted, bandwidth=0.0).generate(WIDE, 8)
    nearest = [[error(sample, one) for one in whole] for sample in samples]
    assert max(map(min, nearest)) < 1e-4 and {row.index(min(row)) for row in nearest} == {0, 1}
    blended = sampled(fitted, bandwidth=0.0, coupling="independent").generate(WIDE, 8)
    assert min(error(sample, one) for sample in blended for one in whole) > 0.3


def test_bootstrapping_draws_around_the_best_samples(fitted: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def prefer_the_second(training: Any, policies: list[Weights]) -> list[dict[str, float]]:
        asked.append(len(policies))
        whole = fitted.reconstruct([canonical_networks(toy_zoo(policy), WIDE, "rebasin")[1]], WIDE)[0]
        return [{"return": -error(one, whole)} for one in policies]

    monkeypatch.setattr(_validation, "score", prefer_the_second)
    method = sampled(fitted, bandwidth=1e-3, draws=3, population=9, kept=3)
    plain = sampled(fitted, bandwidth=1e-3).generate(WIDE, 8)
    samples = method.generate(WIDE, 8)
    assert asked == [9, 9]
    second = fitted.reconstruct([canonical_networks(toy_zoo(policy), WIDE, "rebasin")[1]], WIDE)[0]
    assert max(error(sample, second) for sample in samples) < 0.05 < max(error(one, second) for one in plain)
    assert len({float(sample["0.bias"][0]) for sample in samples}) == 8
    assert all(map(same, method.generate(WIDE, 3), samples))


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_bootstrapping_adds_as_much_noise_as_it_draws(
    fitted: Method, monkeypatch: pytest.MonkeyPatch, draws: int
) -> None:
    monkeypatch.setattr(_validation, "score", lambda training, policies: [{"return": 0.0}] * len(policies))
    monkeypatch.setattr(Method, "_decode", lambda method, samples, arch: [one.latents for one in samples])
    method = sampled(fitted, bandwidth=10.0, coupling="independent", draws=draws, kept=50)
    samples: Any = method.generate(WIDE, 50)
    assert float(torch.stack(samples).std()) == pytest.approx(10 * draws**0.5, rel=0.1)  # beside it anchors are small


def test_bootstrapping_keeps_the_highest_returns() -> None:
    samples = [all_held(torch.full((1, 1), float(i))) for i in range(4)]
    scores = [{"return": value, "success_at_end": 0.0} for value in (2.0, 5.0, 1.0, 3.0)]
    assert keep_best(samples, scores, 2) == [samples[1], samples[3]]


def numbered(archs: tuple[Architecture, ...], seeds: dict[Architecture, tuple[int, ...]]) -> tuple[Any, Any]:
    """A zoo without weights, and latents that say whose they are: architecture, seed, layer, row. What a row holds says
    the architecture too."""
    training: Any = SimpleNamespace(
        architectures=archs, networks=lambda arch: {seed: {} for seed in seeds.get(arch, (0, 1))}
    )

    def encoded(arch: Architecture) -> dict[int, Rows]:
        rows = [(layer, row) for layer, width in enumerate((*arch, 2)) for row in range(width)]
        held = (torch.arange(len(archs)) == archs.index(arch)).expand(len(rows), -1)
        return {
            seed: Rows(torch.tensor([(archs.index(arch), seed, *row) for row in rows]), held)
            for seed in training.networks(arch)
        }

    return training, encoded


def test_an_unseen_architecture_takes_its_anchors_from_the_nearest() -> None:
    # Of (4, 8, 4): the first two differ by one doubling, the third by two, the last has what nothing nearer has.
    archs = ((4, 4, 4), (4, 16, 4), (8, 8, 8), (2, 2, 2))
    anchors, held = collect_anchors((4, 8, 4), 2, *numbered(archs, {}))
    assert torch.equal(held.nonzero()[:, 2], anchors[..., 0].flatten())  # each row by its own source
    assert anchors.shape == (4, 18, 4)  # two near architectures, two hypernetworks each
    first = anchors[0].tolist()
    assert first[:8] == [[0, 0, 0, row] for row in range(4)] + [[0, 0, 1, row] for row in range(4)]
    assert first[8:12] == [[1, 0, 1, row] for row in range(4, 8)]  # as near as the third one and listed before it
    assert first[12:] == [[0, 0, 2, row] for row in range(4)] + [[0, 0, 3, row] for row in range(2)]
    assert anchors[2, :, 0].unique().tolist() == [1]  # cut from the wider one
    assert anchors[:, :, 1].tolist() == [[seed] * 18 for seed in (0, 1, 0, 1)]


def test_what_is_cut_from_a_wider_policy_is_that_policy_cut() -> None:
    wide, arch = policy((16, 16, 32, 32), 0), (16, 16, 16, 32)
    training: Any = SimpleNamespace(architectures=(architecture_of(wide),), networks=lambda _: {0: wide})
    (anchor,), _ = collect_anchors(arch, ACTION_DIM, training, lambda _: {0: all_held(tokenise(wide))})
    cut = detokenise(anchor, arch, OBSERVATION_DIM, ACTION_DIM)
    for key, value in cut.items():  # biases too: after the last weight of another architecture is no bias of this one
        assert torch.equal(value, wide[key][tuple(map(slice, value.shape))]), key


def test_neurons_that_matter_come_first_and_keep_their_order() -> None:
    weights = policy((16, 16, 32, 32), 0)
    arch, planted = (16, 16, 4, 32), [3, 7, 20, 31]
    for neuron in range(32):  # what it reads; with weights above zero no neuron is silent
        weights["4.weight"][neuron] = weights["4.weight"][neuron].abs() * (1.0 if neuron in planted else 1e-3)
    weights["4.bias"].zero_()
    orders = keep_first(weights, arch)
    assert orders[2].tolist() == planted + [neuron for neuron in range(32) if neuron not in planted]
    assert all(orders[layer].tolist() == [*range(width)] for layer, width in enumerate((16, 16, 0, 32)) if width)
    weights["6.weight"][:, 5], weights["6.weight"][:, 7] = 1e6, 0.0  # what reads them
    assert keep_first(weights, arch)[2].tolist()[:4] == [3, 5, 20, 31]


def test_a_wider_policy_is_cut_to_the_neurons_that_matter(tmp_path: Path) -> None:
    near, arch = (16, 16, 32, 32), (16, 16, 16, 32)
    whole = policy(near, 0)
    for key in ("4.weight", "4.bias"):
        whole[key][::2] = 0.0  # every second neuron is dead: without them the policy computes the same
    zoo = replace(toy_zoo(policy), architectures=(near,), _networks=lambda _: {0: whole, 1: whole})
    method = fit(tmp_path, zoo, config=replace(TINY, start="identity", width=128, latent=128, steps=5))
    written = sampled(method, bandwidth=0.0).generate(arch, 1)[0]
    kept = {"4.weight": whole["4.weight"][1::2], "6.weight": whole["6.weight"][:, 1::2]}
    for key, value in kept.items():
        assert float((written[key] - value).norm() / value.norm()) < 0.5, key
        cut = whole[key][tuple(map(slice, value.shape))]
        assert float((written[key] - value).norm()) < 0.6 * float((written[key] - cut).norm()), key


def test_an_anchor_that_no_policy_of_its_hypernetwork_completes_is_left_out() -> None:
    archs = ((4, 4, 4), (4, 16, 4))
    anchors, _ = collect_anchors((4, 8, 8), 2, *numbered((*archs, (8, 8, 8)), {(8, 8, 8): (1,), (4, 16, 4): ()}))
    assert anchors[:, 0].tolist() == [[2, 1, 0, 0]]
    anchors, _ = collect_anchors((4, 8, 4), 2, *numbered(archs, {(4, 16, 4): (1,)}))
    assert anchors[:, 0, :2].tolist() == [[0, 1], [1, 1]]
    with pytest.raises(ValueError, match="4-32-4 has a layer wider than"):
        collect_anchors((4, 32, 4), 2, *numbered(archs, {}))


def test_a_training_architecture_is_its_own_anchor(fitted: Method) -> None:
    anchors = collect_anchors(WIDE, ACTION_DIM, toy_zoo(policy), partial(fitted._encode_networks, cut_to=WIDE))
    canonical = [*canonical_networks(toy_zoo(policy), WIDE, "rebasin").values()]
    for encoded in ([*fitted._encode_networks(WIDE, WIDE).values()], fitted._encode(canonical, WIDE)):
        assert all(map(torch.equal, anchors, stack(encoded)))


def test_nothing_reads_the_neurons_that_are_put_in(tmp_path: Path) -> None:
    near, arch = (16, 16, 16, 32), (16, 32, 32, 32)
    sources: tuple[Architecture, ...] = (near, (64,) * 4)
    policies = {of: {key: value + 0.3 for key, value in policy(of, 0).items()} for of in sources}
    zoo = replace(toy_zoo(policy), architectures=(*policies,), _networks=lambda of: {0: policies[of], 1: policies[of]})
    method = fit(tmp_path, zoo, config=replace(TINY, steps=5))
    for bandwidth in (0.0, 0.2):  # a mean of layers that is not 0, and the kernel's noise, stay out of the padding
        (written,) = sampled(method, bandwidth=bandwidth).generate(arch, 1)
        assert written["4.weight"][:16, 16:].abs().max() == 0 == written["6.weight"][:, 16:].abs().max()
        assert written["4.weight"][16:, 16:].abs().max() > 0  # among themselves


def test_generates_valid_distinct_policies_for_an_unseen_architecture(fitted: Method) -> None:
    first, second = fitted.generate(UNSEEN, 2)
    check_weights(first, UNSEEN, OBSERVATION_DIM, ACTION_DIM, "sane")
    assert error(first, second) > 1e-3


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ((32, 32, 32), "32-32-32 has 3 hidden layers, expected 4"),
        ((128, 32, 32, 32), "128-32-32-32 has width 128, expected at most 64"),
        ((64, 32, 16, 32), "64-32-16-32 has a layer wider than that of any training network"),
    ],
)
def test_names_an_architecture_that_it_cannot_write(fitted: Method, arch: Architecture, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted.generate(arch, 1)


def test_a_sample_depends_on_architecture_seed_and_its_number_alone(
    fitted: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = fitted.generate(WIDE, 5, seed=4)
    for sample, again in zip(fitted.generate(WIDE, 3, seed=4), many, strict=False):
        assert error(sample, again) < 1e-4
    assert all(error(sample, many[0]) > 1e-3 for sample in fitted.generate(WIDE, 2, seed=5))
    monkeypatch.setattr(sane, "GENERATE_BATCH", 2)
    assert max(map(error, fitted.generate(WIDE, 5, seed=4), many)) < 1e-4


def test_an_interrupted_run_ends_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_optimisation, "CHECKPOINT_EVERY", 5)
    config = mixed(TINY)  # also draws permutations
    expected = fit(tmp_path / "straight", config=config)
    with monkeypatch.context() as patched:
        interrupt_at(patched, 13)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "broken", config=config)
    resumed = fit(tmp_path / "broken", config=config)
    assert same(*(load_file(tmp_path / run / "sane.safetensors") for run in ("straight", "broken")))
    assert resumed.manifest.final_loss == expected.manifest.final_loss
    assert all(map(same, resumed.generate(WIDE, 2), expected.generate(WIDE, 2)))
    with pytest.raises(ValueError, match=r"sane\.safetensors: .*delete it"):
        fit(tmp_path / "broken", config=replace(config, permute=False))


def test_global_randomness_is_neither_used_nor_moved(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    method = fit(tmp_path / "one", config=mixed(TINY))
    first = method.generate(WIDE, 2)
    method.save(tmp_path / "saved")
    Method.load(tmp_path / "saved", toy_zoo(policy))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert all(map(same, first, fit(tmp_path / "two", config=mixed(TINY)).generate(WIDE, 2)))


def test_a_saved_model_generates_the_same(fitted: Method, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = Method.load(tmp_path, toy_zoo(policy))
    assert all(map(same, loaded.generate(UNSEEN, 2, seed=3), fitted.generate(UNSEEN, 2, seed=3)))
    networks = [policy(WIDE, 0)]
    assert same(loaded.reconstruct(networks, WIDE)[0], fitted.reconstruct(networks, WIDE)[0])
    manifest = json.loads((tmp_path / "config.json").read_text())
    assert manifest["config"]["steps"] == SMALL.steps
    assert not [key for key in load_file(tmp_path / "model.safetensors") if "head" in key]


def test_load_says_what_does_not_fit(fitted: Method, tmp_path: Path) -> None:
    zoo, other = toy_zoo(policy), toy_zoo(policy, observation_dim=35)
    check_that_load_names_misfits(fitted, tmp_path, zoo, other, "trained for observation_dim 42, expected 35")
    with pytest.raises(ValueError, match="train again: nnbench train --method sane_mz"):
        sane_mz.Method.load(tmp_path, zoo)


def test_a_diverging_run_stops(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="sane: the loss .* lower peak_lr"):
        fit(tmp_path, config=replace(TINY, peak_lr=1e30, warmup=1))


def test_the_later_variant_is_the_authors_change() -> None:
    assert sane_mz.Method.config == mixed(CPU) and Method.config == CPU
    changed = mixed(CPU)
    assert (changed.standardise, changed.permute, changed.averaged_over) == (False, True, "valid")
    assert changed.peak_lr == pytest.approx(CPU.peak_lr / 5)


def test_the_authors_dimensions_fit() -> None:
    config = replace(CPU, width=1024, depth=8, heads=8)
    with torch.device("meta"):
        model = Learner(config, OBSERVATION_DIM, ACTION_DIM, Standard(torch.zeros(5), torch.ones(5)))
        places, present = torch.zeros(2, 264, 3, dtype=torch.long), torch.ones(2, 264, dtype=torch.bool)
        latent = model.autoencoder.encode(torch.zeros(2, 264, 65), places, present)
        assert latent.shape == (2, 264, 128) and model.project(latent).shape == (2, 30)
        assert model.autoencoder.decode(latent, places, present).shape == (2, 264, 65)


def test_the_cpu_model_is_small_enough_to_ship() -> None:
    with torch.device("meta"):
        model = Autoencoder(CPU, OBSERVATION_DIM, ACTION_DIM, Standard(torch.zeros(5), torch.ones(5)))
    assert 2 * sum(parameter.numel() for parameter in model.parameters()) < 3 * 2**20  # bytes in float16


def test_a_variant_is_a_subclass_with_another_configuration(tmp_path: Path) -> None:
    class Variant(Method):
        name = "variant"
        config = replace(CPU, align="none")

    method = Variant.fit(toy_zoo(policy), seed=0, directory=tmp_path)
    assert method.manifest.config == replace(rehearsal(CPU), align="none")
    assert (tmp_path / "variant.csv").exists()


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        (sane_joint, {"coupling": "joint"}),
        (sane_independent, {"coupling": "independent"}),
        (sane_narrow, {"bandwidth": 0.05}),
        (sane_bootstrapped, {"draws": 2}),
    ],
)
def test_what_is_sampled_in_another_way_is_trained_as_sane_and_reads_its_model(
    variant: Any, changes: dict[str, Any], fitted: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert variant.Method.trained_as == "sane" and variant.Method.config == CPU
    assert Method.sampling == Sampling(
        coupling="shared", bandwidth=0.2, draws=1, population=50, kept=10
    )  # the authors'
    assert variant.Method.sampling == replace(Method.sampling, **changes)
    monkeypatch.setattr(_validation, "score", lambda training, policies: [{"return": 0.0}] * len(policies))
    zoo = replace(toy_zoo(policy), rehearsal=False)
    fitted.save(tmp_path)
    written = variant.Method.load(tmp_path, zoo).generate(WIDE, 3)
    assert all(map(same, written, sampled(fitted, **changes).generate(WIDE, 3)))
    assert not any(map(same, written, fitted.generate(WIDE, 3)))


def test_without_alignment_networks_are_trained_on_and_sampled_around_as_they_come(fitted: Method) -> None:
    zoo = toy_zoo(policy)
    given = [network for arch in zoo.architectures for network in zoo.networks(arch).values()]
    assert sane_unaligned.Method.config == replace(CPU, align="none")
    assert all(map(same, build_corpus(zoo, replace(TINY, align="none")).networks, given))
    assert not all(map(same, build_corpus(zoo, TINY).networks, given))
    as_it_is = with_config(fitted, align="none")
    encoded, whole = as_it_is._encode_networks(WIDE, WIDE), as_it_is._encode([*zoo.networks(WIDE).values()], WIDE)
    assert all(map(torch.equal, stack([*encoded.values()]), stack(whole)))


def test_places_are_told_to_the_encoder_and_again_to_the_decoder(
    fitted: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a token, what is told is where it stands in the sequence plus its layer, beside its row in the layer."""
    model, (places, _) = fitted.model, layout(UNSEEN, OBSERVATION_DIM, ACTION_DIM)
    index, layer, row = places.unbind(1)
    told = torch.cat([model.index_embedding(index) + model.layer_embedding(layer), model.row_embedding(row)], dim=1)
    assert torch.equal(model._embed(places), told)

    given: list[Tensor] = []
    embed = model._embed

    def recording(places: Tensor) -> Tensor:
        given.append(places)
        return embed(places)

    monkeypatch.setattr(model, "_embed", recording)
    fitted.generate(UNSEEN, 2)
    assert torch.equal(given[-1], places.expand(2, -1, -1)) and index.tolist() == [*range(len(index))]
