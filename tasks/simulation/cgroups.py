"""The control groups of this process: what a container or a batch system leaves to it. Version 2 and version 1."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def groups(controller: str) -> Iterator[Path]:
    """The folders of this process's groups and of all above them that `controller`, cpu or memory, may limit."""
    with suppress(OSError):
        for line in _OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            mount = _MOUNT / controllers if controllers else _MOUNT
            folder = mount / path.lstrip("/")
            for group in (folder, *folder.parents):
                if mount not in (group, *group.parents):
                    break
                yield group
