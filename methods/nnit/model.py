"""The diffusion transformer (section 5.2): SwiGLU, and AdaLN-Zero driven by one timestep per modality.

Shapes: B networks, L patches, P numbers per patch, S architecture tokens, V symbols, D model width, C width of the
condition, N = S + L.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnbench.methods._diffusion import SINUSOIDS, Timestep, sinusoids
from nnbench.methods.nnit.config import Config
from nnbench.methods.nnit.tokens import HIDDEN_LAYERS, LAYERS, SYMBOLS, grid_shape


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, x, 1 + scale)  # one pass over memory; on a CPU a tenth of the step hangs on it


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """All (B, heads, N, D / heads)."""
    if q.requires_grad and q.device.type == "cpu":
        # Of torch's fused attention the gradient is slow on a CPU: a training step takes a quarter or a third longer.
        return (q / math.sqrt(q.shape[3]) @ k.transpose(2, 3)).softmax(dim=3) @ v
    return F.scaled_dot_product_attention(q, k, v)


class Block(nn.Module):
    """Self-attention and SwiGLU, each shifted, scaled and gated by the timesteps (AdaLN-Zero)."""

    def __init__(self, width: int, heads: int, condition: int) -> None:
        super().__init__()
        hidden = max(32, width * 8 // 3 // 32 * 32)  # 8/3: three matrices cost what an MLP of ratio 4 costs with two
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.gate_up = nn.Linear(width, 2 * hidden)
        self.down = nn.Linear(hidden, width)
        self.modulation = nn.Linear(condition, 6 * width)
        # Gates of zero make the block the identity at the start: depth costs nothing until the block learns its use.
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:  # (B, N, D), (B, C)
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, dim=-1)
        y = modulate(self.norm1(x), shift1, scale1)
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in self.qkv(y).chunk(3, dim=-1))
        x = torch.addcmul(x, gate1, self.proj(attention(q, k, v).transpose(1, 2).flatten(2)))
        y = modulate(self.norm2(x), shift2, scale2)
        gate, up = self.gate_up(y).chunk(2, dim=-1)
        return torch.addcmul(x, gate2, self.down(F.silu(gate) * up))


class NNiT(nn.Module):
    """From noisy codes and patches and their timesteps to the target of each; with a variance where it is learned."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        rows, columns = grid_shape(config.token_shape)
        numbers = math.prod(config.token_shape)
        outputs = 2 if config.learned_variance else 1
        self.code_in = nn.Linear(SYMBOLS, width)
        self.place_embedding = nn.Embedding(HIDDEN_LAYERS + 2, width)
        self.patch_in = nn.Linear(numbers, width)
        self.layer_embedding = nn.Embedding(LAYERS, width)
        self.row_embedding = nn.Embedding(rows, width)
        self.column_embedding = nn.Embedding(columns, width)
        self.timestep_a, self.timestep_w = Timestep(config.condition // 2), Timestep(config.condition // 2)
        self.blocks = nn.ModuleList(Block(width, config.heads, config.condition) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False) if config.final_norm else nn.Identity()
        self.modulation = nn.Linear(config.condition, 2 * width)
        self.code_out = nn.Linear(width, outputs * SYMBOLS)
        self.patch_out = nn.Linear(width, outputs * numbers)
        self.log_error = nn.Linear(SINUSOIDS, 1) if config.balanced else None
        for embedding in (self.place_embedding, self.layer_embedding, self.row_embedding, self.column_embedding):
            embedding.weight.data.mul_(config.place_std)
        # The first prediction is zero whatever the noise, so training starts at the scale of the loss.
        zero = [self.modulation, self.code_out, self.patch_out]
        zero += [self.log_error] if self.log_error is not None else []
        for linear in zero:
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def expected_log_error(self, t_w: Tensor) -> Tensor | None:
        """The logarithm of the patches' expected squared error at these timesteps, (B,); None if not learned."""
        if self.log_error is None:
            return None
        logarithms: Tensor = self.log_error(sinusoids(t_w))
        return logarithms[:, 0]

    def forward(
        self, codes: Tensor, patches: Tensor, positions: Tensor, t_a: Tensor, t_w: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, S, V), (B, L, P), (L, 3) and timesteps (B,) to (B, S, V or 2 V) and (B, L, P or 2 P)."""
        condition = F.silu(torch.cat([self.timestep_a(t_a), self.timestep_w(t_w)], dim=1))  # (B, C)
        x = self.read(codes, patches, positions, condition)  # (B, N, D)
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)
        x = modulate(self.norm(x), shift, scale)
        return self.code_out(x[:, : codes.shape[1]]), self.write(x[:, codes.shape[1] :], positions)

    def read(self, codes: Tensor, patches: Tensor, positions: Tensor, condition: Tensor) -> Tensor:
        """z = [z_a; z_w], (B, N, D): one map for all patches, and embeddings of where they are."""
        layer, row, column = positions.unbind(1)
        embedded = self.layer_embedding(layer) + self.row_embedding(row) + self.column_embedding(column)  # (L, D)
        z_a = self.code_in(codes) + self.place_embedding.weight
        return torch.cat([z_a, self.patch_in(patches) + embedded], dim=1)

    def write(self, z_w: Tensor, positions: Tensor) -> Tensor:
        """(B, L, D) to (B, L, P or 2 P): one map for all patches."""
        written: Tensor = self.patch_out(z_w)
        return written
