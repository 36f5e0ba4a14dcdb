"""`nnbench expert ...`: the PPO expert that a zoo is distilled from."""

from pathlib import Path

from nnbench.commands.films import OUT, shoot
from nnbench.commands.options import TASK, print_json
from nnbench.folders import RUNS, require_usable


def train(
    task: str = TASK,
    steps: int = 2_600_000,
    seed: int = 0,
    workers: int | None = None,
    start: Path | None = None,
    std: float = 0.15,
    learning_rate: float = 3e-4,
    gamma: float = 0.8,
    lessons: int = 15,
    out: Path = RUNS / "expert",
    json: bool = False,
) -> None:
    """Train a task's PPO expert and score it on 200 fresh episodes. Goes on where an interrupted training stopped.

    Args:
        task: ManiSkill environment, or a Python file that defines a task.
        steps: Control steps to simulate.
        seed: Seed of the training.
        workers: Simulation processes, default one per core.
        start: An expert.safetensors to begin with, this task's or another's with the same observations.
        std: Standard deviation of the actions that training begins with where there is a start.
        learning_rate: At the beginning; falls linearly to nothing. With little noise a tenth of the default is plenty.
        lessons: Iterations of imitating the task's teacher first, where there is a start and the task has a teacher.
        gamma: Discount factor; a larger one pays for what takes longer, as grasping a second time.
        out: Folder for the expert, its log and its training state.
        json: Print the expert's file and scores as JSON.
    """
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.expert import load_expert, score_expert, train_expert
    from nnbench.tasks.zoo.ppo import ExpertConfig

    begin = load_expert(start) if start else None
    require_usable(out)
    config = ExpertConfig(
        steps=steps, seed=seed, taught_std=std, learning_rate=learning_rate, gamma=gamma, lessons=lessons
    )
    with Simulator(load_task(task), workers) as simulator:
        path = train_expert(simulator, out / simulator.task.name, config, begin)
        _print_scores(path, score_expert(simulator, load_expert(path)), json)


def score(task: str = TASK, expert: Path | None = None, workers: int | None = None, json: bool = False) -> None:
    """Score an expert on 200 episodes that no training saw.

    Args:
        task: ManiSkill environment, or a Python file that defines a task.
        expert: An expert.safetensors, default the one that comes with the package.
        workers: Simulation processes, default one per core.
        json: Print the scores as JSON.
    """
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.expert import load_expert, score_expert

    path = expert or _shipped(task)
    loaded = load_expert(path)
    with Simulator(load_task(task), workers) as simulator:
        _print_scores(path, score_expert(simulator, loaded), json)


def observations(task: str = TASK, expert: Path | None = None, workers: int | None = None) -> None:
    """Measure what an expert sees: the mean and the scale by which a task's policies read observations.

    Prints the lines to put into the task's file. Other numbers there make another task of it: its zoo must be built
    anew.

    Args:
        task: ManiSkill environment, or a Python file that defines a task.
        expert: An expert.safetensors, default the one that comes with the package.
        workers: Simulation processes, default one per core.
    """
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.expert import describe_standardiser, load_expert, measure_observations

    path = expert or _shipped(task)
    loaded = load_expert(path)
    with Simulator(load_task(task), workers) as simulator:
        found = measure_observations(simulator, loaded)
    print(describe_standardiser(found, path))


def render(task: str = TASK, expert: Path | None = None, episodes: int = 3, out: Path = OUT) -> None:
    """Film an expert, as `nnbench render` films policies, on the first of the episodes that it is scored on.

    Args:
        task: ManiSkill environment, or a Python file that defines a task.
        expert: An expert.safetensors, default the one that comes with the package.
        episodes: How many.
        out: Folder for the strip and the video.
    """
    from nnbench.presentation.film import expert_subject
    from nnbench.tasks.registry import load_task

    name, path = load_task(task).name, expert or _shipped(task)
    title = f"Rollouts of the expert, {name}"
    shoot(task, [expert_subject(path, episodes)], title, str(path), out / f"expert-{name}")


def _shipped(task: str) -> Path:
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.zoo.manifest import SHIPPED

    return SHIPPED / load_task(task).name / "expert.safetensors"


def _print_scores(path: Path, scores: dict[str, float], json: bool) -> None:
    if json:
        print_json({"expert": path, **scores})
    else:
        print(f"{path}: {scores}")
