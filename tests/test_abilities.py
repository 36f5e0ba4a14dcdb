"""What `nnbench doctor` says of this machine, and of one with broken parts."""

from pathlib import Path

import pytest

from nnbench.harness.abilities import Finding, describe_memory, examine


def test_physics_on_the_cpu_works_and_every_finding_says_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in {"sbatch": "exit 0", "sinfo": "echo 'cannot reach slurmctld' >&2; exit 1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    findings = {finding.ability: finding for finding in examine()}
    assert list(findings) == [
        "physics on CPU",
        "memory",
        "GPU",
        "rendering",
        "bfloat16",
        "fused kernels",
        "SLURM",
    ]
    assert findings["physics on CPU"].works
    assert 0.1 < float(findings["memory"].detail.split()[3]) < 2  # GB of a worker
    assert all(finding.detail for finding in findings.values())
    assert not findings["SLURM"].works and "cannot reach slurmctld" in findings["SLURM"].detail


@pytest.mark.parametrize(
    ("left", "works", "remedy"), [(16, True, "may take 16.0 GB"), (4, False, "--workers 5"), (1, False, "more memory")]
)
def test_workers_that_do_not_fit_are_warned_about(left: int, works: bool, remedy: str) -> None:
    fits, said = describe_memory(2**29, 8, left * 2**30)
    assert fits == works and said.endswith(remedy) and "0.50 GB" in said


def test_a_broken_part_is_a_finding() -> None:
    def fail() -> tuple[bool, str]:
        raise OSError("libcuda.so: wrong ELF class")

    broken, whole = examine({"bfloat16": fail, "GPU": lambda: (True, "one")})
    assert broken == Finding("bfloat16", False, "OSError: libcuda.so: wrong ELF class")
    assert whole == Finding("GPU", True, "one")
