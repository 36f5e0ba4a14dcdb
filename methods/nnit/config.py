"""NNiT's numbers: those that a CPU can train. docs/adaptations/nnit.md has the paper's beside them."""

from dataclasses import dataclass
from typing import Literal

from nnbench.methods._diffusion import Draw, Sampler, Target
from nnbench.tasks.policies.architectures import MAX_WIDTH


@dataclass(frozen=True, kw_only=True)
class Config:
    """A model, its training and its sampler. The paper leaves p, d, the depth and the heads open."""

    tokenisation: Literal["patches", "rows"] = "patches"
    """What of a layer's grid is a token: a patch of p x p, or a row, all that one neuron reads and its bias."""
    patch: int = 16
    """p; divides every hidden width, so that widening a layer adds whole patches."""
    width: int = 256
    """d."""
    condition: int = 32
    """Width of the embedded timesteps, half for each modality; it sets the size of a checkpoint, not its speed."""
    depth: int = 4
    heads: int = 4
    place_std: float = 1.0
    """Standard deviation of the embeddings of places before training. So large they take directions of a token that
    noise has to pass through: what predicts noise begins with 0.02."""
    final_norm: bool = False
    """DiT's normalisation before the last linear map. It gives every token the same norm, though patches differ much in
    theirs: a small patch then has to put the rest of its token's norm where the last map does not look."""

    target: Target = "x0"
    """What the network predicts. The paper: noise."""
    learned_variance: bool = False
    """The paper's L_vb; only the ancestral sampler uses what it teaches."""
    joint_share: float = 0.1
    """Probability of the joint mode, t_a = t_w (eq. 4). The paper: one half. A joint batch costs 2.5 others."""
    tokens: Literal["grid", "valid"] = "valid"
    """What of the padded grid a clean architecture (t_a = 0) attends to: all of it, or the patches
    that hold part of the network. In the joint mode the architecture is unknown, and it is always all of it."""

    batch: int = 16
    steps: int = 28_000
    peak_lr: float = 1e-3
    min_lr: float = 0.0
    warmup: int = 300
    ema: float = 0.9995
    timesteps: int = 1000
    """T; linear schedule."""
    balanced: bool = True
    """Whether the patches' error is divided by the error that the network expects at the timestep. Without it, what
    nobody can know in much noise drowns what should be exact in little noise. The paper: no."""
    draw: Draw = "legible"
    """Which timesteps are trained on. The paper: all alike."""

    sampler: Sampler = "ddim"
    sampling_steps: int = 20

    @property
    def token_shape(self) -> tuple[int, int]:
        """Rows and columns of a layer's grid that are one token."""
        return (self.patch, self.patch) if self.tokenisation == "patches" else (1, MAX_WIDTH + 1)


CPU = Config()


REHEARSAL = Config(
    width=32,
    condition=32,
    depth=1,
    heads=2,
    batch=4,
    steps=20,
    warmup=5,
    sampling_steps=4,
)
