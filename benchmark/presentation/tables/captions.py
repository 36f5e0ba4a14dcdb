"""What is said below tables of measured rows, and about protocols."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from nnbench.analysis.reported import ARXIV_ID
from nnbench.analysis.rows import Row
from nnbench.presentation.tables.table import MISSING
from nnbench.protocol import PROTOCOLS, Protocol, protocol_name

ONE_TRAINING = "Intervals do not cover training (one per generator)."
SEVERAL_TRAININGS = (
    "Intervals cover training only in rows that are the mean of several seeds; of few seeds they are too narrow."
)


def protocol_note(protocol: Protocol) -> str:
    """What a reader must know first where the numbers are not of the benchmark's protocol; empty where they are."""
    if protocol == PROTOCOLS["quick"]:
        return "First look: protocol quick."
    if replace(protocol, version=Protocol.version) != Protocol():
        return "Not the benchmark's protocol, a first look only."
    if protocol.version != Protocol.version:
        return f"MEASURED BY VERSION {protocol.version} of the protocol, which is now at {Protocol.version}."
    return ""


def explain_columns(name: str, rows: Sequence[Row], protocol: Protocol, hidden: Collection[str] = ()) -> str:
    """Every column of the wide tables 2 to 4, one explanation per line; `hidden` are metrics without a column."""
    columns = {
        "selection_success": "selection %: the same policies on the episodes that chose them, which is optimistic.",
        "sample_success": f"all {protocol.samples} %: every sample on the first {protocol.screening_episodes} "
        "selection episodes, nothing selected.",
        "ghn_distance": "L2 to GHN: median distance of the top to the nearest hypernetwork policy, neurons brought to "
        "one scale and matched.",
        "networks": "networks: distinct among the top.",
        "ghn_seeds": "GHN seeds: distinct among the hypernetworks that the top are nearest to.",
    }
    return _lines(
        _note(protocol),
        *_explain_scores(name, protocol),
        "[low, high]: 95% bootstrap interval over test episodes, distinct networks and generator seeds.",
        explain_certainty(rows),
        say_training(rows),
        count_diverged(rows),
        *(said for metric, said in columns.items() if metric not in hidden),
        f"reported: printed in the table of this number of arXiv {ARXIV_ID}, not measured here; the paper does not "
        "define its ±.",
        "verdict: is the measured interval of return/success above the reported number, below it, or around it.",
        f"{MISSING}: not measured, or not reported.",
    )


def explain_overview(name: str, rows: Sequence[Row], protocol: Protocol, marks: Mapping[str, str]) -> str:
    """Every column and mark of the paper's arrangement, one explanation per line."""
    return _lines(
        _note(protocol),
        *_explain_scores(name, protocol),
        "[low,high]: 95% bootstrap interval over test episodes, distinct networks and generator seeds; rounded outward "
        "to whole percents.",
        explain_certainty(rows),
        say_training(rows),
        count_diverged(rows),
        f"paper: success % that arXiv {ARXIV_ID} reports, not measured here; returns are in --detail.",
        _say_all(protocol),
        *(f"{mark.removesuffix(':')}: {meaning}." for mark, meaning in marks.items()),
        _unseen(rows),
        f"{MISSING}: not measured, or not reported.",
    )


def summarise(
    name: str, rows: Sequence[Row], protocol: Protocol, marks: Mapping[str, str], claims: str = "paper"
) -> str:
    """The short caption of tables 2 to 4: what a cell is, and what its marks mean; `claims` heads the paper's."""
    said = [
        _note(protocol),
        f"Protocol {protocol_name(protocol)}: top {protocol.top} of {protocol.samples} samples on "
        f"{protocol.test_episodes} test episodes" + ("; mean over architectures." if name == "2" else "."),
        f"[ ]: 95% interval; {claims}: arXiv {ARXIV_ID}.",
        _say_all(protocol) if claims == "paper" else "",
        *(f"{mark} {meaning}." for mark, meaning in marks.items()),
        explain_certainty(rows),
        say_training(rows),
        count_diverged(rows),
        _unseen(rows),
        f"{MISSING} not measured, or not reported.",
    ]
    return " ".join(filter(None, said))


def say_training(rows: Sequence[Row]) -> str:
    """Of which rows intervals tell how trainings differ; empty where nothing was measured."""
    several = [len(row.generator_seeds) > 1 for row in rows if row.measured]
    if not several:
        return ""
    return SEVERAL_TRAININGS if any(several) else ONE_TRAINING


def count_diverged(rows: Sequence[Row]) -> str:
    """How many samples diverged, by method; empty where none did."""
    found = {row.method: row.measured.diverged for row in rows if row.arch is None and row.measured is not None}
    counts = ", ".join(f"{count} of {method}" for method, count in found.items() if count)
    return f"Samples with an action that was not finite count as failed: {counts}." if counts else ""


def explain_certainty(rows: Sequence[Row]) -> str:
    """How the interval of a success of exactly 0 or 1 is made; empty where there is none."""
    if any(row.measured and row.measured.success.mean in (0, 1) for row in rows):
        return "The interval of exactly 0 or 100 % is Wilson's, of as many trials as there are test episodes."
    return ""


def _explain_scores(name: str, protocol: Protocol) -> list[str]:
    ends = {"success_at_end": "at the end of the episode", "success_once": "at any step of the episode"}
    known = protocol_name(protocol)
    return [
        f"Protocol {known}{'' if known == protocol.short else f' ({protocol.short})'}: {protocol.samples} samples per "
        f"architecture; the top {protocol.top} by mean return on {protocol.selection_episodes} selection episodes are "
        f"scored on {protocol.test_episodes} test episodes, which chose nothing.",
        f"return: sum of the rewards of an episode, which are 0 to 1 at each of its {protocol.horizon} steps.",
        f"success %: share of the test episodes that succeed {ends[protocol.headline]}.",
        "The row of a split is the mean over its architectures." if name == "2" else "",
    ]


def _say_all(protocol: Protocol) -> str:
    return f"all: every sample on {protocol.screening_episodes} selection episodes, nothing selected."


def _note(protocol: Protocol) -> str:
    """That of a protocol without a name: of others the name says it."""
    return protocol_note(protocol) if protocol_name(protocol) == protocol.short else ""


def _unseen(rows: Sequence[Row]) -> str:
    return "unseen: held out of training." if any(row.partition == "unseen" for row in rows) else ""


def _lines(*said: str) -> str:
    return "\n".join(filter(None, said))
