"""Noise that is drawn the same whatever else is: sources for each sample, and noisy copies of states."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

SAMPLE_BATCH = 50


def noise_source(*key: int) -> torch.Generator:
    """A source on the CPU that depends on the key alone. Two keys of one length have nothing in common."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def noise_sources(n: int, key: tuple[int, ...], name: str) -> Iterable[list[torch.Generator]]:
    """One noise source per sample, in batches, with a progress bar of this name.

    A source depends on the key and the sample's number alone, so asking for fewer samples gives the first of them.
    """
    sources = [noise_source(*key[:1], index, *key[1:]) for index in range(n)]
    parts = [sources[first : first + SAMPLE_BATCH] for first in range(0, n, SAMPLE_BATCH)]
    return tqdm(parts, desc=f"{name} samples", unit="batch", disable=None if len(parts) > 2 else True)


def noisy_copies(states: Tensor, jitters: Sequence[float], rng: torch.Generator) -> Tensor:
    """A copy of the states (S, O) for each standard deviation of noise, one after the other."""
    return torch.cat([states + jitter * torch.randn(states.shape, generator=rng) for jitter in jitters])
