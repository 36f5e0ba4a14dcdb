"""NNiT's transformer, told of the whole network by principal components of the zoo, with a map out for each place.

Shapes: B networks, L patches, P numbers per patch, S architecture tokens, V symbols, D model width, C width of the
condition, R rank of the summary, N = S + L.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnbench.methods.nnit.model import NNiT
from nnbench.methods.nnit.tokens import HIDDEN_LAYERS, LAYERS, SYMBOLS, grid_shape
from nnbench.methods.nnit_pca.config import Config


class PlaceLinear(nn.Module):
    """A linear map for each place of the grid, zero at the start."""

    def __init__(self, places: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(places, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(places, 1, outputs))

    def forward(self, x: Tensor, place: Tensor) -> Tensor:  # (B, L, inputs), (L,)
        return torch.baddbmm(self.bias[place], x.transpose(0, 1), self.weight[place]).transpose(0, 1)


class Summary(nn.Module):
    """Tells every token about the noisy network as a whole: its scores on the principal components of the zoo.

    In much noise, networks can be told apart only by all their patches together. Attention learns that sum, but slowly;
    here it is given. In a zoo of as many hypernetworks as components, the scores say which hypernetwork it is.
    """

    components: Tensor  # (places, P, R), orthonormal over places and P together; not trained

    def __init__(self, places: int, numbers: int, config: Config) -> None:
        super().__init__()
        rank, width = config.summary_rank, config.width
        self.register_buffer("components", torch.zeros(places, numbers, rank))
        self.hidden = nn.Linear(rank + (HIDDEN_LAYERS + 2) * SYMBOLS + config.condition, width)
        self.out = nn.Linear(width, width)

    def forward(self, patches: Tensor, place: Tensor, codes: Tensor, condition: Tensor) -> Tensor:
        """(B, L, P), (L,), (B, S, V) and (B, C) to (B, D)."""
        scores = torch.einsum("blp,lpr->br", patches, self.components[place])
        said: Tensor = self.out(F.silu(self.hidden(torch.cat([scores, codes.flatten(1), condition], dim=1))))
        return said


class PcaNNiT(NNiT):
    """`NNiT` with a summary added to every token, and out of every token first few numbers, then its place's map."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.grid = grid_shape(config.token_shape)
        places, numbers = LAYERS * math.prod(self.grid), math.prod(config.token_shape)
        self.summary = Summary(places, numbers, config)
        self.patch_out = nn.Linear(config.width, config.place_rank)
        self.place_out = PlaceLinear(places, config.place_rank, (2 if config.learned_variance else 1) * numbers)
        nn.init.zeros_(self.summary.out.weight)
        nn.init.zeros_(self.summary.out.bias)

    def read(self, codes: Tensor, patches: Tensor, positions: Tensor, condition: Tensor) -> Tensor:
        x = super().read(codes, patches, positions, condition)
        return x + self.summary(patches, self._place(positions), codes, condition)[:, None]

    def write(self, z_w: Tensor, positions: Tensor) -> Tensor:
        written: Tensor = self.place_out(super().write(z_w, positions), self._place(positions))
        return written

    def _place(self, positions: Tensor) -> Tensor:
        layer, row, column = positions.unbind(1)
        return (layer * self.grid[0] + row) * self.grid[1] + column  # (L,)
