"""Plans are expanded into units by name alone: whoever expands the same plan gets the same units."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from nnbench.protocol import PROTOCOLS
from nnbench.slurm.configuration import ConfigurationError
from nnbench.slurm.plan import STAGES, expand, load_plan, plan_file
from nnbench.slurm.profile import load_profile


def _plan(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return file


RUN = "[[run]]\nmethod = ['ghn', 'nnit']\ntask = ['PickCube-v1']\n"


def test_units_come_once_and_after_what_they_need(tmp_path: Path) -> None:
    text = RUN + "seed = [0, 1]\n" + RUN + "[[train]]\nmethod = ['nnit']\ntask = ['PickCube-v1']\nhours = 3\n"
    units = expand(load_plan(_plan(tmp_path, "tables = [2]\n" + text)))
    assert Counter(unit.stage for unit in units) == {"train": 2, "run": 32, "table": 1}
    seen: set[str] = set()
    for unit in units:
        assert unit.name not in seen and seen.issuperset(unit.needs)
        seen.add(unit.name)
    assert [unit.hours for unit in units if unit.name == "train/nnit/PickCube-v1/s0"] == [3]
    needs = {unit.name: unit.needs for unit in units}
    assert needs["run/nnit/PickCube-v1/s1/16-16-16-32"] == ("train/nnit/PickCube-v1/s1",)
    assert needs["run/ghn/PickCube-v1/s1/16-16-16-32"] == ()  # what learns nothing is not trained
    assert len(units[-1].needs) == 32


def test_methods_that_use_one_training_wait_for_it(tmp_path: Path) -> None:
    units = expand(load_plan(_plan(tmp_path, RUN.replace("'ghn', 'nnit'", "'sane_joint', 'sane', 'sane_narrow'"))))
    assert Counter(unit.stage for unit in units) == {"train": 1, "run": 24}
    assert {unit.needs for unit in units if unit.stage == "run"} == {("train/sane/PickCube-v1/s0",)}


def test_the_papers_plan_has_all_of_it() -> None:
    units = expand(load_plan(plan_file(Path("paper.toml"))))
    counts = Counter((unit.stage, unit.method) for unit in units)
    assert counts["ghn", None] == 3 * 128
    assert all(counts["train", method] == 3 * 5 for method in ("nnit", "sane", "d2nwg"))
    assert all(counts["run", method] == 3 * 5 * 16 for method in ("sane", "d2nwg"))
    assert counts["run", "nnit"] == 3 * 5 * 17 + 5  # the joint mode, and Table 4's architecture outside the space
    assert counts["run", "dataset"] == 3 * 64 and counts["zoo", "alignment"] == 1
    needs = {unit.name: unit.needs for unit in units}
    assert len(needs["zoo/PushCube-v1"]) == 128 and needs["train/sane/PushCube-v1/s4"] == ("zoo/PushCube-v1",)
    assert needs["run/nnit/PickCube-v1/s2/joint"] == ("train/nnit/PickCube-v1/s2",)


def test_the_plan_and_the_profile_of_the_page_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs/sweeps.md").read_text()
    plan, profile = (block.split("```")[0] for block in page.split("```toml\n")[1:])
    assert len(expand(load_plan(_plan(tmp_path, plan)))) == 1 + 3 * 8 + 1
    (tmp_path / "cluster.toml").write_text(profile)
    assert load_profile(str(tmp_path / "cluster.toml")).training.gpus == 1


def test_what_ships_can_be_expanded_in_the_order_of_the_stages() -> None:
    for name, fewest in (("cpu.toml", 90), ("paper.toml", 90), ("reference.toml", 90), ("reference-narrow.toml", 40)):
        stages = [STAGES.index(unit.stage) for unit in expand(load_plan(plan_file(Path(name))))]
        assert stages == sorted(stages) and len(stages) > fewest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty plan; expected [[zoo]], [[train]] or [[run]]"),
        (RUN.replace("PickCube-v1", "PickCub"), "unknown task 'PickCub': expected one of PickCube-v1"),
        (RUN + "split = 'unsen'\n", "unknown split 'unsen'"),
        (RUN + "archs = '16-16-16-16'\n", "16-16-16-16 is not in the split unseen"),
        (RUN + "[protocol]\ntop = 200\n", "protocol: protocol: top=200 of samples=100"),
        ("protocol = 'fast'\n" + RUN, "unknown protocol 'fast': expected one of paper, quick"),
        (RUN + "[protocol]\nsample = 20\n", "unknown key 'sample'; did you mean 'samples'?"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_plan(_plan(tmp_path, text))
    assert "mine.toml: " in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["protocol = 'quick'\n" + RUN, RUN + "[protocol]\nname = 'quick'\ntest_episodes = 7\n"]
)
def test_a_protocol_goes_by_name_and_numbers_beside_it_count(tmp_path: Path, text: str) -> None:
    found = load_plan(_plan(tmp_path, text)).protocol
    assert found == replace(PROTOCOLS["quick"], test_episodes=7 if "7" in text else 50)


def test_an_unknown_plan_lists_those_that_ship() -> None:
    with pytest.raises(ConfigurationError, match="nine.toml: no such plan; .* one that ships: cpu.toml, paper.toml, "):
        plan_file(Path("nine.toml"))
