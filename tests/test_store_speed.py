"""How long the published rows take to read; one core reads 1,027 units in a few seconds."""

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from nnbench.store.archive import forget_archives
from nnbench.store.store import Store

REFERENCE = Path(__file__).parents[1] / "results" / "reference" / "127e5fbe783c"
COLUMNS = ("task", "method", "generator_seed", "joint", "arch", "sample", "stage", "return", "selected", "rank")


@pytest.mark.parametrize("columns", [None, COLUMNS], ids=["all columns", "ten columns"])
def test_rows_and_policies_of_the_reference(benchmark: BenchmarkFixture, columns: tuple[str, ...] | None) -> None:
    def read() -> tuple[int, int]:
        store = Store(REFERENCE)
        return store.rows(columns=columns).num_rows, store.policies(columns=columns).num_rows

    episodes, policies = benchmark.pedantic(read, setup=forget_archives, rounds=3)
    units = len(Store(REFERENCE).keys())
    protocol = Store(REFERENCE).protocol()
    assert policies == units * protocol.samples and episodes > units * protocol.top * protocol.test_episodes
