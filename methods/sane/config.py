"""SANE's numbers: the authors' where they fit multilayer perceptrons, else those that a CPU can train."""

from dataclasses import dataclass, replace
from typing import Literal

from nnbench.methods.sane.sampling import Coupling


@dataclass(frozen=True, kw_only=True)
class Config:
    """A model and its training. Which of the numbers are the authors' is in docs/adaptations/sane.md."""

    width: int = 128
    """d."""
    depth: int = 3
    """Blocks of the encoder, and as many of the decoder."""
    heads: int = 4
    latent: int = 128
    """Numbers that a token is encoded into."""
    start: Literal["random", "identity"] = "random"
    """How the linear layers in and out of the blocks begin: random, as the authors'; or as the identity, as far as the
    widths go, so that training begins with a nearly exact round trip."""

    align: Literal["rebasin", "none"] = "rebasin"
    """Order of the neurons: matched to the architecture's first network, or as they come."""
    permute: bool = False
    """Whether the second of the two contrasted views has its neurons in a random order."""
    standardise: bool = True
    """Whether every layer's weights are brought to mean 0 and standard deviation 1."""
    averaged_over: Literal["window", "valid"] = "window"
    """What the squared error is averaged over: the padded window, or the weights alone; then it is divided by their
    variance in the batch."""

    batch: int = 16
    steps: int = 5_000
    peak_lr: float = 1e-3
    min_lr: float = 0.0
    warmup: int = 150
    ema: float = 0.99


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a trained model is sampled from."""

    coupling: Coupling = "shared"
    """What the tokens of a sample share: anchor and noise, the anchor alone (`joint`), or nothing (`independent`)."""
    bandwidth: float = 0.2
    """Standard deviation of the Gaussian kernel."""
    draws: int = 1
    """How often the kernel is drawn from. After each draw but the last, the samples are rolled out on validation
    episodes, and the best of them become the anchors: the authors' bootstrapping."""
    population: int = 50
    """Samples of each draw but the last."""
    kept: int = 10
    """Samples that become anchors."""


CPU = Config()


def mixed(config: Config) -> Config:
    """What the authors changed for zoos of mixed architectures (arXiv 2504.10141); they keep a fifth of the rate."""
    return replace(config, standardise=False, averaged_over="valid", permute=True, peak_lr=config.peak_lr / 5)


def rehearsal(config: Config) -> Config:
    """The same method, small enough to train in seconds."""
    return replace(config, width=32, depth=1, heads=2, latent=32, batch=4, steps=20, warmup=5)
