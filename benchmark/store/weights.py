"""The generated weights of a unit as one safetensors file."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnbench.protocol import Unit

if TYPE_CHECKING:  # tables read no weights and need no torch
    from nnbench.tasks.policies.mlp import Weights


def weights_bytes(unit: Unit, weights: Sequence["Weights"]) -> bytes:
    """All samples in one file, tensors named `<sample>/<key>`. Equal weights have equal bytes."""
    import safetensors.numpy

    arrays = {f"{sample:03d}/{key}": policy[key].numpy() for sample, policy in enumerate(weights) for key in policy}
    # One metadata entry only: safetensors does not keep the order of several.
    return bytes(safetensors.numpy.save(arrays, {"unit": json.dumps(unit.fields, sort_keys=True)}))


def parse_weights(content: bytes, samples: int) -> list["Weights"]:
    """What `weights_bytes` wrote: sample by sample, keys in layer order."""
    import safetensors.torch

    tensors = safetensors.torch.load(content)
    found: list[Weights] = [{} for _ in range(samples)]
    for name in sorted(tensors, key=_layer_order):
        sample, key = name.split("/")
        found[int(sample)][key] = tensors[name]
    return found


def _layer_order(name: str) -> tuple[int, bool]:
    """Sorts `000/2.bias` behind `000/2.weight` and before `000/10.weight`."""
    layer, kind = name.split("/")[1].split(".")
    return int(layer), kind == "bias"
