"""Plans: which zoos, trainings, runs and tables, as a TOML file; expanded into units that anybody may do.

A unit is done when its output is there, whoever made it. So an interrupted sweep goes on by asking for the same plan.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from nnbench.errors import InputError
from nnbench.folders import RESULTS, RUNS, require_usable
from nnbench.protocol import Protocol, named_protocol
from nnbench.slurm.configuration import ConfigurationError, read_configuration
from nnbench.tasks.policies.architectures import Architecture, Splits, architecture_name
from nnbench.tasks.policies.tracks import load_track

if TYPE_CHECKING:
    from nnbench.facts import Facts
    from nnbench.tasks.zoo.presets import DistillationConfig

SHIPPED = Path(__file__).parent / "plans"

Stage = Literal["ghn", "zoo", "train", "run", "table"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In the order in which they need one another."""

PICK_CUBE = "PickCube-v1"

# Estimates, from what the stages took on cores of an AMD EPYC (Zen 3). They decide only what shares a job.
_STEPS_PER_CORE_HOUR = 1400 * 3600
_HOURS_PER_UPDATE = 0.1 / 3600
_NOVELTY_HOURS_PER_SAMPLE = 0.1 / 3600
_ALIGNMENT_HOURS = 1.0

_MOST_HOURS = 24 * 365
_MOST_HYPERNETWORKS = 10_000


def _require_between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # so that NaN is refused
        raise InputError(f"{name} = {value}, expected {low:g} to {high:g}")


def _require_named(name: str, values: Sequence[object]) -> None:
    if not values:
        raise InputError(f"{name} = [], expected at least one")
    if len(set(values)) < len(values):
        raise InputError(f"{name} = {list(values)}, expected each only once")


def _require_trainings(methods: Sequence[str], tasks: Sequence[str], seeds: Sequence[int]) -> None:
    for name, values in (("method", methods), ("task", tasks), ("seed", seeds)):
        _require_named(name, values)
    for seed in seeds:
        _require_between("seed", seed, 0, 2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class ZooPlan:
    """Zoos to build, into runs/zoo; a task of the plan that has none here uses the zoo that ships."""

    task: tuple[str, ...]
    preset: Literal["cpu", "upsample", "paper"] = "cpu"
    """As of `nnbench zoo build`."""
    hypernetworks: int | None = None
    """How many, default the preset's."""
    held_out: bool = False
    """Let the hypernetworks learn the held-out architectures too."""

    def __post_init__(self) -> None:
        _require_named("task", self.task)
        if self.hypernetworks is not None:
            _require_between("hypernetworks", self.hypernetworks, 1, _MOST_HYPERNETWORKS)

    def numbers(self, task: str) -> "tuple[int, DistillationConfig]":
        """How many hypernetworks, and how they are trained."""
        from nnbench.tasks.registry import load_task
        from nnbench.tasks.zoo.presets import preset

        count, config = preset(self.preset, load_task(task))
        return count if self.hypernetworks is None else self.hypernetworks, replace(
            config, architectures="space" if self.held_out else "train"
        )


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """Trainings. A generator that a run needs and none of these names is trained too, and taken to be quick."""

    method: tuple[str, ...]
    task: tuple[str, ...]
    seed: tuple[int, ...] = (0,)
    hours: float = 0.02
    """Of one training, with the profile's resources."""

    def __post_init__(self) -> None:
        _require_trainings(self.method, self.task, self.seed)
        _require_between("hours", self.hours, 0, _MOST_HOURS)


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Runs, one unit per architecture, as of `nnbench run`."""

    method: tuple[str, ...]
    task: tuple[str, ...]
    seed: tuple[int, ...] = (0,)
    """Of the training and of the samples."""
    split: str = "unseen"
    archs: str | None = None
    """Only these of the split, with commas between; `all` with `seen` for the 64 training ones."""
    generation_hours: float = 0.0
    """What a method takes to write the samples of one architecture, with the profile's resources."""

    def __post_init__(self) -> None:
        _require_trainings(self.method, self.task, self.seed)
        _require_between("generation_hours", self.generation_hours, 0, _MOST_HOURS)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a plan file says."""

    zoo: tuple[ZooPlan, ...] = ()
    train: tuple[TrainPlan, ...] = ()
    run: tuple[RunPlan, ...] = ()
    tables: tuple[Literal[1, 2, 3, 4, 6], ...] = ()
    """Tables to print when all is done, as of `nnbench table`."""
    protocol: Protocol = field(default_factory=Protocol)
    """In the file a name, `protocol = "quick"`, or a table of numbers, which may have a `name` whose numbers they
    replace."""
    plugin: tuple[Path, ...] = ()
    """Python files with further methods."""
    track: str = "paper"
    """Of all trainings and runs: one that `nnbench tracks` lists, or the path of a file (.toml)."""
    results: Path = RESULTS

    def __post_init__(self) -> None:
        require_usable(self.results)

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, in the order in which they are named."""
        parts: tuple[ZooPlan | TrainPlan | RunPlan, ...] = (*self.zoo, *self.train, *self.run)
        return tuple(dict.fromkeys(task for part in parts for task in part.task))

    def zoo_plan(self, task: str) -> ZooPlan | None:
        """Who builds the task's zoo; None for the zoo that ships."""
        return next((part for part in self.zoo if task in part.task), None)

    def zoo_folder(self, task: str) -> Path:
        """The zoo that trainings and runs of the task use."""
        from nnbench.tasks.zoo.manifest import shipped_folder

        source = load_track(self.track).source
        if source != "hypernetworks" and not shipped_folder(task, source).exists():
            return RUNS / f"zoo-{source}" / task
        return RUNS / "zoo" / task if self.zoo_plan(task) else shipped_folder(task, source)


@dataclass(frozen=True)
class SweepUnit:
    """The smallest piece of a sweep."""

    stage: Stage
    task: str = ""
    method: str | None = None
    seed: int | None = None
    arch: Architecture | None = None
    """None in a run where the method chooses the architectures too."""
    needs: tuple[str, ...] = ()
    """Names of the units whose output it reads."""
    hours: float = 0.0
    """Estimate of what takes as long on any number of cores."""
    core_hours: float = 0.0
    """Estimate of what is shared among cores."""

    @cached_property
    def name(self) -> str:
        """Unique in a plan, and the same in every plan."""
        parts = [self.stage, self.method, self.task]
        if self.seed is not None:
            parts.append(f"s{self.seed}")
        if self.stage == "run":
            parts.append(architecture_name(self.arch) if self.arch else "joint")
        return "/".join(part for part in parts if part)


def stage_of(name: str) -> Stage:
    """Of a unit, by its name."""
    return next(stage for stage in STAGES if stage == name.split("/")[0])


def plan_file(path: Path) -> Path:
    """A file, or by its name a plan that ships. Raises ConfigurationError."""
    for candidate in (path, SHIPPED / path):
        if candidate.is_file():
            return candidate
    known = ", ".join(sorted(file.name for file in SHIPPED.glob("*.toml")))
    raise ConfigurationError(f"{path}: no such plan; expected a TOML file, or one that ships: {known}")


def load_plan(path: Path) -> Plan:
    """Read a plan. Raises ConfigurationError, also for tasks, splits and architectures that are none."""
    from nnbench.tasks.registry import load_task

    plan = read_configuration(path, Plan, _with_protocol)
    if not (plan.zoo or plan.train or plan.run):
        raise ConfigurationError(f"{path}: an empty plan; expected [[zoo]], [[train]] or [[run]]")
    try:
        for task in plan.tasks:
            load_task(task)
        expand(plan)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return plan


def _with_protocol(table: dict[str, Any]) -> dict[str, Any]:
    """The plan's table with all numbers of the protocol that it names. Raises InputError for an unknown name."""
    asked = table.get("protocol", {})
    if isinstance(asked, str):
        asked = {"name": asked}
    if not isinstance(asked, dict) or not isinstance(asked.get("name"), str):
        return table
    numbers = {name: value for name, value in asked.items() if name != "name"}
    return table | {"protocol": asdict(named_protocol(asked["name"])) | numbers}


def expand(plan: Plan) -> list[SweepUnit]:
    """All units of a plan, each once, by stage and within one in an order that keeps together what can share a job."""
    zoos = {task: (SweepUnit("zoo", task).name,) if plan.zoo_plan(task) else () for task in plan.tasks}
    facts = _facts(plan)
    untrained = {
        name for name, of in facts.items() if of.role != "generator"
    }  # they learn nothing: no unit trains them
    trainers = {name: of.trained_as for name, of in facts.items() if of.trained_as}  # several methods use one training
    named = [unit for part in plan.train for unit in _train_units(part, part.hours, trainers, zoos)]
    needed = [unit for part in plan.run for unit in _train_units(part, TrainPlan.hours, trainers, zoos)]
    trained: dict[str, SweepUnit] = {}
    for unit in (*named, *(unit for unit in needed if unit.method not in untrained)):
        trained.setdefault(unit.name, unit)  # a training that is named comes before one that is only needed
    splits = load_track(plan.track).splits
    runs = [unit for part in plan.run for unit in _run_units(part, plan.protocol, splits, trained, trainers, zoos)]
    units: dict[str, SweepUnit] = {}
    for unit in (*_zoo_units(plan), *trained.values(), *runs):
        units.setdefault(unit.name, unit)
    if plan.tables:
        table = SweepUnit("table", needs=tuple(u.name for u in units.values() if u.stage in ("zoo", "run")), hours=0.05)
        units[table.name] = table
    return sorted(units.values(), key=lambda unit: STAGES.index(unit.stage))


def _zoo_units(plan: Plan) -> Iterator[SweepUnit]:
    from nnbench.tasks.registry import load_task

    for part in plan.zoo:
        for task in part.task:
            count, config = part.numbers(task)
            dagger = config.dagger
            hours = dagger.iterations * dagger.updates * _HOURS_PER_UPDATE
            core_hours = dagger.iterations * dagger.episodes * plan.protocol.horizon / _STEPS_PER_CORE_HOUR
            validation = 81 * count * load_task(task).filter.episodes * plan.protocol.horizon / _STEPS_PER_CORE_HOUR
            if config.pool is None:  # each GHN learns by itself
                ghns = [SweepUnit("ghn", task, seed=s, hours=hours, core_hours=core_hours) for s in range(count)]
                yield from ghns
                yield SweepUnit("zoo", task, needs=tuple(g.name for g in ghns), hours=0.1, core_hours=validation)
            else:
                hours += count / 8 * config.pool.updates * _HOURS_PER_UPDATE
                yield SweepUnit("zoo", task, hours=hours, core_hours=core_hours + validation)
            if 1 in plan.tables and task == PICK_CUBE:  # the paper prints it for one task
                yield SweepUnit("zoo", task, "alignment", hours=_ALIGNMENT_HOURS)


def _facts(plan: Plan) -> "dict[str, Facts]":
    """Of all methods that can be used. Raises RegistryError where a plugin is no Python file."""
    from nnbench.facts import list_methods

    return {one.name: one.facts for one in list_methods(plan.plugin) if one.facts is not None}


def _train_units(
    part: TrainPlan | RunPlan, hours: float, trainers: Mapping[str, str], zoos: Mapping[str, tuple[str, ...]]
) -> Iterator[SweepUnit]:
    for task in part.task:
        for seed in part.seed:
            for method in part.method:
                yield SweepUnit("train", task, trainers.get(method, method), seed, needs=zoos[task], hours=hours)


def _run_units(
    part: RunPlan,
    protocol: Protocol,
    splits: Splits,
    trained: Collection[str],
    trainers: Mapping[str, str],
    zoos: Mapping[str, tuple[str, ...]],
) -> Iterator[SweepUnit]:
    from nnbench.protocol import architectures_asked

    episodes = protocol.samples * protocol.selection_episodes + protocol.top * protocol.test_episodes
    core_hours = episodes * protocol.horizon / _STEPS_PER_CORE_HOUR
    hours = part.generation_hours + protocol.samples * _NOVELTY_HOURS_PER_SAMPLE
    for task in part.task:
        for seed in part.seed:
            for method in part.method:
                training = SweepUnit("train", task, trainers.get(method, method), seed).name
                needs = (training,) if training in trained else zoos[task]
                for arch in architectures_asked(part.split, part.archs, splits):
                    yield SweepUnit("run", task, method, seed, arch, needs, hours, core_hours)
