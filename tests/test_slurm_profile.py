"""Profiles that ship can be used, and those that SLURM would trip over are refused."""

from pathlib import Path

import pytest

from nnbench.slurm.configuration import ConfigurationError
from nnbench.slurm.profile import SHIPPED, load_profile


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_what_ships_can_be_read_and_on_slurm_names_its_cores(name: str) -> None:
    profile = load_profile(name)
    assert name == "local" or (profile.training.cpus and profile.rollouts.cpus)


def test_training_and_rollouts_have_resources_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[training]\nminutes = 60\ngpus = 1\npartition = 'gpu'\n[rollouts]\nminutes = 30\ncpus = 4\n")
    profile = load_profile(str(file))
    assert (profile.training.partition, profile.rollouts.partition) == ("gpu", None)
    assert (profile.training.gpus, profile.rollouts.gpus, profile.rollouts.cpus) == (1, 0, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # SLURM may send the signal a minute early: jobs of 3 minutes would be told to stop as they start
        ("signal_s = 120\n[training]\nminutes = 60\n[rollouts]\nminutes = 3\n", "rollouts: minutes = 3 with signal_s"),
        ("parallel = 0\n[training]\nminutes = 60\n[rollouts]\nminutes = 60\n", "parallel = 0, expected at least 1"),
        ("[training]\nminutes = 60\ncpus = 0\n[rollouts]\nminutes = 60\n", "training: cpus = 0, expected at least 1"),
        ("[training]\nminutes = 60\n", "'rollouts' is missing"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_profile(str(file))
    assert str(file) in str(caught.value) and message in str(caught.value)


def test_an_unknown_one_lists_the_known() -> None:
    with pytest.raises(ConfigurationError, match="unknown profile 'gup': expected one of cpu, gpu, local, or a TOML"):
        load_profile("gup")
