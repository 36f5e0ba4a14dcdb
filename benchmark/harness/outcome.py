"""What became of one unit."""

from collections.abc import Mapping
from dataclasses import dataclass

from nnbench.errors import NnbenchError
from nnbench.protocol import Unit


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A unit that was finished, or why it was not. As text it is the line that people read."""

    unit: Unit
    counts: Mapping[str, int] | None = None
    """`distinct_networks` among the samples, selection `episodes` that were simulated, how many the `full` evaluation
    of all samples would have, and the episodes of both stages that were `reused` from other units' equal networks; None
    where the unit was not evaluated here."""
    seconds: Mapping[str, float] | None = None
    """Wall seconds of the stages `generate`, `selection`, `test` and `novelty`; None as above."""
    error: NnbenchError | None = None
    """What the method did wrong. The unit is then not finished; where the training failed, it names no checkpoint."""
    elsewhere: bool = False
    """True if another process finished the unit meanwhile."""

    @property
    def pace_s(self) -> float | None:
        """Wall seconds from one unit to the next of several: novelty is computed while the next one is simulated."""
        if self.seconds is None:
            return None
        stages = self.seconds
        return stages["generate"] + max(stages["selection"] + stages["test"], stages["novelty"])

    def __str__(self) -> str:
        if self.error is not None:
            return str(self.error)
        if self.counts is None or self.seconds is None:
            return f"{self.unit.key}: finished meanwhile by another process"
        episodes, full = self.counts["episodes"], self.counts["full"]
        seconds = ", ".join(f"{stage} {value:.0f} s" for stage, value in self.seconds.items())
        saved = f"{1 - episodes / full:.0%} saved"
        name = f"{self.unit.method} {self.unit.asked_for}"
        return f"{name}: {episodes} of {full} selection episodes simulated ({saved}); {seconds}"
