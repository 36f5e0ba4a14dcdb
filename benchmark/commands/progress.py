"""What `nnbench run` says while it runs: what is about to happen, a line per architecture, and how long it still takes.

Lines go to stderr, alike on a terminal and in a log file.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nnbench.folders import RESULTS
from nnbench.protocol import JOINT, PROTOCOLS, Protocol, architectures_asked, protocol_name
from nnbench.tasks.policies.architectures import architecture_name
from nnbench.tasks.simulation.processors import count_processors

if TYPE_CHECKING:
    from nnbench.harness.outcome import Outcome
    from nnbench.preparing import Prepared
    from nnbench.store.store import Store


class Progress:
    """Counts the units of a whole command, of all its tasks and methods."""

    def __init__(self, work: "Sequence[Prepared]") -> None:
        self._left = Counter(
            {(one.zoo.task.name, method): count for one in work for method, count in one.missing.items() if count}
        )
        self._total = self._left.total()
        self._seconds: dict[str, list[float]] = {}

    def announce(self, work: "Sequence[Prepared]", split: str) -> None:
        """One line before anything happens: how much there is to do, by which protocol, and what is trained first."""
        first = work[0]
        tasks = ", ".join(one.zoo.task.name for one in work)
        asked = len(work) * len(first.sources) * len(first.archs)
        untrained = [f"{name} on {one.zoo.task.name}" for one in work for name in one.untrained]
        training = f"training first: {', '.join(untrained)}" if untrained else "no training needed"
        workers = first.workers or count_processors()
        say(
            f"{self._total} of {asked} units to do: {', '.join(first.sources)} on {tasks}, split {split}; "
            f"{_describe(first.protocol)}; {training}; {workers} worker{'s' * (workers > 1)}"
        )

    def report(self, outcome: "Outcome", store: "Store") -> None:
        """One line of a unit that is done."""
        unit = outcome.unit
        self._left[unit.task, unit.method] -= 1
        if outcome.pace_s is not None:
            self._seconds.setdefault(unit.method, []).append(outcome.pace_s)
        if outcome.error is not None:  # the other units are not to blame
            say(f"nnbench: {outcome.error}")
            return
        say(f"{unit.task}  {unit.method} {unit.asked_for}: {_scores(outcome, store)}; {self._remaining()}")

    def method_done(self, task: str, method: str) -> bool:
        """Whether no unit of this method on this task is left."""
        return self._left[task, method] <= 0

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return all(count <= 0 for count in self._left.values())

    def _remaining(self) -> str:
        left = sum(max(count, 0) for count in self._left.values())
        so_far = f"{self._total - left} of {self._total} done"
        every = [value for values in self._seconds.values() for value in values]
        if not left or not every:
            return so_far
        seconds = sum(
            max(count, 0) * _mean(self._seconds.get(method, every)) for (_, method), count in self._left.items()
        )
        return f"{so_far}, about {_duration(seconds)} left"


def describe_unfinished(work: "Sequence[Prepared]", split: str) -> Iterator[str]:
    """One line of each method that has results of some architectures of the split, and so no mean."""
    for one in work:
        track = one.zoo.track
        archs = architectures_asked(split, splits=track.splits)
        asked = {JOINT if arch is None else architecture_name(arch) for arch in archs}
        units = [manifest["unit"] for manifest in one.store.manifests()]
        for name in one.sources:
            done = {
                unit["arch"]
                for unit in units
                if (unit["task"], unit["method"], unit["generator_seed"]) == (one.zoo.task.name, name, one.seed)
                and unit.get("track", "paper") == track.label
                and Protocol(**unit["protocol"]) == one.protocol
            }
            if 0 < len(done & asked) < len(asked):
                where = "" if one.store.root == RESULTS else f" --results {one.store.root}"
                where += "" if track.name == "paper" else f" --track {track.origin}"
                where += "" if one.protocol in PROTOCOLS.values() else f" --protocol {one.protocol.short}"
                yield (
                    f"{name} on {one.zoo.task.name}: {len(done & asked)} of {len(asked)} architectures, so no mean of "
                    f"the split; `nnbench table 2 --detail{where}` shows them"
                )


def say(line: str) -> None:
    """One line on stderr, above what moves there."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()


def _scores(outcome: "Outcome", store: "Store") -> str:
    """Success and return of the top on the test episodes, and the seconds of every stage."""
    import pyarrow.compute as pc

    rows = store.unit_rows(outcome.unit)
    tested = rows.filter(pc.equal(rows["stage"], "test"))
    success, total = (pc.mean(tested[name]).as_py() for name in (outcome.unit.protocol.headline, "return"))
    scores = f"success {100 * success:.1f} %, return {total:.1f}"
    if outcome.seconds is None:
        return f"{scores}, finished meanwhile by another process"
    stages = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in outcome.seconds.items())
    return f"{scores}, {sum(outcome.seconds.values()):.0f} s ({stages})"


def _describe(protocol: Protocol) -> str:
    return (
        f"protocol {protocol_name(protocol)} (top {protocol.top} of {protocol.samples} samples by "
        f"{protocol.selection_episodes} episodes, {protocol.test_episodes} test episodes)"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
