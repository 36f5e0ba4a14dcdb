"""How many processors this process may use, which can be far fewer than the machine has."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nnbench.tasks.simulation.cgroups import groups

_ALLOCATED = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")


def count_processors() -> int:
    """The least of what affinity mask, cgroup quota and SLURM's allocation leave to this process; 1 at least."""
    limits = [len(os.sched_getaffinity(0))]
    for group in groups("cpu"):
        limits += _quota(group)
    for name in _ALLOCATED:
        with suppress(ValueError):
            limits.append(int(os.environ.get(name, "")))
    return max(1, min(limits))


def _quota(group: Path) -> Iterator[int]:
    """Whole processors that a group allows."""
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        yield -(-int(quota) // int(period))  # `max` is no number: no quota
    with suppress(OSError, ValueError):
        quota = (group / "cpu.cfs_quota_us").read_text()
        if int(quota) > 0:
            yield -(-int(quota) // int((group / "cpu.cfs_period_us").read_text()))
