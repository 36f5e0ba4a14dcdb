"""Policies: ReLU multilayer perceptrons with a linear head, their checks, and how a batch of them acts.

A policy is a state dict with the keys of `nn.Sequential(Linear, ReLU, ..., Linear)`, weights (out, in). It reads
observations as the task's standardiser gives them; its action is the network's output clamped to [-1, 1] by the
simulator.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nnbench.errors import InputError, NnbenchError
from nnbench.tasks.policies.architectures import Architecture, architecture_name, parameter_shapes
from nnbench.tasks.policies.standardiser import Standardiser
from nnbench.tasks.task import Actor

Weights = dict[str, Tensor]


_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class InvalidWeights(NnbenchError, ValueError):
    """Generated weights that are no policy of the requested architecture."""


def check_weights(weights: object, arch: Architecture, observation_dim: int, action_dim: int, owner: str) -> Weights:
    """Return `weights` as contiguous float32 CPU tensors of their own, in layer order.

    What float64 holds and float32 does not becomes float32's largest number.

    Raises InvalidWeights naming `owner` and every difference in keys, shapes, dtypes and finiteness.
    """
    expected = parameter_shapes(arch, observation_dim, action_dim)
    if not isinstance(weights, dict):
        raise InvalidWeights(f"{owner}: expected a state dict, got {type(weights).__name__}")
    faults = [f"missing {key}" for key in expected.keys() - weights.keys()]
    faults += [f"unexpected {key}" for key in weights.keys() - expected.keys()]
    for key, shape in expected.items():
        if key not in weights:
            continue
        value = weights[key]
        if type(value) not in (Tensor, torch.nn.Parameter):
            faults.append(f"{key} is a {type(value).__name__}, expected a torch.Tensor")
        elif value.dtype not in _DTYPES:
            faults.append(f"{key} has dtype {value.dtype}, expected torch.float32")
        elif value.layout != torch.strided or value.device.type == "meta":
            faults.append(f"{key} is a {value.layout} tensor on {value.device}, expected a dense one with values")
        elif tuple(value.shape) != shape:
            faults.append(f"{key} has shape {tuple(value.shape)}, expected {shape}")
        elif not bool(torch.isfinite(value).all()):
            faults.append(f"{key} holds NaN or infinite values")
    if faults:
        name = architecture_name(arch)
        raise InvalidWeights(f"{owner}: no policy of architecture {name}: {'; '.join(sorted(faults))}")
    return {key: _as_float32(weights[key].detach().cpu()) for key in expected}


def _as_float32(value: Tensor) -> Tensor:
    largest = torch.finfo(torch.float32).max
    value = value.clamp(-largest, largest) if value.dtype == torch.float64 else value
    return value.to(torch.float32).contiguous()


def weights_sha256(weights: Weights) -> str:
    """Hash of a policy's float32 values in layer order; equal hashes are equal policies."""
    digest = hashlib.sha256()
    for key, value in weights.items():
        digest.update(key.encode() + repr(tuple(value.shape)).encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def architecture_of(weights: Weights) -> Architecture:
    """The hidden widths."""
    return tuple(len(weights[f"{2 * layer}.bias"]) for layer in range(len(weights) // 2 - 1))


def flatten_weights(weights: Weights) -> Tensor:
    """All parameters as one vector, in layer order, weight before bias."""  # (P,)
    return torch.cat([value.flatten() for value in weights.values()])


def nearest_neighbours(policies: Sequence[Weights]) -> tuple[Tensor, Tensor]:
    """L2 distance to the nearest other policy, and the largest cosine similarity to another policy, (S,) each.

    All policies must be of one architecture; of a single one both are NaN (paper, tables 1 and 6).
    """
    flat = torch.stack([flatten_weights(policy).double() for policy in policies])  # (S, P)
    if len(flat) < 2:
        return torch.full((1,), torch.nan), torch.full((1,), torch.nan)
    # By matrix products a copy would come out at a small distance instead of 0.
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    directions = flat / flat.norm(dim=1, keepdim=True)
    cosines = (directions @ directions.T).fill_diagonal_(-torch.inf)
    return distances.min(dim=1).values, cosines.max(dim=1).values


Values = TypeVar("Values", Tensor, np.ndarray)


def forward(weights: Sequence[Values], biases: Sequence[Values], inputs: Values) -> Values:
    """The linear outputs of ReLU networks, side by side or single, with tensors or arrays.

    Per layer weights (..., out, in) and biases (..., out); inputs (..., B, O) to outputs (..., B, A), not clamped.
    """
    hidden = inputs
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        hidden = hidden @ weight.swapaxes(-1, -2) + bias[..., None, :]
        if layer < len(weights) - 1:
            hidden = _relu(hidden)
    return hidden


def _relu(values: Any) -> Any:
    return F.relu(values) if isinstance(values, Tensor) else np.maximum(values, 0)


def act(weights: Weights, observations: Tensor) -> Tensor:
    """One policy's actions as the simulator executes them: standardised observations (B, O) to (B, A) in [-1, 1]."""
    layers = range(len(weights) // 2)
    matrices, biases = ([weights[f"{2 * layer}.{kind}"] for layer in layers] for kind in ("weight", "bias"))
    return forward(matrices, biases, observations).clamp(-1, 1)


@dataclass(frozen=True)
class PolicyActor:
    """One policy per row: row k acts with `policies[index[k]]`. Policies may differ in architecture.

    Layers are zero-padded to their widest policy, which changes nothing: a padded unit has zero weight and bias, and
    relu(0) = 0. Each row is its own matrix-vector product, so what a policy does cannot depend on its neighbours.
    Products are summed in double precision and the action is rounded, so that it hardly depends on the machine either.
    """

    weights: tuple[np.ndarray, ...]  # per layer (P, out, in), float64
    biases: tuple[np.ndarray, ...]  # per layer (P, out), float64
    index: np.ndarray  # (K,)

    @classmethod
    def stack(cls, policies: Sequence[Weights], index: np.ndarray, standardiser: Standardiser | None) -> "PolicyActor":
        """Pad and stack policies of equal depth; `index` says which policy each row follows.

        The standardiser is that of the task, None for networks that read observations as they are.
        """
        layers = len(policies[0]) // 2
        weights, biases = [], []
        for layer in range(layers):
            blocks = [policy[f"{2 * layer}.weight"].numpy() for policy in policies]
            out, inputs = (max(block.shape[axis] for block in blocks) for axis in (0, 1))
            weight = np.zeros((len(policies), out, inputs))
            bias = np.zeros((len(policies), out))
            for p, block in enumerate(blocks):
                weight[p, : block.shape[0], : block.shape[1]] = block
                bias[p, : block.shape[0]] = policies[p][f"{2 * layer}.bias"].numpy()
            weights.append(weight)
            biases.append(bias)
        if standardiser is not None:  # W ((x - mean) / scale) + b = (W / scale) x + (b - (W / scale) mean)
            weights[0] = weights[0] / standardiser.scale
            biases[0] = biases[0] - weights[0] @ standardiser.mean
        return cls(tuple(weights), tuple(biases), np.asarray(index))

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Raises InputError where the policies read observations of another size."""
        if observations.shape[1] != self.weights[0].shape[2]:
            raise InputError(
                f"the policies read {self.weights[0].shape[2]} numbers, the task's observation has "
                f"{observations.shape[1]}; are they policies of another task?"
            )
        weights, biases = ([layer[self.index] for layer in layers] for layers in (self.weights, self.biases))
        with np.errstate(over="ignore", invalid="ignore"):  # the engine looks for what is not finite
            actions: np.ndarray = forward(weights, biases, observations[:, None, :])  # (K, 1, A)
            return actions[:, 0].astype(np.float32)


@dataclass(frozen=True)
class GaussianActor:
    """The expert: one tanh network for all rows, its mean action plus Gaussian noise of standard deviation `std`."""

    weights: tuple[np.ndarray, ...]  # per layer (out, in)
    biases: tuple[np.ndarray, ...]  # per layer (out,)
    std: np.ndarray  # (A,), zero for the deterministic expert
    generator: np.random.Generator

    @classmethod
    def from_state_dict(cls, state: Weights, std: np.ndarray | float = 0.0, seed: int = 0) -> "GaussianActor":
        """Read a state dict of `nn.Sequential(Linear, Tanh, ..., Linear)`, whatever the order of its keys."""
        layers = sorted({int(key.split(".")[0]) for key in state})
        weights, biases = (
            tuple(state[f"{layer}.{kind}"].detach().float().numpy() for layer in layers) for kind in ("weight", "bias")
        )
        spread = np.broadcast_to(np.asarray(std, np.float32), biases[-1].shape)
        return cls(weights, biases, spread, np.random.default_rng(seed))

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        hidden = observations
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = hidden @ weight.T + bias
            if layer < len(self.weights) - 1:
                hidden = np.tanh(hidden)
        if not self.std.any():
            return hidden
        return hidden + self.std * self.generator.standard_normal(hidden.shape, np.float32)


@dataclass(frozen=True)
class MixtureActor:
    """DAgger's behaviour: at each step the teacher acts in a row with probability `beta`, else the student.

    Gaussian noise of standard deviation `noise` on the executed action makes the visited states more diverse.
    """

    teacher: Actor
    student: Actor
    beta: np.ndarray  # (K,)
    noise: np.ndarray  # (K,)
    generator: np.random.Generator

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        teach = self.generator.random(len(observations)) < self.beta  # (K,)
        action = np.where(teach[:, None], self.teacher(observations), self.student(observations))
        return action + self.noise[:, None] * self.generator.standard_normal(action.shape, np.float32)


def random_policy(arch: Architecture, observation_dim: int, action_dim: int, generator: torch.Generator) -> Weights:
    """A policy at He initialisation with zero biases."""
    weights: Weights = {}
    for key, shape in parameter_shapes(arch, observation_dim, action_dim).items():
        std = math.sqrt(2 / shape[1]) if key.endswith("weight") else 0.0
        weights[key] = std * torch.randn(shape, generator=generator)
    return weights
