"""Noise of a sample's own, and noisy copies of states."""

import pytest
import torch

from nnbench.methods._noise import noise_source, noise_sources, noisy_copies


def test_a_source_depends_on_its_key_alone() -> None:
    keys = [(0, 1, 32, 16), (0, 1, 16, 32), (1, 0, 32, 16), (0, 2, 32, 16)]
    drawn = [torch.randn(4, generator=noise_source(*key)) for key in keys]
    torch.manual_seed(7)
    assert all(
        torch.equal(torch.randn(4, generator=noise_source(*key)), values)
        for key, values in zip(keys, drawn, strict=True)
    )
    assert all((one - other).abs().min() > 0 for one in drawn for other in drawn if one is not other)


def test_fewer_sources_are_the_first_of_more() -> None:
    def first_numbers(n: int) -> list[float]:
        batches = list(noise_sources(n, (5, 32, 16), "toy"))
        assert len(batches) == -(-n // 50)
        return [float(torch.randn((), generator=source)) for batch in batches for source in batch]

    more = first_numbers(120)
    assert len(set(more)) == 120 and first_numbers(50) == more[:50] and first_numbers(0) == []


def test_each_copy_of_the_states_has_noise_of_its_own_size() -> None:
    states = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    copies = noisy_copies(states, (0.0, 0.1, 0.5), torch.Generator().manual_seed(1)).view(3, 2000, 3)
    assert torch.equal(copies[0], states)
    assert (copies - states).std(dim=(1, 2)).tolist() == pytest.approx([0, 0.1, 0.5], rel=0.05)
