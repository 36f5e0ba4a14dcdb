"""Tensors in safetensors files that carry a checksum of themselves. No pickle is ever loaded."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from nnbench.tasks.files import write_bytes
from nnbench.tasks.integrity import read_stored

_CHECKSUM = "sha256"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors and metadata with their checksum, atomically. Raises WriteError.

    Equal tensors have equal bytes where there is no metadata: safetensors does not keep the order of several entries.
    """
    kept = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    said = dict(metadata or {})
    write_bytes(path, safetensors.torch.save(kept, said | {_CHECKSUM: _digest(kept, said)}))


def load_tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    """The tensors that `save_tensors` wrote, or an older version without a checksum. Raises DamagedError."""
    return read_stored(path, parse_tensors, remedy)[0]


def parse_tensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file's content. Raises ValueError, or what safetensors raises, where it is damaged."""
    tensors = safetensors.torch.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata: dict[str, str] = dict(header.get("__metadata__") or {})
    stated = metadata.pop(_CHECKSUM, None)
    if stated is None and any(len(value) == 64 for value in metadata.values()):
        raise ValueError(f"its checksum has another name than {_CHECKSUM!r}")
    if stated is not None and stated != _digest(tensors, metadata):
        raise ValueError("its checksum is of other content")
    return tensors, metadata


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    # Training states of older versions have a checksum of the text alone.
    said = metadata["progress"] if [*metadata] == ["progress"] else json.dumps(metadata, sort_keys=True)
    digest = hashlib.sha256(said.encode())
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
