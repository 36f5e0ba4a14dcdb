"""What is said below tables of measured rows, and about protocols."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from nnbench.analysis.reported import ARXIV_ID
from nnbench.analysis.rows import Row
from nnbench.presentation.tables.table import MISSING
from nnbench.protocol import PROTOCOLS, Protocol


def protocol_note(protocol: Protocol) -> str:
    """What a reader must know first where the numbers are not of the benchmark's protocol; empty where they are."""
    if replace(protocol, version=Protocol.version) != Protocol():
        return "NOT THE BENCHMARK'S PROTOCOL, a first look only."
    if protocol.version != Protocol.version:
        return f"MEASURED BY VERSION {protocol.version} of the protocol, which is now at {Protocol.version}."
    return ""


def explain_columns(protocol: Protocol) -> str:
    """The caption of tables 2 to 4."""
    return (
        f"{protocol_note(protocol)} Protocol {protocol.short}: {protocol.samples} samples per architecture; the top "
        f"{protocol.top} by mean return on {protocol.selection_episodes} selection episodes are scored on "
        f"{protocol.test_episodes} test episodes, which chose nothing. The row of a split is the mean over its "
        "architectures. [low, high]: 95% bootstrap interval over test episodes, distinct networks and generator seeds. "
        "selection %: the same policies on the episodes that chose them, which is optimistic. "
        f"all {protocol.samples} %: every sample on the first {protocol.screening_episodes} of those, nothing "
        "selected. L2 to GHN: median distance of the top to the nearest hypernetwork policy, neurons matched. "
        "networks, GHN seeds: distinct among the top. reported: printed in the table of this number of arXiv "
        f"{ARXIV_ID}, not measured here; the paper does not define its ±. verdict: is the measured interval of "
        f"return/success above the reported number, below it, or around it. {MISSING}: not measured, or not reported."
    ).strip()


def count_diverged(rows: Iterable[Row]) -> str:
    """What is said of samples that diverged; empty where none did."""
    found = {row.method: row.measured.diverged for row in rows if row.arch is None and row.measured is not None}
    counts = ", ".join(f"{count} of {method}" for method, count in found.items() if count)
    return f" Samples with an action that was not finite count as failed: {counts}." if counts else ""


def explain_overview(protocols: Sequence[Protocol], marks: Mapping[str, str]) -> str:
    """The short caption of tables 2 to 4: what a cell is, and what its marks mean."""
    first = next((one for one in protocols if one != PROTOCOLS["quick"]), protocols[0])
    said = (
        f"Of the top {first.top} of {first.samples} samples on {first.test_episodes} test episodes: mean over "
        f"architectures, [95% interval]; paper: what arXiv {ARXIV_ID} reports."
    )
    said = " ".join([said, *(f"{mark} {meaning}." for mark, meaning in marks.items())])
    return f"{said} unseen: held out of training. {MISSING} not measured, or not reported."


def describe_quick() -> str:
    """The protocol of a first look, in words."""
    quick = PROTOCOLS["quick"]
    return f"a first look: top {quick.top} of {quick.samples} on {quick.test_episodes} episodes"
