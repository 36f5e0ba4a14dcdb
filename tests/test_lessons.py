import numpy as np
import torch

from nnbench.tasks.policies.mlp import GaussianActor
from nnbench.tasks.simulation.workers import Rollout, Simulator
from nnbench.tasks.zoo.actor_critic import ActorCritic
from nnbench.tasks.zoo.expert import load_expert
from nnbench.tasks.zoo.lessons import imitate
from nnbench.tasks.zoo.manifest import SHIPPED
from nnbench.tasks.zoo.ppo import ExpertConfig


def test_a_teacher_is_imitated(simulator: Simulator) -> None:
    teacher = GaussianActor.from_state_dict(load_expert(SHIPPED / "PickCube-v1" / "expert.safetensors"))
    config = ExpertConfig(episodes=20, lessons=2, lesson_updates=200, lesson_learning_rate=1e-3)
    student = ActorCritic(42, 8, (32, 32)).actor
    states = torch.from_numpy(simulator.episodes([Rollout(teacher, np.arange(900, 910), True)])[0].observations)
    wanted = torch.from_numpy(teacher(states.flatten(0, 1).numpy()).clip(-1.5, 1.5))

    def error() -> float:
        return float((student(states.flatten(0, 1)) - wanted).square().mean().detach() / wanted.square().mean())

    before = error()
    imitate(simulator, student, teacher, config, torch.Generator().manual_seed(0))
    assert error() < 0.3 < 0.8 < before
