"""How much memory a process may still take: the machine, the cgroups and the allocation all count."""

from pathlib import Path

import pytest

from nnbench.tasks.simulation import cgroups, memory
from nnbench.tasks.simulation.memory import memory_left, peak_memory

GB = 2**30


@pytest.fixture(autouse=True)
def sixty_four_gigabytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cgroups, "_OWN", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "_MOUNT", tmp_path)
    monkeypatch.setattr(memory, "_MACHINE", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text(f"MemTotal: {99 * 2**20} kB\nMemAvailable:   {64 * 2**20} kB\n")


def test_what_is_free_on_the_machine_counts() -> None:
    assert memory_left() == 64 * GB


def test_the_limit_of_any_group_above_counts_without_files_that_can_go(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/job/step\n")
    (tmp_path / "job/step").mkdir(parents=True)
    (tmp_path / "job/memory.max").write_text(f"{8 * GB}\n")
    (tmp_path / "job/memory.current").write_text(f"{3 * GB}\n")
    (tmp_path / "job/memory.stat").write_text(f"anon 5\ninactive_file {GB}\n")
    (tmp_path / "job/step/memory.max").write_text("max\n")
    assert memory_left() == 6 * GB


def test_the_limit_of_version_1_counts(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("4:memory:/box\n1:cpu,cpuacct:/box\n")
    (tmp_path / "memory/box").mkdir(parents=True)
    (tmp_path / "memory/box/memory.limit_in_bytes").write_text(f"{2 * GB}\n")
    (tmp_path / "memory/box/memory.usage_in_bytes").write_text(f"{GB}\n")
    (tmp_path / "memory/box/memory.stat").write_text("cache 0\n")
    assert memory_left() == GB


@pytest.mark.parametrize(
    ("name", "megabytes", "expected"),
    [("SLURM_MEM_PER_NODE", 4096, 4), ("SLURM_MEM_PER_CPU", 1024, 2), ("SLURM_MEM_PER_NODE", 0, 64)],
)
def test_the_allocation_counts(monkeypatch: pytest.MonkeyPatch, name: str, megabytes: int, expected: int) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setenv(name, str(megabytes))
    assert memory_left() == expected * GB


def test_a_process_held_what_it_took() -> None:
    taken = bytearray(300 * 2**20)
    assert len(taken) < peak_memory() < 20 * GB
