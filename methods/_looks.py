"""What samples are worth while a model is still training, so that a bad run is seen early."""

import importlib.util
from collections.abc import Callable

from nnbench.tasks.architectures import Architecture
from nnbench.tasks.filter import Filter
from nnbench.tasks.policy import Weights
from nnbench.tasks.zoo import TrainingSet

SAMPLES = 8
_EPISODES = Filter(episodes=8)


def can_look() -> bool:
    """False where there is no simulator, as on a machine that only trains."""
    return importlib.util.find_spec("mani_skill") is not None


def look(training: TrainingSet, generate: Callable[[Architecture, int], list[Weights]]) -> dict[str, float]:
    """Mean return and success at the end of a few samples of two training architectures on validation episodes."""
    from nnbench.tasks.simulation import Simulator
    from nnbench.tasks.zoo import score_policies

    archs = [arch for arch in training.architectures if training.networks(arch)]
    samples = [sample for arch in (archs[0], archs[-1]) for sample in generate(arch, SAMPLES)]
    with Simulator(training.task, 1) as simulator:
        scores = score_policies(simulator, samples, _EPISODES)
    return {name: sum(score[name] for score in scores) / len(scores) for name in ("return", "success_at_end")}
