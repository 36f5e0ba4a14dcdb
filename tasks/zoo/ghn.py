"""Graph hypernetworks (GHNs) that write policies of any architecture, S of them side by side.

After HyperPPO's MLP GHN (Hegde et al. 2023; paper, section 3.2 eq. 2 and section 4): a chain of parameter nodes, one
forward and one backward sweep of message passing, and a decoder from a node's features to its weight matrix. There are
two decoders. `conv1x1` is HyperPPO's, whose 1x1 convolutions on a 1x1 map are a perceptron without any locality.
`upsample` is a convolutional network that grows a map, because the paper says that the decoder's locality counts.

Three things differ from HyperPPO. There the first node is updated in the forward sweep and the last node in the
backward sweep too, with an empty message; before training that changes embeddings by 13 % and weights by at most 2.4 %.
There the last layer's bias passes through a further ReLU and linear layer. There the field that weights are cut from
has a side of 256, here 64 (`max_width`). A change of any of them would make the zoos that ship invalid.

The S networks share nothing but the code: batching makes training S seeds cost little more than training one.

S hypernetworks, A architectures, L layers, N = 2 L + 1 nodes, D = 16 features, M the largest width.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnbench.errors import InputError
from nnbench.tasks.policies.architectures import MAX_WIDTH, Architecture, parameter_shapes
from nnbench.tasks.policies.mlp import Weights, forward

_FEATURES = 16
_FIRST_FIELD = 25.6
"""Over the side, what the first field of `upsample` is multiplied by: neighbours begin alike, so what a row
of them lets through adds up."""


@dataclass(frozen=True, kw_only=True)
class GHNConfig:
    """The decoder and its size. The defaults are not HyperPPO's; the module says what else differs."""

    decoder: Literal["conv1x1", "upsample"] = "conv1x1"
    channels: int = 64
    """Channels of the map before the last layer, `conv1x1` only. HyperPPO has 128; half of them halve a zoo's size."""
    max_width: int = MAX_WIDTH
    """Side of the field that weight matrices are cut from (M)."""


class _Linear(nn.Module):
    """S linear maps, each initialised as `nn.Linear` is."""

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(_uniform((inputs, outputs), bound, generators))  # (S, in, out)
        self.bias = nn.Parameter(_uniform((outputs,), bound, generators))  # (S, out)

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], x, self.weight)  # (S, B, in) -> (S, B, out)


class _GRUCell(nn.Module):
    """S gated recurrent units (Cho et al. 2014): the update U of eq. 2."""

    def __init__(self, features: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.message = _Linear(features, 3 * features, generators)
        self.state = _Linear(features, 3 * features, generators)

    def forward(self, message: Tensor, state: Tensor) -> Tensor:
        reset_m, update_m, new_m = self.message(message).chunk(3, dim=-1)
        reset_s, update_s, new_s = self.state(state).chunk(3, dim=-1)
        update = torch.sigmoid(update_m + update_s)
        new = torch.tanh(new_m + torch.sigmoid(reset_m + reset_s) * new_s)
        return new + update * (state - new)  # (S, A, D)


# A doubled map has two kinds of rows. Over the first kind, one of the 3 taps reaches the row before and two the row
# itself; over the second, two reach the row itself and one the row after.
# (kind, tap on the map, tap on the doubled map)
_DOUBLED = torch.tensor([[[1.0, 0, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0], [0, 0, 1]]])


class _DoublingConvolution(nn.Module):
    """S 3x3 convolutions of the map with each place repeated 2x2.

    They begin as He et al. (2015) say, without biases. If they began as `nn.Conv2d` does, each would make the map
    weaker, and the policies would begin with hardly any weights.

    Computed on the map itself, with a kernel for each of the 2x2 places: on a CPU a training step of maps of 256x256
    takes a quarter of the time.
    """

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        bound = math.sqrt(6 / (9 * inputs))
        self.weight = nn.Parameter(_uniform((outputs, inputs, 3, 3), bound, generators))  # (S, out, in, 3, 3)
        self.bias = nn.Parameter(torch.zeros(len(generators), outputs))  # (S, out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, S in, H, W) to (B, S out, 2 H, 2 W)."""
        kinds = _DOUBLED.to(self.weight)
        kernels = torch.einsum("soiyx,pay,qbx->sopqiab", self.weight, kinds, kinds).flatten(0, 3)  # (4 S out, in, 3, 3)
        bias = self.bias.flatten().repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(x, kernels, bias, padding=1, groups=len(self.weight)), 2)


class _Perceptron(nn.ModuleList):
    """S perceptrons. As a decoder it is HyperPPO's: every entry of the field has weights of its own."""

    def __init__(self, widths: tuple[int, ...], generators: Sequence[torch.Generator]) -> None:
        super().__init__([_Linear(i, o, generators) for i, o in zip(widths, widths[1:], strict=False)])

    def forward(self, x: Tensor) -> Tensor:
        """(S, B, in) to (S, B, out)."""
        for i, layer in enumerate(self):
            x = layer(x) if i == len(self) - 1 else F.relu(layer(x))
        return x


class _Upsampler(nn.Module):
    """From a 4x4 map to the field in doublings, each followed by a convolution: neighbours share their weights."""

    def __init__(self, side: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        doublings = int(math.log2(side)) - 2
        channels = (*[64, 32, 32, 16, 16, 16][:doublings], 1)
        self.seed_map = _Linear(_FEATURES, channels[0] * 16, generators)
        layers = [_DoublingConvolution(i, o, generators) for i, o in zip(channels, channels[1:], strict=False)]
        with torch.no_grad():
            layers[-1].weight.mul_(_FIRST_FIELD / side)
        self.layers = nn.ModuleList(layers)

    def forward(self, h: Tensor) -> Tensor:
        """(S, B, D) to (S, B, M M)."""
        seeds, count, _ = h.shape
        x = self.seed_map(h).view(seeds, count, -1, 4, 4).transpose(0, 1).flatten(1, 2)  # (B, S C, 4, 4)
        for layer in self.layers:
            x = layer(F.relu(x))
        return x.transpose(0, 1).flatten(2)  # one channel a seed is left


class GHNEnsemble(nn.Module):
    """S independent GHNs, the s-th initialised from `seeds[s]` alone."""

    def __init__(
        self, seeds: Sequence[int], observation_dim: int, action_dim: int, config: GHNConfig | None = None
    ) -> None:
        super().__init__()
        config = config or GHNConfig()
        side = config.max_width
        if max(observation_dim, action_dim) > side:
            raise InputError(f"observation {observation_dim}, action {action_dim}: expected at most {side} each")
        if side < 8 or side & (side - 1):
            raise InputError(f"a field of {side} x {side} weights: expected a power of two from 8 on")
        self.seeds, self.observation_dim, self.action_dim = tuple(seeds), observation_dim, action_dim
        self.max_width = side
        g = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.encode = _Linear(1, _FEATURES, g)
        self.message_in, self.message_out = _Linear(_FEATURES, _FEATURES, g), _Linear(_FEATURES, _FEATURES, g)
        self.update = _GRUCell(_FEATURES, g)
        self.norm_scale = nn.Parameter(torch.ones(len(seeds), 1, _FEATURES))
        self.norm_shift = nn.Parameter(torch.zeros(len(seeds), 1, _FEATURES))
        perceptron = config.decoder == "conv1x1"
        widths = (_FEATURES, 64, config.channels, side**2)
        self.weight_decoder = _Perceptron(widths, g) if perceptron else _Upsampler(side, g)
        self.bias_decoder = _Perceptron((_FEATURES, 32, side), g)

    def forward(self, widths: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden widths (S, A, L - 1) to zero-padded weights (S, A, L, M, M), (out, in), and biases (S, A, L, M)."""
        seeds, archs, _ = widths.shape
        ends = widths.new_full((seeds, archs, 1), self.action_dim)
        out = torch.cat([widths, ends], dim=2)  # (S, A, L) output width of each layer
        inputs = torch.cat([torch.full_like(ends, self.observation_dim), widths], dim=2)  # (S, A, L)

        # Nodes: the input, then weight and bias of each layer; a parameter node's feature is its layer's output width.
        features = torch.cat([torch.zeros_like(ends), out.repeat_interleave(2, dim=2)], dim=2)  # (S, A, N)
        h = self.encode(features.to(self.norm_scale).view(seeds, -1, 1)).view(seeds, archs, -1, _FEATURES)
        nodes = list(h.unbind(dim=2))  # N of (S, A, D)
        last = len(nodes) - 1
        for here, there in [(i - 1, i) for i in range(1, last + 1)] + [(i + 1, i) for i in reversed(range(last))]:
            message = F.relu(self.message_out(F.relu(self.message_in(nodes[here]))))  # M of eq. 2
            nodes[there] = self.update(message, nodes[there])
        h = F.layer_norm(torch.cat(nodes, dim=1), (_FEATURES,)) * self.norm_scale + self.norm_shift
        h = h.view(seeds, last + 1, archs, _FEATURES).transpose(1, 2)  # (S, A, N, D)

        weights, biases = (
            decode(h[:, :, first::2].flatten(1, 2)).unflatten(1, (archs, -1))
            for decode, first in ((self.weight_decoder, 1), (self.bias_decoder, 2))
        )
        weights, biases = weights.unflatten(-1, (self.max_width, self.max_width)), torch.tanh(0.2 * biases)
        index = torch.arange(self.max_width, device=widths.device)
        rows, columns = index < out[..., None], index < inputs[..., None]  # (S, A, L, M)
        # Slicing the decoder's field to (out, in) is a mask here; He scaling makes layers of any fan-in behave alike.
        scale = torch.sqrt(2 / inputs.to(weights))[..., None, None]
        return weights * scale * (rows[..., :, None] & columns[..., None, :]), biases * rows

    def actions(self, widths: Tensor, observations: Tensor) -> Tensor:
        """What policies of hidden widths (S, A, L - 1) do in observations (S, A, B, O): (S, A, B, action_dim)."""
        weights, biases = self(widths)
        return act(weights, biases, observations)[..., : self.action_dim]

    @torch.no_grad()
    def policies(self, arch: Architecture) -> dict[int, Weights]:
        """What each hypernetwork writes for this architecture, by its seed; widths up to M.

        Computed in double precision and rounded, so that every machine writes the same single-precision weights.
        """
        if not arch or max(arch) > self.max_width:
            raise InputError(f"architecture {arch}: expected hidden widths of at most {self.max_width}")
        exact = self if self.norm_scale.dtype == torch.float64 else copy.deepcopy(self).double()
        weights, biases = exact(torch.tensor(arch).expand(len(self.seeds), 1, len(arch)))
        written: dict[int, Weights] = {}
        for s, seed in enumerate(self.seeds):
            policy: Weights = {}
            for key, shape in parameter_shapes(arch, self.observation_dim, self.action_dim).items():
                field = (weights if key.endswith("weight") else biases)[s, 0, int(key.split(".")[0]) // 2]
                policy[key] = field[tuple(slice(size) for size in shape)].float()
            written[seed] = policy
        return written


def act(weights: Tensor, biases: Tensor, observations: Tensor) -> Tensor:
    """Outputs of padded policies: (S, A, L, M, M), (S, A, L, M) and observations (S, A, B, O) to (S, A, B, M)."""
    inputs = [observations.shape[-1]] + [weights.shape[-1]] * (weights.shape[2] - 1)
    layers = [weights[:, :, layer, :, :count] for layer, count in enumerate(inputs)]
    return forward(layers, [biases[:, :, layer] for layer in range(len(layers))], observations)


def _uniform(shape: tuple[int, ...], bound: float, generators: Sequence[torch.Generator]) -> Tensor:
    def draws() -> Iterator[Tensor]:
        for generator in generators:
            yield (2 * torch.rand(shape, generator=generator) - 1) * bound

    return torch.stack(list(draws()))
