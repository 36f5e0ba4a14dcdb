"""`nnbench doctor` and `nnbench bench sim`: what this machine can do, and how fast."""

from nnbench.commands.options import print_json


def doctor(json: bool = False) -> None:
    """Try what this machine can do, and say what to install for what is missing.

    Args:
        json: Print the findings as JSON.
    """
    from nnbench.harness.abilities import examine

    findings = examine()
    if json:
        print_json(findings)
        return
    for finding in findings:
        print(f"{'yes' if finding.works else 'no ':3}  {finding.ability}: {finding.detail}")


def bench_sim(task: str = "all", json: bool = False) -> None:
    """Control steps per second: ManiSkill's `env.step`, this engine with 1 and 2 workers, and PhysX alone.

    Args:
        task: ManiSkill environment, a Python file that defines a task, or `all`.
        json: Print the speeds as JSON.
    """
    from nnbench.tasks.registry import expand_tasks, load_task
    from nnbench.tasks.simulation.speed import measure_speed

    speeds = {name: measure_speed(load_task(name)) for name in expand_tasks(task)}
    if json:
        print_json(speeds)
        return
    for name, speed in speeds.items():
        one, two = speed["engine_1"], speed["engine_2"]
        print(
            f"{name}: env.step {speed['env_step']:,.0f} control steps/s, 1 worker {one:,.0f} "
            f"({one / speed['env_step']:.1f} times that, {one / speed['physx_only']:.0%} of PhysX alone, "
            f"{speed['physx_only']:,.0f}), 2 workers {two:,.0f} ({two / one:.2f} times one)"
        )
