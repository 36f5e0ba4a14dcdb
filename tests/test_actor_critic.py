import torch

from nnbench.tasks.policies.mlp import GaussianActor
from nnbench.tasks.zoo.actor_critic import ActorCritic
from nnbench.tasks.zoo.expert import load_expert
from nnbench.tasks.zoo.manifest import SHIPPED


def test_what_learns_on_standardised_observations_reads_them_as_they_are() -> None:
    expert = load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors")
    agent = ActorCritic(42, 8, (256, 256, 256))
    states = torch.randn(50, 42, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.01, 2, 42) + 0.3
    agent.standardise(states)
    agent.read(expert)
    wanted = torch.from_numpy(GaussianActor.from_state_dict(expert)(states.numpy()))
    torch.testing.assert_close(agent.act(states).mean, wanted, atol=1e-4, rtol=1e-4)
    outside = GaussianActor.from_state_dict(agent.written(agent.actor))
    torch.testing.assert_close(torch.from_numpy(outside(states.numpy())), wanted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(agent.get_parameter("actor.0.weight"), expert["0.weight"])
