"""What samples are worth on validation episodes: printed while a model trains, so that a bad run is seen early."""

import importlib.util
from collections.abc import Callable

import numpy as np

from nnbench.tasks.policies.architectures import Architecture
from nnbench.tasks.policies.mlp import Weights
from nnbench.tasks.policies.training_set import TrainingSet
from nnbench.tasks.task import Filter

_ARCHITECTURES, _SAMPLES = 4, 4
"""So many training architectures, spread over their list, and so many samples of each."""
_EPISODES = Filter(episodes=8)


def can_validate(training: TrainingSet) -> bool:
    """Whether a training is long enough to print scores, and the simulator is installed."""
    return not training.rehearsal and importlib.util.find_spec("mani_skill") is not None


def validate(training: TrainingSet, generate: Callable[[Architecture, int], list[Weights]]) -> dict[str, float]:
    """Mean return and success at the end, over four samples of each of four training architectures."""
    archs = [arch for arch in training.architectures if training.networks(arch)]
    between = np.linspace(0, len(archs) - 1, _ARCHITECTURES + 2)[1:-1].round().astype(int)
    samples = [sample for position in between for sample in generate(archs[position], _SAMPLES)]
    scores = score(training, samples)
    return {name: sum(scored[name] for scored in scores) / len(scores) for name in ("return", "success_at_end")}


def score(training: TrainingSet, policies: list[Weights]) -> list[dict[str, float]]:
    """Per policy, the means over eight validation episodes. Needs the simulator."""
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.validation import score_policies

    with Simulator(training.task, 1) as simulator:
        return score_policies(simulator, policies, _EPISODES)
