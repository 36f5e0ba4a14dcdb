"""Where numbers were made: versions, machine, command and time, as manifests state them."""

import importlib.metadata
import os
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PACKAGES = ("nnbench", "mani_skill", "sapien", "torch", "numpy", "pyarrow")


def provenance() -> dict[str, Any]:
    """The keys `versions`, `machine`, `command` and `created` of a manifest."""
    return {
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "machine": this_machine(),
        "command": [Path(sys.argv[0]).name, *map(_without_folder, sys.argv[1:])],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def this_machine() -> dict[str, Any]:
    """The key `machine` of a manifest."""
    import torch  # only writers need it

    machine = {"platform": platform.platform(), "processor": _processor(), "cpus": os.cpu_count()}
    return machine | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def _processor() -> str:
    """Its make and model where Linux tells: physics differs between makes by rounding errors."""
    table = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", table.read_text(), re.MULTILINE) if table.exists() else []
    return names[0] if names else platform.machine()


def _without_folder(argument: str) -> str:
    """Of an absolute path only the last part: rows are published, and folders are of one machine only."""
    option, equals, value = argument.rpartition("=")
    return option + equals + Path(value).name if Path(value).is_absolute() else argument
