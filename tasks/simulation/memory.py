"""How much memory a process may use, and how much it took."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nnbench.tasks.simulation.cgroups import groups
from nnbench.tasks.simulation.processors import count_processors

_MACHINE = Path("/proc/meminfo")
_MB = 2**20


def memory_left() -> int:
    """Bytes that this process and its children may still take.

    The least of what is free on the machine and what its cgroups and SLURM's allocation leave.
    """
    limits = [_kilobytes(_MACHINE.read_text(), "MemAvailable"), *_allocated()]
    for group in groups("memory"):
        limits += _left_in(group)
    return max(0, min(limits))


def peak_memory() -> int:
    """The most bytes that this process ever held at a time."""
    return _kilobytes(Path("/proc/self/status").read_text(), "VmHWM")


def _left_in(group: Path) -> Iterator[int]:
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        with suppress(OSError, ValueError):  # `max` is no number: no limit
            files = _reclaimable(group)
            yield int((group / limit).read_text()) - int((group / used).read_text()) + files


def _reclaimable(group: Path) -> int:
    """Bytes of files in memory, which the kernel drops when processes need them."""
    found = re.search(r"^(?:total_)?inactive_file (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _allocated() -> Iterator[int]:
    """What SLURM allocated to the job; 0 stands for all of the node."""
    with suppress(KeyError, ValueError):
        if megabytes := int(os.environ["SLURM_MEM_PER_NODE"]):
            yield megabytes * _MB
    with suppress(KeyError, ValueError):
        if megabytes := int(os.environ["SLURM_MEM_PER_CPU"]):
            yield megabytes * _MB * count_processors()


def _kilobytes(text: str, name: str) -> int:
    """In bytes, one number of the kernel's lists."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0
