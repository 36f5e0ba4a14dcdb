"""The expert's network while it learns: an actor and a critic on standardised observations.

O and A are the observation and action dimensions.
"""

import math

import torch
from torch import Tensor, nn

from nnbench.tasks.policies.mlp import Weights

_LEAST_SCALE = 0.03
"""In the observations' units: metres, radians, rad/s."""


class ActorCritic(nn.Module):
    """Tanh networks for the mean action and the value; a state-independent log standard deviation.

    Both learn on standardised observations, because metres and radians differ much in size. Everywhere else an actor
    reads observations as they are: `read` and `written` translate its first layer.
    """

    shift: Tensor  # (O,)
    scale: Tensor  # (O,)

    def __init__(self, observation_dim: int, action_dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(observation_dim))
        self.register_buffer("scale", torch.ones(observation_dim))
        # A small last layer makes the first policy nearly zero-mean: exploration starts from standing still.
        self.actor = _tanh_network((observation_dim, *hidden, action_dim), last_gain=0.01 * math.sqrt(2))
        self.critic = _tanh_network((observation_dim, *hidden, 1), last_gain=1.0)
        self.log_std = nn.Parameter(torch.full((action_dim,), -0.5))

    def standardise(self, observations: Tensor) -> None:
        """From now on, standardise by the mean and the standard deviation of these observations, (..., O)."""
        flat = observations.flatten(0, -2)
        self.shift.copy_(flat.mean(dim=0))
        # What hardly moves yet, like a cube before the first grasp, must not be blown up once it moves.
        self.scale.copy_(flat.std(dim=0).clamp(min=_LEAST_SCALE))

    def read(self, weights: Weights) -> None:
        """Make this the actor. Raises torch's RuntimeError where it does not fit."""
        weights = dict(weights)
        first = weights["0.weight"]
        if first.shape[1:] == self.shift.shape:
            weights["0.bias"] = weights["0.bias"] + first @ self.shift
            weights["0.weight"] = first * self.scale
        self.actor.load_state_dict(weights)

    def written(self, actor: nn.Module) -> Weights:
        """The weights of an actor, or of an average of actors, that learned here."""
        weights = {key: value.detach().clone() for key, value in actor.state_dict().items()}
        weights["0.weight"] = weights["0.weight"] / self.scale
        weights["0.bias"] = weights["0.bias"] - weights["0.weight"] @ self.shift
        return weights

    def act(self, observations: Tensor) -> torch.distributions.Normal:
        """(B, O) to a distribution over (B, A)."""
        return torch.distributions.Normal(self.actor((observations - self.shift) / self.scale), self.log_std.exp())

    def value(self, observations: Tensor) -> Tensor:
        """(..., O) to (...)."""
        return self.critic((observations - self.shift) / self.scale).squeeze(-1)


def _tanh_network(widths: tuple[int, ...], last_gain: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        linear = nn.Linear(inputs, outputs)
        last = layer == len(widths) - 2
        nn.init.orthogonal_(linear.weight, last_gain if last else math.sqrt(2))
        nn.init.zeros_(linear.bias)
        layers += [linear] if last else [linear, nn.Tanh()]
    return nn.Sequential(*layers)
