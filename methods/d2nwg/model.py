"""The autoencoder and the conditional UNet of its latents, after latent diffusion (Rombach et al. 2022).

Shapes: B networks, D numbers per vector, C channels, T numbers of a condition, S architecture tokens, V symbols; a map
is (B, C, side) or (B, C, side, side), written (B, C, ...).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnbench.methods._diffusion import Timestep
from nnbench.methods.d2nwg.config import Config
from nnbench.methods.nnit.tokens import HIDDEN_LAYERS, SYMBOLS


class Conv1d(nn.Conv1d):
    """The same as torch's, by one product of matrices: for so few places that is faster on a CPU."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, places)
        (kernel,), (stride,), padding = self.kernel_size, self.stride, int(self.padding[0])
        places = (x.shape[2] + 2 * padding - kernel) // stride + 1
        x = F.pad(x.transpose(1, 2), (0, 0, padding, padding))  # (B, places, C)
        read = [x[:, first : first + stride * places : stride] for first in range(kernel)]
        return F.linear(torch.stack(read, dim=3).flatten(2), self.weight.flatten(1), self.bias).transpose(1, 2)


Convolution = type[Conv1d] | type[nn.Conv2d]

_GROUPS = 32
"""Of the UNet's normalisations, where the channels divide so."""
_QUIET = -8.0
"""About the initial logarithm of the latents' variance: the autoencoder begins almost without noise."""


class ResBlock(nn.Module):
    """Two convolutions beside a shortcut; the condition, where there is one, scales and shifts between them."""

    def __init__(
        self, convolution: Convolution, inputs: int, outputs: int, *, normalised: bool, condition: int = 0
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(inputs, normalised), _norm(outputs, normalised)
        self.conv1 = convolution(inputs, outputs, 3, padding=1)
        self.conv2 = convolution(outputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(condition, 2 * outputs) if condition else None
        self.shortcut = nn.Identity() if inputs == outputs else convolution(inputs, outputs, 1)
        _zero(self.conv2)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:  # (B, C, ...), (B, T)
        y = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.modulation is not None:
            factors = self.modulation(condition)
            shift, scale = factors.view(*factors.shape, *[1] * (x.dim() - 2)).chunk(2, dim=1)
            y = torch.addcmul(shift, y, 1 + scale)
        result: Tensor = self.shortcut(x) + self.conv2(F.silu(y))
        return result


class Attention(nn.Module):
    """Self-attention over all places of a map."""

    def __init__(self, channels: int, *, normalised: bool, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _norm(channels, normalised)
        self.qkv = Conv1d(channels, 3 * channels, 1)
        self.proj = Conv1d(channels, channels, 1)
        _zero(self.proj)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:  # (B, C, ...)
        y = self.qkv(self.norm(x).flatten(2))  # (B, 3 C, places)
        q, k, v = (z.unflatten(1, (self.heads, -1)) for z in y.chunk(3, dim=1))  # (B, heads, C / heads, places)
        # Not torch's fused attention: on a CPU, for so few places, a training step takes a tenth longer with it.
        scores = (q.transpose(2, 3) @ k / math.sqrt(q.shape[2])).softmax(dim=3)  # (B, heads, places, places)
        return x + self.proj((v @ scores.transpose(2, 3)).flatten(1, 2)).view_as(x)


class Resample(nn.Module):
    """Half the side by a convolution of stride 2, or twice the side by repetition before a convolution."""

    def __init__(self, convolution: Convolution, channels: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = convolution(channels, channels, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        result: Tensor = self.conv(F.interpolate(x, scale_factor=2.0) if self.up else x)
        return result


class Stack(nn.ModuleList):
    """Modules one after the other, each given the condition."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        for module in self:
            x = module(x, condition)
        return x


class VAE(nn.Module):
    """Vector to features by a linear layer, features to latents by convolutions, and both back.

    Without the authors' group normalisation: with it the autoencoder began to learn later (docs/trials.md).
    """

    basis: Tensor

    def __init__(self, numbers: int, config: Config) -> None:
        super().__init__()
        self.features, self.principal = config.features, config.principal
        count, convolution = math.prod(config.features), _convolution(config.features)
        if config.principal:
            self.register_buffer("basis", torch.zeros(count, numbers))  # orthonormal rows
        else:
            self.read = nn.Sequential(nn.Linear(numbers, count), nn.LeakyReLU())
            self.write = nn.Linear(count, numbers)
        widths = [config.vae_width * multiplier for multiplier in config.vae_multipliers]
        self.latents = (config.latents, *(side // 2 ** (len(widths) - 1) for side in config.features[1:]))

        def middle() -> list[nn.Module]:
            ends = [ResBlock(convolution, widths[-1], widths[-1], normalised=False) for _ in range(2)]
            return [ends[0], Attention(widths[-1], normalised=False), ends[1]]

        def head(inputs: int, outputs: int) -> list[nn.Module]:
            last = convolution(inputs, outputs, 3, padding=1)
            if config.principal:
                _zero(last)  # beside an identity
            return [nn.SiLU(), last]

        encoder: list[nn.Module] = [convolution(config.features[0], widths[0], 3, padding=1)]
        for level, (inputs, width) in enumerate(zip(widths[:1] + widths, widths, strict=False)):
            encoder += [Resample(convolution, inputs, up=False)] if level else []
            encoder += [
                ResBlock(convolution, width if block else inputs, width, normalised=False)
                for block in range(config.vae_blocks)
            ]
        self.encoder = nn.Sequential(*encoder, *middle(), *head(widths[-1], 2 * config.latents))

        decoder: list[nn.Module] = [convolution(config.latents, widths[-1], 3, padding=1), *middle()]
        for level, (inputs, width) in enumerate(zip(widths[-1:] + widths[::-1], widths[::-1], strict=False)):
            decoder += [Resample(convolution, inputs, up=True)] if level else []
            decoder += [
                ResBlock(convolution, width if block else inputs, width, normalised=False)
                for block in range(config.vae_blocks + 1)
            ]
        self.decoder = nn.Sequential(*decoder, *head(widths[0], config.features[0]))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, (B, D) to (B, C, ...) each."""
        features = (F.linear(x, self.basis) if self.principal else self.read(x)).view(len(x), *self.features)
        mean, log_variance = self.encoder(features).chunk(2, dim=1)
        if self.principal:
            mean = features.view_as(mean) + mean
        return mean, (_QUIET + log_variance).clamp(-30, 20)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, ...) to (B, D)."""
        features = self.decoder(latents)
        if self.principal:
            return (latents.reshape(features.shape) + features).flatten(1) @ self.basis
        written: Tensor = self.write(features.flatten(1))
        return written


class UNet(nn.Module):
    """From noisy latents, their timestep and an architecture to the target of the diffusion."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.picture = config.picture
        channels, *sides = config.picture
        convolution, embedding, heads = _convolution(config.picture), config.embedding, config.heads
        widths = [config.unet_width * multiplier for multiplier in config.unet_multipliers]
        self.timestep = Timestep(embedding)
        self.architecture = nn.Sequential(  # channels of their own beside the latents
            nn.Linear((HIDDEN_LAYERS + 2) * SYMBOLS, 512),
            nn.SiLU(),
            nn.Linear(512, config.condition_channels * math.prod(sides)),
        )

        def block(inputs: int, outputs: int, level: int) -> list[nn.Module]:
            parts: list[nn.Module] = [ResBlock(convolution, inputs, outputs, normalised=True, condition=embedding)]
            return parts + (
                [Attention(outputs, normalised=True, heads=heads)] if level >= config.attention_from else []
            )

        width = widths[0]
        self.enter = convolution(channels + config.condition_channels, width, 3, padding=1)
        skips = [width]
        self.down = nn.ModuleList()
        for level, outputs in enumerate(widths):
            if level:
                self.down.append(Stack([Resample(convolution, width, up=False)]))
                skips.append(width)
            for _ in range(config.unet_blocks):
                self.down.append(Stack(block(width, outputs, level)))
                width = outputs
                skips.append(width)
        self.middle = Stack(
            [
                ResBlock(convolution, width, width, normalised=True, condition=embedding),
                Attention(width, normalised=True, heads=heads),
                ResBlock(convolution, width, width, normalised=True, condition=embedding),
            ]
        )
        self.up = nn.ModuleList()
        for level, outputs in reversed(list(enumerate(widths))):
            for last in [False] * config.unet_blocks + [True]:
                parts = block(width + skips.pop(), outputs, level)
                width = outputs
                self.up.append(Stack(parts + ([Resample(convolution, width, up=True)] if level and last else [])))
        self.leave = nn.Sequential(_norm(width, True), nn.SiLU(), convolution(width, channels, 3, padding=1))
        _zero(self.leave[-1])

    def forward(self, noisy: Tensor, codes: Tensor, t: Tensor) -> Tensor:
        """(B, C, places), (B, S, V) and (B,) to (B, C, places)."""
        picture = noisy.view(len(noisy), *self.picture)
        architecture = self.architecture(codes.flatten(1)).view(len(noisy), -1, *self.picture[1:])
        condition = F.silu(self.timestep(t))  # (B, T)
        x = self.enter(torch.cat([picture, architecture], dim=1))
        skips = [x]
        for stack in self.down:
            x = stack(x, condition)
            skips.append(x)
        x = self.middle(x, condition)
        for stack in self.up:
            x = stack(torch.cat([x, skips.pop()], dim=1), condition)
        result: Tensor = self.leave(x).view_as(noisy)
        return result


class D2NWG(nn.Module):
    """Both networks, and the factor that scales latents to the noise."""

    latent_scale: Tensor

    def __init__(self, vae: VAE, unet: UNet) -> None:
        super().__init__()
        self.vae, self.unet = vae, unet
        self.register_buffer("latent_scale", torch.ones(()))

    def decode(self, pictures: Tensor) -> Tensor:
        """Diffused latents (B, C, places) to vectors (B, D)."""
        vectors: Tensor = self.vae.decode((pictures / self.latent_scale).view(len(pictures), *self.vae.latents))
        return vectors


def principal_components(vectors: Tensor, count: int) -> Tensor:
    """The first `count` components of vectors (N, D), not centred: orthonormal rows, as many as the rank at most."""
    exact = vectors.double()
    values, rotation = torch.linalg.eigh(exact @ exact.T)  # ascending
    values, rotation = values.flip(0)[:count], rotation.flip(1)[:, :count]
    kept = values > 1e-10 * values[0]
    return ((rotation[:, kept].T @ exact) / values[kept, None].sqrt()).float()


def _convolution(shape: tuple[int, ...]) -> Convolution:
    return Conv1d if len(shape) == 2 else nn.Conv2d


def _norm(channels: int, normalised: bool) -> nn.Module:
    return nn.GroupNorm(math.gcd(_GROUPS, channels), channels) if normalised else nn.Identity()


def _zero(layer: nn.Module) -> None:
    """Make the layer's output zero at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
