"""The generated weights of a unit as one safetensors file: of all samples, or of those that were tested."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from nnbench.protocol import Unit
from nnbench.store.errors import StoreError
from nnbench.store.folder import Folder, Manifest
from nnbench.store.validation import check_weights

if TYPE_CHECKING:  # tables read no weights and need no torch
    from nnbench.tasks.policies.mlp import Weights

ALL, TESTED = "safetensors", "tested.safetensors"
"""Suffixes of a unit's files of weights: of all samples, and of the top alone, which archives may hold."""


def weights_bytes(unit: Unit, weights: Sequence["Weights"]) -> bytes:
    """All samples in one file, tensors named `<sample>/<key>`. Equal weights have equal bytes."""
    import safetensors.numpy

    arrays = {f"{sample:03d}/{key}": policy[key].numpy() for sample, policy in enumerate(weights) for key in policy}
    # One metadata entry only: safetensors does not keep the order of several.
    return bytes(safetensors.numpy.save(arrays, {"unit": json.dumps(unit.fields, sort_keys=True)}))


def select_weights(unit: Mapping[str, object], content: bytes, samples: Collection[int]) -> bytes:
    """Of what `weights_bytes` wrote only these samples, in the same form. `unit` has the fields of a `Unit`."""
    import safetensors.numpy

    arrays = safetensors.numpy.load(content)
    kept = {name: array for name, array in arrays.items() if int(name.split("/")[0]) in samples}
    return bytes(safetensors.numpy.save(kept, {"unit": json.dumps(unit, sort_keys=True)}))


def parse_weights(content: bytes) -> dict[int, "Weights"]:
    """What `weights_bytes` or `select_weights` wrote: by sample, keys in layer order.

    For `read_stored`: raises whatever, where it is something else.
    """
    import safetensors.torch

    tensors = safetensors.torch.load(content)
    found: dict[int, Weights] = {}
    for name in sorted(tensors, key=_order):
        sample, key = name.split("/")
        found.setdefault(int(sample), {})[key] = tensors[name]
    return found


def has_tested(folder: Folder, key: str) -> bool:
    """Whether the weights of the unit's tested networks are here."""
    return _tested_file(folder, key) is not None


def read_tested(folder: Folder, manifest: Manifest, policies: pa.Table) -> dict[int, "Weights"]:
    """The weights of a unit's tested networks by sample, best first, from their own file or from that of all samples.

    `policies` are the unit's rows (POLICY_SCHEMA). Raises StoreError where there are none, and DamagedError where they
    are not those of the rows.
    """
    name = _tested_file(folder, manifest.key)
    if name is None:
        path = folder.root / f"{manifest.key}.{TESTED}"
        raise StoreError(f"{path}: no weights are stored for this unit; publish it with its weights")
    ranks = {row["rank"]: row["sample"] for row in policies.select(["rank", "sample"]).to_pylist()}

    def parse(content: bytes) -> dict[int, "Weights"]:
        found = parse_weights(content)
        tested = {ranks[rank]: found[ranks[rank]] for rank in sorted(ranks) if rank >= 0}
        check_weights(manifest.key, tested, policies)
        return tested

    return folder.parse_verified(name, manifest, parse)


def _tested_file(folder: Folder, key: str) -> str | None:
    return next((name for suffix in (TESTED, ALL) if folder.has(name := f"{key}.{suffix}")), None)


def _order(name: str) -> tuple[int, int, bool]:
    """Sorts `000/2.bias` behind `000/2.weight` and before `000/10.weight`."""
    sample, key = name.split("/")
    layer, kind = key.split(".")
    return int(sample), int(layer), kind == "bias"
