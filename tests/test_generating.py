"""`nnbench generate`: policies for somebody who wants one of a given size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import run_command, same
from safetensors.torch import load_file

import nnbench
from nnbench.errors import InputError
from nnbench.harness.process import MethodError
from nnbench.load_policy import load_policy
from nnbench.tasks.policies.mlp import act
from nnbench.tasks.registry import load_task
from nnbench.tasks.simulation.scene import make_environment
from nnbench.tasks.zoo.zoo import Zoo

ARCH = "32-16-64-32"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_returned_is_what_is_written_and_repeats_itself() -> None:
    policies = nnbench.generate("noise", ARCH, 2, out="some")
    assert sorted(path.name for path in Path("some").iterdir()) == [
        "0.safetensors",
        "1.safetensors",
        "load.py",
        "policies.json",
    ]
    assert all(same(policies[index], load_file(f"some/{index}.safetensors")) for index in range(2))
    assert same(policies[1], nnbench.generate("noise", (32, 16, 64, 32), 2)[1])
    assert not same(policies[0], nnbench.generate("noise", ARCH, 1, sample_seed=1)[0])


def test_what_is_written_loads_without_nnbench_and_acts_as_in_the_simulator(zoo: Zoo) -> None:
    (policy,) = nnbench.generate("ghn", ARCH, 1, out="some")
    standardiser = load_task("PickCube-v1").standardiser
    observations = torch.tensor(standardiser.mean) + zoo.states[:100] * torch.tensor(standardiser.scale)
    actions = load_policy(Path("some/0.safetensors"))(observations.float())
    assert torch.allclose(actions, act(policy, zoo.states[:100]), atol=1e-4)

    blind = "import sys; sys.modules['nnbench'] = None; sys.argv = ['load.py', 'some/0.safetensors']; "
    run = "import runpy; runpy.run_path('some/load.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", blind + run], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("action at the mean observation: [")


def test_what_is_written_drives_the_robot_in_mani_skill() -> None:
    nnbench.generate("ghn", ARCH, 1, out="some")
    policy, env = load_policy(Path("some/0.safetensors")), make_environment(load_task("PickCube-v1"))
    solved = 0
    for seed in range(4):
        observation, _ = env.reset(seed=seed)
        for _ in range(50):
            observation, _, _, _, info = env.step(policy(observation).numpy())
        solved += bool(info["success"])
    assert solved >= 3


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"arch": "32-x"}, "'32-x': expected hidden widths joined by '-'"),
        ({"arch": (32, 0)}, "'32-0': expected hidden widths joined by '-'"),
        ({"arch": "3_2-16"}, "'3_2-16': expected hidden widths joined by '-'"),
        ({"n": 0}, "--n 0: expected 1 or more"),
        ({"n": 2.5}, "--n 2.5: expected 1 or more"),
        ({"seed": -1}, "--seed -1: expected 0 to"),
        ({"sample_seed": 2**31}, "--sample-seed 2147483648: expected 0 to"),
        ({"out": "full"}, "full: is not empty"),
        ({"out": "full/file"}, "full/file: is a file"),
        ({"track": "sgd", "method": "ghn"}, "ghn cannot: no hypernetworks wrote"),
        ({"method": "d2nwg_grid", "arch": "24-48-24-48"}, "d2nwg_grid cannot: it writes no widths that"),
        ({"method": "nnit_v", "arch": "32-32-32"}, "nnit_v cannot: it writes no depths that"),
        ({"method": "dataset", "arch": "32-32-16-64"}, "dataset cannot: it writes only architectures that"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_trained(asked: dict[str, object], says: str) -> None:
    Path("full").mkdir()
    Path("full/file").touch()
    with pytest.raises(InputError, match=says):
        nnbench.generate(**({"method": "noise", "arch": ARCH} | asked))  # type: ignore[arg-type]
    assert not Path("runs").exists()


def test_a_method_that_cannot_write_the_architecture_leaves_no_folder() -> None:
    with pytest.raises(MethodError, match="32-65-32-32 is beyond what it learned to write"):
        nnbench.generate("latent_ghn", "32-65-32-32", 1, out="some")
    assert not Path("some").exists()


def test_what_is_broken_off_leaves_nothing_and_the_same_call_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("nnbench.generating.write_bytes", stop)
        with pytest.raises(KeyboardInterrupt):
            nnbench.generate("ghn", ARCH, 2, out="some")
    assert not [*Path().glob("*some*")]
    Path("some").mkdir()  # an empty one is as good as none
    nnbench.generate("ghn", ARCH, 2, out="some", sample_seed=3)
    facts = json.loads(Path("some/policies.json").read_text())
    assert (facts["policies"], facts["sample_seed"], facts["track"]) == (2, 3, "paper")


def test_the_command(here: Path) -> None:
    done = run_command("generate", "--method", "ghn", "--arch", "24-48-24-48", "--n", "1", "--out", "some", cwd=here)
    assert done.returncode == 0 and "python some/load.py some/0.safetensors" in done.stdout
    assert json.loads((here / "some" / "policies.json").read_text())["arch"] == [24, 48, 24, 48]
