"""The autoencoder: GPT-2's blocks without causal mask and without biases, and a projection head for the contrast.

Shapes: B policies, T tokens, D numbers per token, W model width, Z latent numbers per token.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnbench.methods.sane.config import Config
from nnbench.methods.sane.tokens import LAYERS, token_size, window
from nnbench.tasks.policies.architectures import MAX_WIDTH

_PROJECTED = 30


class Block(nn.Module):
    """Pre-norm self-attention and perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:  # (B, T, W), (B, T) bool
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        # Not torch's fused attention: on a CPU, for so few tokens, a training step takes half as long again with it.
        hidden = torch.zeros(present.shape, dtype=q.dtype, device=q.device).masked_fill(~present, -torch.inf)
        scores = q / math.sqrt(q.shape[3]) @ k.transpose(2, 3) + hidden[:, None, None]  # (B, heads, T, T)
        attended = scores.softmax(dim=3) @ v
        x = x + self.proj(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Standard(nn.Module):
    """Mean and standard deviation of each layer's weights and biases together."""

    mean: Tensor  # (layers,)
    std: Tensor  # (layers,)

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def apply_to(self, tokens: Tensor, places: Tensor, valid: Tensor) -> Tensor:
        """Weights, (..., T, D), to what the autoencoder reads; padding stays 0."""
        layer = places[..., 1]
        return (tokens - self.mean[layer, None]) / self.std[layer, None] * valid

    def undo(self, tokens: Tensor, places: Tensor) -> Tensor:
        """The inverse of `apply_to`, but for the padding."""
        layer = places[..., 1]
        return tokens * self.std[layer, None] + self.mean[layer, None]


class Autoencoder(nn.Module):
    """Encoder and decoder, which are alike and share the embeddings of the places, and what they read weights in."""

    def __init__(self, config: Config, observation_dim: int, action_dim: int, standard: Standard) -> None:
        super().__init__()
        self.standard = copy.deepcopy(standard)
        width, size = config.width, token_size(observation_dim)
        self.token_in = nn.Linear(size, width)
        self.latent_out = nn.Linear(width, config.latent)
        self.latent_in = nn.Linear(config.latent, width)
        self.token_out = nn.Linear(width, size)
        self.index_embedding = nn.Embedding(window(action_dim), width // 2)
        self.layer_embedding = nn.Embedding(LAYERS, width // 2)
        self.row_embedding = nn.Embedding(max(MAX_WIDTH, action_dim), width // 2)
        self.encoder = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.decoder = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("proj.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.depth) if residual else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        if config.start == "identity":
            for linear in (self.token_in, self.latent_out, self.latent_in, self.token_out):
                nn.init.eye_(linear.weight)

    def encode(self, tokens: Tensor, places: Tensor, present: Tensor) -> Tensor:
        """(B, T, D), (B, T, 3) and (B, T) bool to (B, T, Z), zero where no token is present."""
        x = self.token_in(tokens) + self._embed(places)
        for block in self.encoder:
            x = block(x, present)
        latent: Tensor = self.latent_out(x) * present[..., None]
        return latent

    def decode(self, latent: Tensor, places: Tensor, present: Tensor) -> Tensor:
        """(B, T, Z), (B, T, 3) and (B, T) bool to (B, T, D)."""
        x = self.latent_in(latent) + self._embed(places)
        for block in self.decoder:
            x = block(x, present)
        tokens: Tensor = self.token_out(x)
        return tokens

    def _embed(self, places: Tensor) -> Tensor:  # (B, T, 3) -> (B, T, W)
        index, layer, row = places.unbind(-1)
        return torch.cat([self.index_embedding(index) + self.layer_embedding(layer), self.row_embedding(row)], dim=-1)


class Learner(nn.Module):
    """What is trained: the autoencoder, and the head that only the contrastive loss reads."""

    def __init__(self, config: Config, observation_dim: int, action_dim: int, standard: Standard) -> None:
        super().__init__()
        self.autoencoder = Autoencoder(config, observation_dim, action_dim, standard)
        self.window = window(action_dim)
        self.head = nn.Sequential(
            nn.Linear(self.window * config.latent, _PROJECTED, bias=False),
            nn.LayerNorm(_PROJECTED),
            nn.ReLU(),
            nn.Linear(_PROJECTED, _PROJECTED, bias=False),
            nn.LayerNorm(_PROJECTED),
            nn.ReLU(),
        )

    def project(self, latent: Tensor) -> Tensor:  # (B, T, Z) -> (B, 30)
        padded = F.pad(latent, (0, 0, 0, self.window - latent.shape[1]))
        projected: Tensor = self.head(padded.flatten(1))
        return projected
