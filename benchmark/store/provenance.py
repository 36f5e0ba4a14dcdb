"""Where numbers were made: versions, machine, command and time, as manifests state them."""

import hashlib
import importlib.metadata
import os
import platform
import re
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

_PACKAGES = ("nnbench", "mani_skill", "sapien", "torch", "numpy", "scipy", "pyarrow", "safetensors")
_MODEL = ("vendor_id", "cpu family", "model", "stepping")


def provenance() -> dict[str, Any]:
    """The keys `versions`, `sources_sha256`, `machine`, `command` and `created` of a manifest."""
    return {
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "sources_sha256": _sources(),
        "machine": this_machine(),
        "command": [Path(sys.argv[0]).name, *map(_without_folder, sys.argv[1:])],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def this_machine() -> dict[str, Any]:
    """The key `machine` of a manifest."""
    import torch  # only writers need it

    machine = {
        "platform": platform.platform(),
        "processor": _processor(),
        "model": _model(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
    }
    return machine | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


@cache
def _sources() -> str:
    """Of all of nnbench's Python files as they are now: a version number does not change with every edit."""
    root, digest = Path(str(files("nnbench"))), hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _model() -> str | None:
    """Which generation of the make it is, where Linux tells; a virtual machine's name may hide it."""
    table = Path("/proc/cpuinfo")
    text = table.read_text() if table.exists() else ""
    found = [re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE) for name in _MODEL]
    return " ".join(match[1] for match in found if match) or None


def _processor() -> str:
    """Its make and model where Linux tells: physics differs between makes by rounding errors."""
    table = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", table.read_text(), re.MULTILINE) if table.exists() else []
    return names[0] if names else platform.machine()


def _without_folder(argument: str) -> str:
    """Of an absolute path only the last part: rows are published, and folders are of one machine only."""
    option, equals, value = argument.rpartition("=")
    return option + equals + Path(value).name if Path(value).is_absolute() else argument
