"""How many processors this process may use, which can be far fewer than the machine has."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def count_processors() -> int:
    """The least of what affinity mask, cgroup quota and SLURM's allocation leave to this process; 1 at least."""
    limits = [len(os.sched_getaffinity(0)), *_quotas(_OWN_CGROUPS, _CGROUPS)]
    with suppress(ValueError):
        limits.append(int(os.environ.get("SLURM_CPUS_PER_TASK", "")))
    return max(1, min(limits))


def _quotas(own: Path, root: Path) -> Iterator[int]:
    """Whole processors that each cgroup above this process allows; version 2 and version 1."""
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            mount = root / controllers if controllers else root
            folder = mount / path.lstrip("/")
            for group in (folder, *folder.parents):
                if mount not in (group, *group.parents):
                    break
                yield from _quota(group)


def _quota(group: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        yield -(-int(quota) // int(period))  # `max` is no number: no quota
    with suppress(OSError, ValueError):
        quota = (group / "cpu.cfs_quota_us").read_text()
        if int(quota) > 0:
            yield -(-int(quota) // int((group / "cpu.cfs_period_us").read_text()))
