"""What a job makes of being told to stop."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission

from nnbench.slurm.work import _judge_time_limit

STOP = signal.SIGUSR2


@pytest.fixture
def handler() -> Iterator[SignalHandler]:
    """Submitit's, of a job of five minutes that has just begun."""
    before = signal.getsignal(STOP)
    submission = DelayedSubmission(print)
    submission.set_timeout(5, 3)
    nothing: Any = None
    handler = SignalHandler(nothing, nothing, submission)
    signal.signal(STOP, handler.checkpoint_and_try_requeue)
    yield handler
    signal.signal(STOP, before)


def test_a_short_job_that_makes_way_has_not_met_its_time_limit(handler: SignalHandler) -> None:
    assert handler.has_timed_out()  # as submitit judges every job of ten minutes or less
    _judge_time_limit(120.0)
    assert not handler.has_timed_out()
    _judge_time_limit(0.0)
    assert handler.has_timed_out()


def test_without_a_handler_nothing_is_judged() -> None:
    _judge_time_limit(120.0)
