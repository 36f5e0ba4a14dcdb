"""Networks that are simply trained: each from its own random start, on what a training policy does in the zoo's states.

It takes about two seconds of one core per network and works for any architecture, so it is what a generator has to
beat: by time, by needing no states, or by more. Policy distillation with mean squared error of actions, as the zoo's
own hypernetworks were distilled from the expert.

Shapes: n networks, B states, O observation and A action numbers.
"""

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from nnbench.api import Architecture, Untrained, Weights
from nnbench.facts import Further, Reading
from nnbench.methods._noise import noise_source, noisy_copies
from nnbench.tasks.policies.architectures import parameter_shapes
from nnbench.tasks.policies.mlp import act, forward

UPDATES, REHEARSED = 3_000, 20
BATCH = 256
"""States per update; all networks see the same."""
PEAK_LR = 5e-3
JITTERS = (0.0, 0.02, 0.02, 0.05, 0.05, 0.05, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.3, 0.3, 0.5, 0.5)
"""Standard deviations of the noise on copies of the states: a policy leaves the states that it learned from."""
SIDE_BY_SIDE = 16
"""Networks that are trained together, which changes none of them but by rounding."""


class Method(Untrained):
    """Distils training policies, each network from one that is drawn at random."""

    name: ClassVar[str] = "distil"
    reads: ClassVar[tuple[Reading, ...]] = ("weights", "states")
    writes: ClassVar[tuple[Further, ...]] = ("widths", "depths")
    trains_each: ClassVar[bool] = True
    reference: ClassVar[str | None] = "Rusu et al., Policy Distillation, ICLR 2016, arXiv 1511.06295"

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture and depth, float32 on the CPU.

        Policy i has a start and a teacher of its own: asking for fewer gives the first of them, up to rounding.
        """
        rng = noise_source(seed, *arch)
        jittered = noisy_copies(self.training.states, JITTERS, rng)
        orders = torch.randint(len(jittered), (self._updates, BATCH), generator=rng)
        written: list[Weights] = []
        for first in range(0, n, SIDE_BY_SIDE):
            sources = [_source(seed, arch, index) for index in range(first, min(first + SIDE_BY_SIDE, n))]
            written += self._train(arch, jittered, orders, sources)
        return written

    @property
    def _updates(self) -> int:
        return REHEARSED if self.training.rehearsal else UPDATES

    def _train(
        self, arch: Architecture, states: Tensor, orders: Tensor, sources: list[np.random.Generator]
    ) -> list[Weights]:
        """One network per source of randomness."""
        task = self.training.task
        taught = torch.stack([act(self._draw_teacher(source), states) for source in sources])  # (n, B, A)
        shapes = parameter_shapes(arch, task.observation_dim, task.action_dim)
        keys, starts = [*shapes], [_start(shapes, source) for source in sources]
        parameters = [torch.stack([start[key] for start in starts]).requires_grad_() for key in keys]  # (n, ...)
        optimizer = torch.optim.Adam(parameters, fused=True)
        for update, picks in enumerate(orders):
            for group in optimizer.param_groups:
                group["lr"] = PEAK_LR * _one_cycle(update / len(orders))
            actions = forward(parameters[::2], parameters[1::2], states[picks].expand(len(sources), -1, -1))
            loss = (actions - taught[:, picks]).square().mean(dim=(1, 2)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return [
            {key: parameter[i].detach().clone() for key, parameter in zip(keys, parameters, strict=True)}
            for i in range(len(sources))
        ]

    def _draw_teacher(self, source: np.random.Generator) -> Weights:
        archs = [arch for arch in self.training.architectures if self.training.networks(arch)]
        networks = self.training.networks(archs[source.integers(len(archs))])
        return networks[sorted(networks)[source.integers(len(networks))]]


def _source(seed: int, arch: Architecture, index: int) -> np.random.Generator:
    return np.random.default_rng((seed, index, *arch))


def _start(shapes: dict[str, tuple[int, ...]], source: np.random.Generator) -> Weights:
    """As torch's own layers start: uniform within one over the root of the fan-in."""
    rng = torch.Generator().manual_seed(int(source.integers(2**63)))
    bounds = {key: 1 / math.sqrt(shapes[key.replace("bias", "weight")][1]) for key in shapes}
    return {key: bounds[key] * (2 * torch.rand(shape, generator=rng) - 1) for key, shape in shapes.items()}


def _one_cycle(done: float) -> float:
    """The rate in units of its peak: up from a 25th within a tenth of the updates, then down to 0, by cosines."""
    if done < 0.1:
        return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * done / 0.1)) / 2
    return (1 + math.cos(math.pi * (done - 0.1) / 0.9)) / 2
