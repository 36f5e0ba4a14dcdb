"""Which episodes each sample must run so that the top ones are known. Fewer than all, with the same result.

A step's normalised reward lies in [0, 1]. After n of E selection episodes, a policy's final sum of returns is therefore
at least its sum so far, and at most that plus horizon * (E - n). A policy whose upper bound is below the lower bounds
of `top` others cannot be among the top and is rolled out no further. The chosen policies, their order and their scores
are those of the full evaluation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from nnbench.protocol import Protocol

Stage = Literal["selection", "test"]

_STEP = 5
"""Episodes that the candidates still in the race run between two looks at the bounds."""
MARGIN = 1e-3
"""Per episode, for float32 rounding of the returns: a step's reward can come out a hair above 1."""


class Episode(NamedTuple):
    """What is rolled out once: a network, known by the hash of its weights, on one seed."""

    stage: Stage
    network: str
    seed: int


class Result(NamedTuple):
    """What came of an episode."""

    total: float
    """Its return: the sum of the normalised reward over the steps."""
    success_once: bool
    success_at_end: bool
    diverged: bool
    """An action was not finite; the return is 0."""


@dataclass
class Race:
    """Knows the results so far and which episodes come next. Samples with equal weights share one network."""

    protocol: Protocol
    samples: Sequence[str]
    """The network of each sample."""
    full: bool = False
    """Every sample runs all selection episodes."""
    _results: dict[tuple[Stage, str], dict[int, Result]] = field(default_factory=dict)

    @property
    def networks(self) -> tuple[str, ...]:
        """The distinct networks, in the order of the samples."""
        return tuple(dict.fromkeys(self.samples))

    def record(self, episode: Episode, result: Result) -> None:
        """Take in what came of an episode."""
        self._results.setdefault((episode.stage, episode.network), {})[episode.seed] = result

    def results(self, stage: Stage, sample: int) -> list[tuple[int, Result]]:
        """A sample's episodes of one stage, as seed and result, by seed."""
        return sorted(self._results[stage, self.samples[sample]].items())

    def next_selection(self) -> list[Episode]:
        """The selection episodes to run next; none when the top are known."""
        if screening := self._missing("selection", self.networks, self.protocol.screening_episodes):
            return screening
        if self.full:
            return self._missing("selection", self.networks)
        lower, upper = self._bounds()
        threshold = sorted((lower[network] for network in self.samples), reverse=True)[self.protocol.top - 1]
        alive = [network for network in self.networks if upper[network] >= threshold and not self._complete(network)]
        # The most promising finish first: their scores raise the threshold that the others must reach.
        promising = sorted(self.networks, key=lambda network: -lower[network] / self._count(network))
        if first := [network for network in promising[: self.protocol.top] if network in alive]:
            return self._missing("selection", first)
        fewest = min((self._count(network) for network in alive), default=0)
        behind = [network for network in alive if self._count(network) == fewest]
        return self._missing("selection", behind, fewest + _STEP)

    def chosen(self) -> list[int]:
        """The top samples, best first; equal returns by sample number."""
        lower, _ = self._bounds()
        complete = [sample for sample, network in enumerate(self.samples) if self._complete(network)]
        return sorted(complete, key=lambda sample: (-lower[self.samples[sample]], sample))[: self.protocol.top]

    def tests(self) -> list[Episode]:
        """The test episodes that the chosen have still to run."""
        return self._missing("test", dict.fromkeys(self.samples[sample] for sample in self.chosen()))

    def counts(self) -> dict[str, int]:
        """Distinct networks, selection episodes that were run, and those of the full evaluation of all samples."""
        run = sum(self._count(network) for network in self.networks)
        full = len(self.samples) * self.protocol.selection_episodes
        return {"distinct_networks": len(self.networks), "episodes": run, "full": full}

    def _missing(self, stage: Stage, networks: Iterable[str], count: int | None = None) -> list[Episode]:
        """Episodes that these networks have not run, of the stage's first `count`."""
        seeds = (self.protocol.test_seeds if stage == "test" else self.protocol.selection_seeds)[:count]
        return [
            Episode(stage, network, seed)
            for network in networks
            for seed in seeds
            if seed not in self._results.get((stage, network), ())
        ]

    def _bounds(self) -> tuple[dict[str, float], dict[str, float]]:
        """Lower and upper bounds on each network's sum of selection returns."""
        lower, upper = {}, {}
        for network in self.networks:
            left = self.protocol.selection_episodes - self._count(network)
            lower[network] = sum(result.total for result in self._results["selection", network].values())
            upper[network] = lower[network] + (self.protocol.horizon + MARGIN) * left
        return lower, upper

    def _count(self, network: str) -> int:
        return len(self._results.get(("selection", network), ()))

    def _complete(self, network: str) -> bool:
        return self._count(network) == self.protocol.selection_episodes
