"""What `nnbench doctor` says of this machine, and of one with broken parts."""

from pathlib import Path

import pytest

from nnbench.harness.abilities import examine


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
        "physics on CUDA",
        "rendering",
        "bfloat16",
        "fused kernels",
        "SLURM",
    ]
    assert findings["physics on CPU"].works
    assert all(finding.detail for finding in findings.values())
    assert not findings["SLURM"].works and "cannot reach slurmctld" in findings["SLURM"].detail


def test_a_broken_part_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("libcuda.so: wrong ELF class")

    monkeypatch.setattr("nnbench.harness.abilities._bfloat16", fail)
    findings = {finding.ability: finding for finding in examine()}
    broken = findings["bfloat16"]
    assert not broken.works and broken.detail == "OSError: libcuda.so: wrong ELF class"
