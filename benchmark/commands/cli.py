"""The command `nnbench`. Nothing heavy is imported before a verb needs it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nnbench.protocol import Protocol

if TYPE_CHECKING:
    from nnbench.presentation.film import Subject
    from nnbench.presentation.tables import Table
    from nnbench.presentation.text import Format

_RESULTS = Path("results") / "runs"
_RUNS = Path("runs")
_TASK = "PickCube-v1"
TableName = Literal["1", "2", "3", "4", "6", "differences", "novelty", "roundtrip"]
_Figure = Literal["3", "4", "5", "6", "novelty"]

_app = tyro.extras.SubcommandApp()
_expert, _zoo, _bench = (tyro.extras.SubcommandApp() for _ in range(3))


@dataclass(frozen=True)
class _Scale:
    """The protocol's numbers. Rows of different numbers are of different protocols and never share a table."""

    n: int = Protocol.samples
    """Samples an architecture."""
    top_k: int = Protocol.top
    """How many of them, by mean return on the selection episodes, are tested."""
    episodes: int = Protocol.selection_episodes
    """Selection episodes."""
    test_episodes: int = Protocol.test_episodes
    """Test episodes."""

    def protocol(self) -> Protocol:
        return Protocol(
            samples=self.n,
            top=self.top_k,
            selection_episodes=self.episodes,
            screening_episodes=min(Protocol.screening_episodes, self.episodes),
            test_episodes=self.test_episodes,
        )


@_app.command
def run(
    method: tuple[str, ...],
    split: Literal["seen", "unseen", "outside", "joint"] = "unseen",
    task: str = _TASK,
    archs: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    results: Path = _RESULTS,
    plugin: tuple[Path, ...] = (),
    full: bool = False,
    scale: Annotated[_Scale, tyro.conf.OmitArgPrefixes] = _Scale(),
) -> None:
    """Generate, roll out, score and store; prints the rows of Table 2. Goes on where an interrupted run stopped.

    Args:
        method: Methods to measure; `nnbench methods` lists them.
        split: 8 of the training architectures, the 8 held out, the 9 outside the space, or the method chooses (joint).
        task: ManiSkill environment, or `all`.
        archs: Only these of the split, as in 32-32-16-64,16-16-16-32; `all` with `seen` for the 64 training ones.
        seed: Seed of the method's training and of its samples.
        workers: Simulation processes, default one a core. Results do not depend on it.
        results: Folder of finished and unfinished work.
        plugin: Python files with further methods.
        full: Roll out every sample on all selection episodes, also where it provably cannot reach the top.
    """
    from tqdm import tqdm

    from nnbench.api import JointGenerator
    from nnbench.harness.evaluation import architectures_of
    from nnbench.harness.isolation import MethodError
    from nnbench.harness.trained import obtain
    from nnbench.harness.units import run_units
    from nnbench.protocol import Unit
    from nnbench.registry import MethodSource
    from nnbench.store.store import Store
    from nnbench.tasks.zoo.zoo import Zoo

    protocol, store = scale.protocol(), Store(results)
    sources = {source.name: source for source in [MethodSource.of(name, plugin) for name in method]}
    kinds = [source.load() for source in sources.values()]
    for kind in kinds:
        if kind.seen_only and split not in ("seen", "joint"):
            raise ValueError(f"method {kind.name} writes only architectures it was trained on; use --split seen")
        if split == "joint" and not issubclass(kind, JointGenerator):
            raise ValueError(f"method {kind.name} does not choose architectures (no `generate_joint`)")
    wanted, failed = architectures_of(split, archs), 0
    for zoo in [Zoo.open(name) for name in _tasks(task)]:
        trained = {name: obtain(source, zoo, seed) for name, source in sources.items()}
        work: list[Unit] = []
        for kind in kinds:
            print(f"{kind.name}: {trained[kind.name].folder}")
            for arch in wanted:
                unit = Unit(
                    protocol=protocol,
                    task=zoo.task.name,
                    method=kind.name,
                    method_sha256=trained[kind.name].sha256,
                    generator_seed=seed,
                    arch=arch,
                )
                if not store.finished(unit):
                    work.append(unit)
        outcomes = run_units(work, sources, trained, zoo, store, workers=workers, full=full)
        description = f"{zoo.task.name} {split}"
        for outcome in tqdm(outcomes, total=len(work), desc=description, unit="arch", disable=None):
            if outcome.error is not None:  # the other units are not to blame
                failed += 1
                tqdm.write(f"nnbench: {outcome}", file=sys.stderr)
            else:
                tqdm.write(str(outcome))
    _print_tables(("3" if split == "joint" else "2",), task, results, protocol)
    if failed:
        raise MethodError(f"{failed} units failed, each for the reason printed above")


@_app.command
def roundtrip(
    method: tuple[str, ...],
    task: str = _TASK,
    archs: str | None = None,
    episodes: int = 64,
    seed: int = 0,
    workers: int | None = None,
    results: Path = _RESULTS,
    plugin: tuple[Path, ...] = (),
) -> None:
    """Encode and decode training policies, roll out both; prints a table. Goes on where an interrupted run stopped.

    Args:
        method: Methods with an autoencoder.
        task: ManiSkill environment, or `all`.
        archs: Training architectures, as in 16-16-16-64,64-64-64-64, or `all` 64; default the 8 of the split seen.
        episodes: Validation episodes a policy.
        seed: Seed of the method's training.
        workers: Simulation processes, default one a core.
        results: Folder of finished work.
        plugin: Python files with further methods.
    """
    from tqdm import tqdm

    from nnbench.api import Autoencoder
    from nnbench.harness.evaluation import architectures_of
    from nnbench.harness.isolation import Isolated
    from nnbench.harness.roundtrip import measure, read
    from nnbench.harness.trained import obtain
    from nnbench.analysis.round_trips import average
    from nnbench.presentation.tables.zoo import round_trip_table
    from nnbench.registry import MethodSource, load_method
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.zoo import Zoo

    kinds = [load_method(name, plugin) for name in method]
    for kind in kinds:
        if not issubclass(kind, Autoencoder):
            raise ValueError(f"method {kind.name} does not encode policies (no `reconstruct`)")
    wanted = [arch for arch in architectures_of("seen", archs) if arch is not None]
    parts = []
    for zoo in [Zoo.open(name) for name in _tasks(task)]:
        asked = set()
        for kind in kinds:
            method_source = MethodSource.of(kind.name, plugin)
            trained = obtain(method_source, zoo, seed)
            asked.add((trained.sha256, episodes))
            with (
                Isolated(method_source, trained.folder, zoo.task.name, zoo.directory) as source,
                Simulator(zoo.task, workers) as simulator,
            ):
                done = measure(kind.name, trained, seed, source, zoo, simulator, wanted, results, episodes)
                for _ in tqdm(done, f"{kind.name} {zoo.task.name}", len(wanted), unit="arch", disable=None):
                    pass
        # Round trips of other trainings or numbers of episodes may lie there too: they would not average.
        rows = [row for row in read(results, zoo.task.name) if (row["method_sha256"], row["episodes"]) in asked]
        parts.append(round_trip_table(average(rows, zoo.task.name), zoo.task.name))
    _print(parts)


@_app.command
def table(
    names: Annotated[tuple[TableName, ...], tyro.conf.Positional] = ("2", "3", "4"),
    task: str = _TASK,
    results: Path = _RESULTS,
    format: Literal["text", "md", "latex", "csv", "json"] = "text",
    per_architecture: bool = False,
    protocol: str | None = None,
) -> None:
    """Print tables of the paper from stored rows: measured with intervals, beside what the paper reports.

    Args:
        names: The paper's numbers of the tables, differences, novelty, or roundtrip.
        task: ManiSkill environment, or `all`.
        results: Folder that `nnbench run` wrote to.
        format: For people, for papers, or a line a number for machines.
        per_architecture: Table 2 also with one row an architecture.
        protocol: First digits of a protocol's hash, where the folder has rows of several.
    """
    _print_tables(names, task, results, protocol, format, per_architecture)


@_app.command
def report(
    results: Path = _RESULTS, task: str = "all", out: Path = Path("report.html"), protocol: str | None = None
) -> None:
    """Write one HTML page of a folder of results: all tables and figures, and where the numbers come from.

    Args:
        results: Folder that `nnbench run` wrote to.
        task: ManiSkill environment, or `all`.
        out: The page; it needs no other file and no network.
        protocol: First digits of a protocol's hash, where the folder has rows of several.
    """
    from functools import partial

    from nnbench.analysis.results import Results
    from nnbench.harness.trained import find_budget
    from nnbench.presentation.report import page
    from nnbench.tasks.files import write_atomically

    opened = Results.open(results, _tasks(task), protocol)
    named = {manifest["unit"]["method_sha256"]: manifest["unit"] for manifest in opened.manifests}
    budgets = [budget for budget in map(find_budget, named.values()) if budget is not None and budget.parameters]
    write_atomically(out, partial(_write_text, page(opened, budgets)))
    print(f"{out}: {len(opened.manifests)} units")


@_app.command
def figure(
    name: Annotated[_Figure, tyro.conf.Positional],
    task: str = _TASK,
    results: Path = _RESULTS,
    arch: str | None = None,
    method: str = "nnit",
    out: Path | None = None,
    protocol: str | None = None,
) -> None:
    """Draw a figure of the paper, or novelty against success, and print what is to be said with it.

    Args:
        name: The paper's number of the figure, or novelty.
        task: ManiSkill environment.
        results: Folder that `nnbench run` wrote to.
        arch: Other architectures than the figure's own, as in 32-32-16-64; several, with commas, for figure 4.
        method: Whose policies figure 6 compares.
        out: The file, by its suffix PNG, SVG or PDF; default figure-NAME.png.
        protocol: First digits of a protocol's hash, where the folder has rows of several.
    """
    from nnbench.analysis.results import Results
    from nnbench.presentation.figures import draw, save
    from nnbench.tasks.policies.architectures import parse_architecture
    from nnbench.tasks.registry import load_task

    archs = [parse_architecture(part) for part in arch.split(",")] if arch else []
    name_of_task = load_task(task).name
    drawing = draw(name, Results.open(results, [name_of_task], protocol), name_of_task, archs, method)
    path = out or Path(f"figure-{name}.png")
    save(drawing, path)
    print(f"{path}: {drawing.title}\n{drawing.caption}")


@_app.command
def render(
    task: str = _TASK,
    method: str = "nnit",
    arch: str | None = None,
    split: Literal["seen", "unseen", "outside", "joint"] = "unseen",
    show: tuple[Literal["best", "median", "worst"], ...] = ("best", "median", "worst"),
    episodes: int = 1,
    seed: int = 0,
    results: Path = _RESULTS,
    out: Path = _RUNS / "render",
    protocol: str | None = None,
) -> None:
    """Film what stored policies do: a strip of snapshots (the paper's figures 7 to 9) and a video.

    Args:
        task: ManiSkill environment.
        method: Whose policies: one that `nnbench run` measured here, or `zoo`.
        arch: Only these of the split, as in 32-32-16-64,16-16-16-32.
        split: The architectures, as of `nnbench run`.
        show: Which of the top ten, by the mean return that they were chosen by.
        episodes: How many test episodes, the first ones; of a zoo, of those that it was validated on.
        seed: Generator seed of the method.
        results: Folder that `nnbench run` wrote to.
        out: Folder for the strip and the video.
        protocol: First digits of a protocol's hash, where the folder has rows of several.
    """
    from nnbench.harness.evaluation import architectures_of
    from nnbench.presentation import film
    from nnbench.store.store import Store
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.zoo.zoo import Zoo

    name, archs = load_task(task).name, architectures_of(split, arch)
    stem = f"{name}-{(arch or split).replace(',', '_')}"
    if method == "zoo":
        zoo = Zoo.open(name)
        subjects = film.zoo_subjects(zoo, archs, show, episodes)
        what = (
            f"Policies of the zoo {zoo.sha256[:12]}, by {_places(show)} return of the ten best of an architecture on "
            "the episodes that the zoo was validated on, and the share of these solved"
        )
        _film(name, subjects, f"Rollouts of the zoo's policies, {name}", what, out / f"zoo-{stem}")
        return
    store = Store(results)
    chosen = store.protocol(protocol or "")
    units = film.find_units(store, chosen, name, method, seed, archs)
    what = (
        f"Policies that {method} (generator seed {seed}) wrote: the {_places(show)} of the top {chosen.top} of "
        f"{chosen.samples}, by the mean return that they were chosen by, and the share of the {chosen.test_episodes} "
        f"test episodes solved ({chosen.headline.replace('_', ' ')}). Protocol {chosen.short}"
    )
    subjects = film.stored_subjects(store, units, show, episodes)
    _film(name, subjects, f"Rollouts of {method}'s policies, {name}", what, out / f"{method}-s{seed}-{stem}")
    if len(units) < len(archs):
        print(f"{len(archs) - len(units)} of the {len(archs)} architectures were not measured and are left out")


@_app.command
def status(plan: Annotated[Path | None, tyro.conf.Positional] = None, results: Path = _RESULTS) -> None:
    """What is done, running, failed and missing of a sweep; without a plan, what a folder of results holds.

    Args:
        plan: What `nnbench sweep` was given.
        results: Folder that `nnbench run` wrote to.
    """
    from collections import Counter

    from nnbench.protocol import Unit
    from nnbench.store.store import Store

    if plan is not None:
        from nnbench.slurm.status import describe_status
        from nnbench.slurm.sweep import Sweep

        print("\n".join(describe_status(Sweep.open(plan))))
        return
    store = Store(results)
    units = [Unit.from_fields(manifest["unit"]) for manifest in store.manifests()]
    finished = Counter((unit.protocol.short, unit.task, unit.method, unit.generator_seed) for unit in units)
    for (protocol, task, method, seed), count in sorted(finished.items()):
        print(f"finished   protocol {protocol}  {task}  {method} s{seed}: {count} architectures")
    for key, episodes in store.unfinished().items():
        print(f"under way  {key}: {episodes} episodes kept")


@_app.command
def sweep(
    plan: Annotated[Path, tyro.conf.Positional],
    cluster: Literal["slurm", "local", "debug"] | None = None,
    profile: str | None = None,
    dry_run: bool = False,
    retry_failed: bool = False,
) -> None:
    """Do what is missing of a plan, packed into jobs: on SLURM (submits and returns) or on this machine (waits).

    Args:
        plan: A TOML file, or one that ships: cpu.toml, paper.toml.
        cluster: Default SLURM where one answers, else local; debug runs the jobs in this process.
        profile: A TOML file with what jobs ask for, or one that ships: cpu (default on SLURM), gpu, local.
        dry_run: Print jobs, units and estimated hours, and submit nothing.
        retry_failed: Do failed units once more too.
    """
    from nnbench.slurm import dispatch
    from nnbench.slurm.profile import load_profile
    from nnbench.slurm.status import describe_status
    from nnbench.slurm.sweep import Sweep, SweepError

    opened = Sweep.open(plan)
    chosen = cluster if dry_run and cluster else dispatch.choose_cluster(cluster)
    resources = load_profile(profile or ("cpu" if chosen == "slurm" else "local"))
    units = dispatch.to_do(opened, retry_failed=retry_failed)
    arrays, problems = dispatch.pack(units, resources), dispatch.check(opened, units)
    if units:
        print("\n".join(dispatch.describe(opened, arrays, chosen)))
    else:
        print("nothing to do")
    if dry_run:
        print("".join(f"not yet: {problem}\n" for problem in problems), end="")
        return
    if problems:
        raise SweepError("\nnnbench: ".join(problems))
    for line in dispatch.submit(opened, arrays, resources, chosen):
        print(line, flush=True)
    print("\n".join(describe_status(opened)))
    if chosen != "slurm" and (left := dispatch.to_do(opened, retry_failed=True)):
        raise SweepError(f"{len(left)} units are not done; the same command does them, with --retry-failed the failed")


@_app.command
def merge(folders: Annotated[tuple[Path, ...], tyro.conf.Positional], results: Path = _RESULTS) -> None:
    """Copy the finished units of other folders into one. Refuses two different results of one unit.

    Args:
        folders: Where the units are.
        results: Where they go.
    """
    from nnbench.store.store import Store

    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder")
        new, known = Store(results).merge(Store(folder))
        print(f"{folder}: {new} units copied, {known} were there already")


@_app.command
def publish(folder: Annotated[Path, tyro.conf.Positional], results: Path = _RESULTS) -> None:
    """Pack finished units, without their weights, into archives of which there is one a method and task.

    Tables and reports read such a folder like any other. A unit that is in it already with another result is refused.

    Args:
        folder: Where the archives are, or shall be.
        results: Folder that `nnbench run` wrote to.
    """
    from nnbench.store.store import Store

    new, known = Store(results).publish(folder)
    print(f"{folder}: {new} units published, {known} were there already")


@_app.command
def rescore(results: Path = _RESULTS) -> None:
    """Compute the novelty of finished units anew from their stored weights, without simulating.

    Args:
        results: Folder that `nnbench run` wrote to.
    """
    from tqdm import tqdm

    from nnbench.harness import evaluation
    from nnbench.harness.novelty import Novelty
    from nnbench.protocol import Unit
    from nnbench.store.store import Store
    from nnbench.tasks.zoo.zoo import Zoo

    store = Store(results)
    units = [Unit.from_fields(manifest["unit"]) for manifest in store.manifests()]
    novelties = {task: Novelty(Zoo.open(task)) for task in {unit.task for unit in units}}
    for unit in tqdm(units, unit="unit", disable=None):
        evaluation.rescore(unit, novelties[unit.task], store)
    print(f"{results}: {len(units)} units scored anew")


@_app.command
def train(method: str, task: str = _TASK, seed: int = 0, plugin: tuple[Path, ...] = ()) -> None:
    """Train a method on the zoo, into ./runs/methods. Goes on where an interrupted training stopped.

    Args:
        method: One of `nnbench methods`.
        task: ManiSkill environment.
        seed: Seed of the training.
        plugin: Python files with further methods.
    """
    from nnbench.harness.trained import train as train_method
    from nnbench.registry import MethodSource
    from nnbench.tasks.zoo.zoo import Zoo

    trained = train_method(MethodSource.of(method, plugin), Zoo.open(task), seed)
    print(f"{method}: {trained.folder}")


@_app.command
def check(method: Annotated[str, tyro.conf.Positional], plugin: tuple[Path, ...] = ()) -> None:
    """Examine whether a method keeps the contract, on a toy zoo, in under a minute. Exit code 1 where it does not.

    Args:
        method: One of `nnbench methods`.
        plugin: Python files with further methods.
    """
    from tempfile import TemporaryDirectory

    from nnbench.harness.conformance import CHECKS, CheckFailed, Subject, distance_to_training
    from nnbench.registry import load_method

    failed = 0
    with TemporaryDirectory() as directory:
        subject = Subject(load_method(method, plugin), Path(directory))
        for examine in CHECKS:
            name = examine.__name__.replace("_", " ")
            try:
                examine(subject)
            except CheckFailed as error:
                failed += 1
                print(f"FAILED  {name}: {error}")
            else:
                print(f"ok      {name}")
        if not failed:
            ratio = distance_to_training(subject)
            print(f"note    its samples lie {ratio:.2f} times as far from a training network as those from one another")
    if failed:
        raise CheckFailed(f"{method}: {failed} of {len(CHECKS)} checks failed, each for the reason printed above")


@_app.command
def methods(plugin: tuple[Path, ...] = ()) -> None:
    """List the methods and where they come from. Imports none of them.

    Args:
        plugin: Python files with further methods.
    """
    from nnbench.registry import list_methods

    for listed in list_methods(plugin):
        print(f"{listed.name}  {listed.where}")


@_expert.command(name="train")
def expert_train(
    task: str = _TASK,
    steps: int = 2_600_000,
    seed: int = 0,
    workers: int | None = None,
    start: Path | None = None,
    std: float = 0.15,
    learning_rate: float = 3e-4,
    gamma: float = 0.8,
    lessons: int = 15,
    out: Path = _RUNS / "expert",
) -> None:
    """Train a task's PPO expert and score it on 200 fresh episodes. Goes on where an interrupted training stopped.

    Args:
        task: ManiSkill environment.
        steps: Control steps to simulate.
        seed: Seed of the training.
        workers: Simulation processes, default one a core.
        start: An expert.safetensors to begin with, this task's or another's with the same observations.
        std: Standard deviation of the actions that training begins with where there is a start.
        learning_rate: At the beginning; falls linearly to nothing. With little noise a tenth of the default is plenty.
        lessons: Iterations of imitating the task's teacher first, where there is a start and the task has a teacher.
        gamma: Discount factor; a larger one pays for what takes longer, as grasping a second time.
        out: Folder for the expert, its log and its training state.
    """
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.expert import ExpertConfig, load_expert, score_expert, train_expert

    with Simulator(load_task(task), workers) as simulator:
        begin = load_expert(start) if start else None
        config = ExpertConfig(
            steps=steps, seed=seed, taught_std=std, learning_rate=learning_rate, gamma=gamma, lessons=lessons
        )
        path = train_expert(simulator, out / task, config, begin)
        print(f"{path}: {score_expert(simulator, load_expert(path))}")


@_expert.command(name="score")
def expert_score(task: str = _TASK, path: Path | None = None, workers: int | None = None) -> None:
    """Score an expert on 200 episodes that no training saw.

    Args:
        task: ManiSkill environment.
        path: An expert.safetensors, default the one that comes with the package.
        workers: Simulation processes, default one a core.
    """
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.expert import load_expert, score_expert
    from nnbench.tasks.zoo.zoo import SHIPPED

    path = path or SHIPPED / task / "expert.safetensors"
    expert = load_expert(path)
    with Simulator(load_task(task), workers) as simulator:
        print(f"{path}: {score_expert(simulator, expert)}")


@_expert.command(name="observations")
def expert_observations(task: str = _TASK, path: Path | None = None, workers: int | None = None) -> None:
    """Measure what an expert sees: the mean and the scale by which a task's policies read observations.

    Prints the literal for the task's file. Another one there makes another task of it: its zoo is to be built anew.

    Args:
        task: ManiSkill environment.
        path: An expert.safetensors, default the one that comes with the package.
        workers: Simulation processes, default one a core.
    """
    from nnbench.tasks.files import file_sha256
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.expert import load_expert, measure_observations
    from nnbench.tasks.zoo.zoo import SHIPPED

    name = load_task(task).name
    with Simulator(load_task(task), workers) as simulator:
        expert = path or SHIPPED / name / "expert.safetensors"
        found = measure_observations(simulator, load_expert(expert))
    print(f"# Measured on the expert of sha256 {file_sha256(expert)}.\nstandardised_by={found.literal()}")


@_expert.command(name="render")
def expert_render(task: str = _TASK, path: Path | None = None, episodes: int = 3, out: Path = _RUNS / "render") -> None:
    """Film an expert, as `nnbench render` films policies, on the first of the episodes that it is scored on.

    Args:
        task: ManiSkill environment.
        path: An expert.safetensors, default the one that comes with the package.
        episodes: How many.
        out: Folder for the strip and the video.
    """
    from nnbench.presentation.film import expert_subject
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.zoo.zoo import SHIPPED

    name = load_task(task).name
    path = path or SHIPPED / name / "expert.safetensors"
    _film(name, [expert_subject(path, episodes)], f"Rollouts of the expert, {name}", str(path), out / f"expert-{name}")


@_zoo.command(name="build")
def zoo_build(
    task: str = _TASK,
    preset: Literal["cpu", "paper"] = "cpu",
    seeds: int | None = None,
    held_out: bool = False,
    expert: Path | None = None,
    workers: int | None = None,
    work: Path = _RUNS / "distillation",
    out: Path = _RUNS / "zoo",
) -> None:
    """Distil an expert into GHNs and validate the policies they write. Goes on where a killed build stopped.

    Args:
        task: ManiSkill environment.
        preset: The paper's numbers, for a cluster, or those for two cores.
        seeds: Number of hypernetworks, default the preset's; their seeds are 0, 1, ...
        held_out: Let the hypernetworks learn the held-out architectures too.
        expert: An expert.safetensors, default the one that `nnbench expert train` wrote, else the one that ships.
        workers: Simulation processes, default one a core.
        work: Folder for what is needed only while building.
        out: Folder for the zoo.
    """
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo import distillation
    from nnbench.tasks.zoo.zoo import build_zoo, expert_file

    expert = expert or expert_file(_RUNS, task)
    count, config = distillation.preset(preset, load_task(task))
    config = replace(config, architectures="space" if held_out else "train")
    with Simulator(load_task(task), workers) as simulator:
        build_zoo(simulator, expert, work / task, out / task, range(seeds or count), config)
    zoo_verify(task, out / task)


@_zoo.command(name="verify")
def zoo_verify(
    task: str = _TASK, directory: Path | None = None, policies: int = 16, workers: int | None = None
) -> None:
    """Check a zoo's files against its manifest, and roll out some policies again to the recorded scores.

    Args:
        task: ManiSkill environment.
        directory: Folder of the zoo, default the one that comes with the package.
        policies: How many policies are rolled out, 0 for none.
        workers: Simulation processes, default one a core.
    """
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.zoo import SHIPPED, roll_out_again, verify

    directory = directory or SHIPPED / task
    manifest = verify(directory, task)
    print(
        f"{directory}: whole; {len(manifest['ghn_seeds'])} GHNs, {manifest['valid_policies']} of "
        f"{manifest['policies']} training policies are valid"
    )
    if policies > 0:
        with Simulator(load_task(task), workers) as simulator:
            again = roll_out_again(simulator, directory, policies)
        print(
            f"{again.policies} rolled out again: {again.exact} to the last digit as recorded, the others within "
            f"{again.return_difference:.2g} of their return and {again.success_difference:.2g} of their success at end,"
            f" on average by {again.return_mean:+.3f} and {again.success_mean:+.4f}"
        )


@_zoo.command(name="alignment")
def zoo_alignment(
    task: str = _TASK,
    workers: int | None = None,
    pool: Path = _RUNS / "distillation",
    work: Path = _RUNS / "alignment",
    results: Path = _RESULTS,
) -> None:
    """Train policies through hypernetworks and without one, and compare their scores and weights (the paper's table 1).

    Args:
        task: ManiSkill environment.
        workers: Simulation processes, default one a core.
        pool: The `--work` folder of `nnbench zoo build`, whose states are learned from; gathered first if missing.
        work: Folder for finished policies.
        results: Folder for the rows.
    """
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.alignment import AlignmentConfig, compare, summarise
    from nnbench.tasks.zoo.zoo import expert_file, gather_pool

    with Simulator(load_task(task), workers) as simulator:
        if not (pool / task / "pool.safetensors").exists():
            gather_pool(simulator, expert_file(_RUNS, task), pool / task)
        rows = compare(simulator, pool / task, work / task, results, AlignmentConfig())
    for side, columns in summarise(rows).items():
        print(f"{side:9}" + "".join(f"  {name} {value:.3f}" for name, value in columns.items()))


@_bench.command(name="sim")
def bench_sim(task: str = "all", json: bool = False) -> None:
    """Control steps a second: ManiSkill's `env.step`, this engine with 1 and 2 workers, and PhysX alone.

    Args:
        task: Environment, or `all`.
        json: Print one JSON object a task.
    """
    import json as json_format

    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.speed import measure_speed

    for name in _tasks(task):
        speed = measure_speed(load_task(name))
        if json:
            print(json_format.dumps({"task": name} | {key: round(value, 1) for key, value in speed.items()}))
        else:
            one, two = speed["engine_1"], speed["engine_2"]
            print(
                f"{name}: env.step {speed['env_step']:,.0f} control steps/s, 1 worker {one:,.0f} "
                f"({one / speed['env_step']:.1f} times that, {one / speed['physx_only']:.0%} of PhysX alone, "
                f"{speed['physx_only']:,.0f}), 2 workers {two:,.0f} ({two / one:.2f} times one)"
            )


@_app.command
def doctor() -> None:
    """Try what this machine can do, and say what to install for what is missing."""
    from nnbench.harness.abilities import examine

    for finding in examine():
        print(f"{'yes' if finding.works else 'no ':3}  {finding.ability}: {finding.detail}")


@_zoo.command(name="ls")
def zoo_list(task: str = _TASK, directory: Path | None = None, json: bool = False) -> None:
    """List a zoo's architectures: policies, how many are trained on, their mean return and success.

    Args:
        task: ManiSkill environment.
        directory: Folder of the zoo, default the one that comes with the package.
        json: Print one JSON object an architecture.
    """
    import json as json_format

    from nnbench.tasks.zoo.zoo import SHIPPED, list_architectures

    for row in list_architectures(directory or SHIPPED / task, task):
        if json:
            print(json_format.dumps(row))
        else:
            print(
                f"{row['arch']:12} {row['partition']:8} {row['valid']:3} of {row['policies']:3} valid   "
                f"return {row['return']:5.2f}   success at end {row['success_at_end']:.3f}"
            )


def _tasks(name: str) -> list[str]:
    """One task, or every one for `all`."""
    from nnbench.tasks.registry import TASKS, load_task

    return list(TASKS) if name == "all" else [load_task(name).name]


def _print_tables(
    names: tuple[TableName, ...],
    task: str,
    results: Path,
    protocol: Protocol | str | None,
    form: "Format" = "text",
    per_architecture: bool = False,
) -> None:
    from nnbench.analysis.results import Results
    from nnbench.presentation.tables import build

    opened = Results.open(results, _tasks(task), protocol)
    _print(build(names, opened, per_architecture=per_architecture), form)


def _print(tables: "Sequence[Table]", form: "Format" = "text") -> None:
    from nnbench.presentation.text import render

    print(render(tables, form, None if sys.stdout.isatty() else 120), end="")


def _film(task: str, subjects: "list[Subject]", title: str, what: str, stem: Path) -> None:
    """Roll out, take pictures and write `stem`.png and `stem`.mp4."""
    from nnbench.presentation import film
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.camera import Camera
    from nnbench.tasks.simulation.vulkan import find_driver
    from nnbench.tasks.simulation.workers import Simulator

    driver = find_driver()
    with Simulator(load_task(task), 1) as simulator:
        takes = film.roll_out(subjects, simulator)
    for take in takes:
        print(take.describe())
    with Camera(load_task(task), driver, film.PICTURE) as camera:
        films = film.shoot(takes, camera)
    seeds = sorted({take.seed for take in takes})
    caption = (
        f"{what}. Shown: episode {', '.join(map(str, seeds))}, whatever its outcome; a control step is 1/20 s. "
        f"Rendered by {driver.device}."
    )
    strip, video = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.mp4")
    film.save_strip(strip, film.strip(films), title, caption)
    film.save_video(video, film.video_frames(films))
    print(f"{strip}\n{video}\n{title}\n{caption}")


def _places(show: tuple[str, ...]) -> str:
    return " and ".join(show) if len(show) < 3 else f"{', '.join(show[:-1])} and {show[-1]}"


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, "utf-8")


_app.command(_expert, name="expert", help="The PPO expert that a zoo is distilled from.")
_app.command(_bench, name="bench", help="How fast this machine is.")
_app.command(_zoo, name="zoo", help="The policies that generators learn from.")


def main() -> None:
    """Console script. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        _app.cli(prog="nnbench", description="Do weight generators write robot policies that work?")
    except KeyboardInterrupt:
        print("nnbench: interrupted; the same command goes on from what is stored", file=sys.stderr)
        sys.exit(130)
    except (ValueError, RuntimeError, FloatingPointError, OSError) as error:
        # Our own errors say what, where and the remedy; a traceback would bury that. Anything else is a bug of ours.
        ours = type(error).__module__.startswith("nnbench.")
        if not ours and type(error) not in (ValueError, FloatingPointError, OSError, PermissionError):
            raise
        print(f"nnbench: {error}", file=sys.stderr)
        sys.exit(1)
