import numpy as np
import pytest
import torch

from nnbench.tasks.simulation.episodes import Episodes
from nnbench.tasks.zoo.actor_critic import ActorCritic
from nnbench.tasks.zoo.ppo import ExpertConfig, generalised_advantages, log_prob, update


def test_advantages_are_the_discounted_sum_of_td_errors() -> None:
    rng = torch.Generator().manual_seed(0)
    rewards, values = torch.rand(2, 5, generator=rng), torch.rand(2, 6, generator=rng)
    config = ExpertConfig(gamma=0.8, gae_lambda=0.9)
    found = generalised_advantages(rewards, values, config)
    errors = rewards + 0.8 * values[:, 1:] - values[:, :-1]
    for t in range(5):
        expected = sum((0.8 * 0.9) ** k * errors[:, t + k] for k in range(5 - t))
        torch.testing.assert_close(found[:, t], expected)


@pytest.mark.parametrize("mean", [-2.5, -0.9, 0.0, 1.4])
def test_actions_beyond_a_limit_are_one_action(mean: float) -> None:
    acting = torch.distributions.Normal(torch.tensor([[mean]], dtype=torch.float64), 0.3)

    def of(*actions: float) -> torch.Tensor:
        return torch.cat([log_prob(acting, torch.tensor([[action]], dtype=torch.float64)) for action in actions])

    assert of(1.0) == of(1.7) and of(-1.0) == of(-4.0)
    torch.testing.assert_close(of(0.3), acting.log_prob(torch.tensor(0.3, dtype=torch.float64))[0])
    grid = torch.linspace(-0.9999, 0.9999, 4001, dtype=torch.float64)
    within = torch.trapezoid(of(*grid.tolist()).exp(), grid)
    assert float(within + of(-1.0, 1.0).exp().sum()) == pytest.approx(1, abs=1e-3)


def test_mean_actions_come_back_to_where_noise_matters() -> None:
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(8, 6, 3, generator=generator)
    nothing = np.zeros(8, np.float32)

    def excess(bounds: float) -> float:
        torch.manual_seed(0)
        agent = ActorCritic(3, 2, (16,))
        agent.get_parameter("actor.2.bias").data.copy_(torch.tensor([3.0, -2.0]))
        optimizer = torch.optim.Adam(agent.parameters(), 1e-2)
        config = ExpertConfig(bounds=bounds, minibatches=2)
        for _ in range(60):
            actions = agent.act(observations[:, :-1]).sample().numpy()
            rewards = np.zeros((8, 5), np.float32)
            none = nothing > 0
            episodes = Episodes(np.arange(8), nothing, none, none, none, observations.numpy(), actions, rewards)
            update(agent, optimizer, episodes, config, generator, only_critic=False)
        return float((agent.act(observations).mean.detach().abs() - 1.1).clamp(min=0).mean())

    assert excess(1.0) < 0.1 < 1 < excess(0.0)


def test_a_large_step_ends_its_epoch_but_not_the_next() -> None:
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(8, 6, 3, generator=generator)
    permutations: list[int] = []

    class Counting(torch.optim.SGD):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            permutations.append(1)
            super().step()

    torch.manual_seed(0)
    agent = ActorCritic(3, 2, (16,))
    actions = agent.act(observations[:, :-1]).sample().numpy()
    nothing, rewards = np.zeros(8, np.float32), np.ones((8, 5), np.float32)
    none = nothing > 0
    episodes = Episodes(np.arange(8), nothing, none, none, none, observations.numpy(), actions, rewards)
    config = ExpertConfig(kl_limit=-1e-6, epochs=3, minibatches=4)
    agent.log_std.data += 0.1  # the ratio is 1 until something is learned: the limit lies just below
    before = generator.get_state()
    update(agent, Counting(agent.parameters(), 1.0), episodes, config, generator, only_critic=False)
    assert not permutations  # every epoch ended before its first step
    ended = generator.get_state()
    generator.set_state(before)
    for _ in range(config.epochs):
        torch.randperm(40, generator=generator)
    assert torch.equal(generator.get_state(), ended)  # and yet each of the three drew its permutation
