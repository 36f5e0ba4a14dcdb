"""Fixtures that are dear to build: simulation workers and the zoo that ships."""

from collections.abc import Iterator

import pytest

from nnbench.tasks.simulation import Simulator, load_task
from nnbench.tasks.zoo import Zoo


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator(load_task("PickCube-v1"), workers=2) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def zoo() -> Zoo:
    return Zoo.open("PickCube-v1")
