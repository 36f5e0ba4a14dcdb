"""Where the numbers of a report come from: its protocol, units and zoos, as names and values."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nnbench.presentation.tables import MISSING, Grid
from nnbench.protocol import Protocol
from nnbench.tasks.zoo.manifest import seeds_of, source_of


def describe_protocol(protocol: Protocol) -> dict[str, Any]:
    """Its numbers and its hash."""
    return {name.replace("_", " "): value for name, value in asdict(protocol).items()} | {"sha256": protocol.sha256}


def group_units(manifests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One block for all units that were made alike."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for manifest in manifests:
        unit = manifest["unit"]
        alike = [unit[name] for name in ("task", "method", "generator_seed", "method_sha256")]
        alike += [manifest[name] for name in ("command", "versions", "machine")]
        groups.setdefault(json.dumps(alike), []).append(manifest)
    found = []
    for members in groups.values():
        first = members[0]
        facts = {
            "command": " ".join(first["command"]),
            "method sha256": first["unit"]["method_sha256"],
            "versions": listed(first["versions"]),
            "machine": listed(first["machine"]),
        }
        headers = ("architecture", "created", "simulated s", "weights sha256", "rows sha256")
        grid = plain_grid(headers, 1, [_describe_unit(member) for member in members])
        found.append({**first["unit"], "facts": facts, "grid": grid})
    return found


def _describe_unit(manifest: Mapping[str, Any]) -> list[str]:
    seconds = manifest["info"].get("wall_s", {})
    simulated = sum(seconds[stage] for stage in ("selection", "test") if stage in seconds)
    return [
        manifest["unit"]["arch"],
        manifest["created"],
        f"{simulated:.0f}" if seconds else MISSING,
        _hash_of(manifest, r"\.safetensors"),
        _hash_of(manifest, r"(?<!\.policies)\.parquet"),
    ]


def _hash_of(manifest: Mapping[str, Any], ending: str) -> str:
    """Of the unit's file with this ending, in two lines."""
    (found,) = [value for name, value in manifest["sha256"].items() if re.search(f"{ending}$", name)]
    return f"{found[:32]}\n{found[32:]}"


def describe_zoo(manifest: Mapping[str, Any]) -> dict[str, str]:
    """How it was made, from its manifest."""
    by_hypernetworks, count = source_of(manifest) == "hypernetworks", str(len(seeds_of(manifest)))
    made = {"hypernetworks": count} if by_hypernetworks else {"policies of an architecture, trained one by one": count}
    numbers = "distillation" if by_hypernetworks else "training"
    return (
        made
        | {
            "training policies": f"{manifest['valid_policies']} of {manifest['policies']} passed the filter",
            "filter": listed(manifest["filter"]),
            numbers: listed(manifest[numbers]),
            "splits sha256": manifest["splits_sha256"],
            "versions": listed(manifest["versions"]),
        }
        | {f"{name} sha256": value for name, value in manifest["files"].items()}
    )


def describe_alignment(manifest: Mapping[str, Any]) -> dict[str, str]:
    """How table 1 was made, from its manifest."""
    return {name: listed(value) if isinstance(value, Mapping) else str(value) for name, value in manifest.items()}


def listed(values: Mapping[str, Any]) -> str:
    """Names and values in one line."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def plain_grid(headers: Sequence[str], text_columns: int, rows: Sequence[Sequence[str]]) -> Grid:
    """A table without title, caption and rules."""
    return Grid("", headers, text_columns, "", rows, frozenset())
