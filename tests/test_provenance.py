"""What manifests state of the machine, the versions and the command."""

import platform
from pathlib import Path

import pytest

from nnbench.store.provenance import provenance, this_machine


def test_a_machine_names_the_gpu_it_computes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "gpu" not in this_machine()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA H200")
    assert this_machine()["gpu"] == "NVIDIA H200"


def test_a_machine_names_its_make_of_processor() -> None:
    processor = this_machine()["processor"]
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    assert processor == (names[0] if names else platform.machine())


def test_folders_of_this_machine_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["/my/nnbench", "run", "--results", "/my/rows", "--plugin=/my/a.py", "--out", "b/c"]
    )
    stated = provenance()
    assert stated["command"] == ["nnbench", "run", "--results", "rows", "--plugin=a.py", "--out", "b/c"]
    assert {"python", "nnbench", "torch", "mani_skill"} <= stated["versions"].keys()
