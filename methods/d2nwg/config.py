"""D2NWG's numbers: those that a CPU can train. docs/adaptations/d2nwg.md has the authors' beside them."""

from dataclasses import dataclass, replace
from typing import Any, Self

from nnbench.methods._diffusion import Draw, Sampler, Schedule, Target
from nnbench.methods.d2nwg.vectors import Layout


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How one of the two networks is trained."""

    batch: int
    steps: int
    peak_lr: float
    min_lr: float = 0.0
    warmup: int
    ema: float


@dataclass(frozen=True, kw_only=True)
class Config:
    """An autoencoder, a latent diffusion, and how both are trained and sampled.

    Shapes are (channels, side) or (channels, side, side); convolutions have as many dimensions as there are sides.
    """

    layout: Layout
    """Where the parameters of a network lie in the vector."""

    features: tuple[int, ...]
    """What the linear layer makes of the vector; `principal`: at most."""
    principal: bool = False
    """The linear layers are the principal components of the training vectors and are not trained, and there are as many
    latents as features, so that the autoencoder begins with the identity between them. The authors train all layers
    from random weights."""
    vae_width: int
    vae_multipliers: tuple[int, ...]
    """Channels of each level in units of the width; each level but the first has half the side of the one before."""
    vae_blocks: int
    latents: int
    """Channels."""
    kl_weight: float = 1e-6
    square_weight: float = 10.0
    """Of a number's squared error beside its absolute one."""

    picture: tuple[int, ...]
    """The latents as the diffusion sees them."""
    unet_width: int
    unet_multipliers: tuple[int, ...]
    unet_blocks: int
    embedding: int
    """T, numbers that the timestep becomes."""
    attention_from: int
    """First level with attention."""
    heads: int
    condition_channels: int = 1
    """Of the picture that the architecture becomes."""

    timesteps: int = 1024
    schedule: Schedule = "latent"
    draw: Draw = "uniform"
    """Which timesteps are trained on."""
    target: Target
    sampler: Sampler
    sampling_steps: int

    vae: Stage
    diffusion: Stage

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """What `dataclasses.asdict` and JSON made of a configuration."""
        shapes = {key: tuple(value) for key, value in raw.items() if isinstance(value, list)}
        return cls(**{**raw, **shapes, "vae": Stage(**raw["vae"]), "diffusion": Stage(**raw["diffusion"])})


CPU = Config(
    layout="flat",
    features=(256, 8),
    vae_width=256,
    vae_multipliers=(1,),
    vae_blocks=1,
    latents=32,
    picture=(32, 8),
    unet_width=256,
    unet_multipliers=(1, 1),
    unet_blocks=1,
    embedding=256,
    attention_from=0,
    heads=4,
    condition_channels=32,
    target="noise",
    sampler="ancestral",
    sampling_steps=256,
    vae=Stage(batch=64, steps=3_000, peak_lr=1e-3, warmup=100, ema=0.99),
    diffusion=Stage(batch=128, steps=8_000, peak_lr=1e-3, warmup=200, ema=0.9995),
)

REHEARSAL = Config(
    layout="flat",
    features=(4, 8),
    vae_width=8,
    vae_multipliers=(1,),
    vae_blocks=1,
    latents=4,
    picture=(4, 8),
    unet_width=16,
    unet_multipliers=(1, 2),
    unet_blocks=1,
    embedding=16,
    attention_from=1,
    heads=2,
    target="noise",
    sampler="ddim",
    sampling_steps=4,
    vae=Stage(batch=4, steps=10, peak_lr=1e-3, warmup=2, ema=0.9),
    diffusion=Stage(batch=4, steps=10, peak_lr=1e-3, warmup=2, ema=0.9),
)


def on_components(config: Config) -> Config:
    """The same on grid vectors and principal components: an autoencoder that begins nearly without a loss."""
    return replace(
        config,
        layout="grid",
        principal=True,
        latents=config.features[0],
        picture=config.features,
        target="x0",
        draw="legible",
        sampler="ddim",
        sampling_steps=min(config.sampling_steps, 50),
        vae=replace(config.vae, steps=min(config.vae.steps, 200), peak_lr=config.vae.peak_lr / 2),
    )
