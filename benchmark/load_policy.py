"""Loads a policy that `nnbench generate` wrote. A copy of this file, `load.py`, lies beside the policies.

Needs torch and safetensors, and nothing of nnbench:

    python load.py 0.safetensors
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file


def load_policy(file: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function from observations of the task, (..., O), to actions in [-1, 1], (..., A)."""
    facts = json.loads((file.parent / "policies.json").read_text())
    widths = [facts["observation_dim"], *facts["arch"], facts["action_dim"]]
    layers: list[torch.nn.Module] = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    network.load_state_dict(load_file(file))
    mean, scale = (torch.tensor(facts[key]) for key in ("observation_mean", "observation_scale"))

    @torch.no_grad()
    def act(observations: torch.Tensor) -> torch.Tensor:
        actions: torch.Tensor = network((observations - mean) / scale)
        return actions.clamp(-1, 1)

    return act


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python load.py POLICY.safetensors")
    policy = load_policy(Path(sys.argv[1]))
    mean = json.loads((Path(sys.argv[1]).parent / "policies.json").read_text())["observation_mean"]
    print("action at the mean observation:", [round(number, 3) for number in policy(torch.tensor(mean)).tolist()])
