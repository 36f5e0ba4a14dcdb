import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from nnbench.errors import InputError
from nnbench.protocol import Protocol, Unit, architectures_asked, named_protocol, protocol_name


def _unit(**changes: Any) -> Unit:
    fields: dict[str, Any] = {
        "protocol": Protocol(),
        "task": "PickCube-v1",
        "method": "nnit",
        "method_sha256": "ab" * 32,
        "generator_seed": 0,
        "arch": (32, 32, 16, 64),
    }
    return Unit(**(fields | changes))


def test_hash_of_the_published_protocol_does_not_change() -> None:
    # Stored rows carry it: a change here means a new protocol version and new rows.
    assert Protocol().short == "a080a8d64d22"


def test_the_quick_protocol_is_the_one_that_rows_ship_of() -> None:
    assert named_protocol("quick").short == "127e5fbe783c" and named_protocol("paper") == Protocol()
    assert protocol_name(named_protocol("quick")) == "quick" and protocol_name(Protocol(top=9)).isalnum()
    assert named_protocol("quick", top=2) == Protocol(samples=50, top=2, selection_episodes=20, test_episodes=50)
    with pytest.raises(InputError, match="unknown protocol 'fast': expected one of paper, quick"):
        named_protocol("fast")


def test_hash_is_equal_in_another_process() -> None:
    program = "from nnbench.protocol import Protocol; print(Protocol(top=5).sha256)"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == Protocol(top=5).sha256


def test_hash_covers_every_field() -> None:
    changed = [
        Protocol(version=Protocol().version + 1),
        Protocol(samples=99),
        Protocol(top=9),
        Protocol(selection_episodes=49),
        Protocol(test_episodes=199),
        Protocol(horizon=49),
        Protocol(control_mode="pd_ee_delta_pos"),
        Protocol(selection_seed_start=1_000_001),
        Protocol(test_seed_start=2_000_001),
        Protocol(headline="success_once"),
    ]
    assert len({protocol.sha256 for protocol in [Protocol(), *changed]}) == len(changed) + 1


def test_seeds_are_disjoint_from_each_other_and_from_training() -> None:
    protocol = Protocol()
    assert list(protocol.selection_seeds[:2]) == [1_000_000, 1_000_001]
    assert len(protocol.selection_seeds) == 50 and len(protocol.test_seeds) == 200
    assert not set(protocol.selection_seeds) & set(protocol.test_seeds)
    assert min(*protocol.selection_seeds, *protocol.test_seeds) >= 1_000_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top": 11, "samples": 10}, "top=11 of samples=10"),
        ({"test_episodes": 0}, "test_episodes=0"),
        ({"horizon": -1}, "horizon=-1"),
        ({"selection_seed_start": 500_000}, "selection_seed_start=500000"),
        ({"test_seed_start": 1_000_049}, "overlap"),
        ({"selection_seed_start": 2_000_199}, "overlap"),
        ({"headline": "reward"}, "headline='reward'"),
    ],
)
def test_impossible_protocols_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Protocol(**changes)


def test_adjacent_seed_ranges_are_allowed() -> None:
    assert Protocol(test_seed_start=1_000_050).test_seeds.start == 1_000_050


def test_key_is_readable_and_changes_with_every_field() -> None:
    unit = _unit()
    assert unit.key.startswith("nnit-PickCube-v1-32-32-16-64-s0-")
    assert len(unit.key.rsplit("-", 1)[1]) == 12
    others = [
        replace(unit, protocol=Protocol(top=5)),
        replace(unit, task="PushCube-v1"),
        replace(unit, method="sane"),
        replace(unit, method_sha256="cd" * 32),
        replace(unit, generator_seed=1),
        replace(unit, arch=(32, 32, 32, 64)),
    ]
    assert len({other.key for other in [unit, *others]}) == len(others) + 1
    assert _unit().key == unit.key


@pytest.mark.parametrize("name", ["../nnit", "a/b", "", ".hidden", "two words"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="names files"):
        _unit(method=name)


def test_in_the_split_joint_the_method_chooses() -> None:
    assert architectures_asked("joint") == (None,)
    assert architectures_asked("unseen", "16-16-16-32") == ((16, 16, 16, 32),)
    with pytest.raises(InputError, match="leave --archs out"):
        architectures_asked("joint", "16-16-16-32")
