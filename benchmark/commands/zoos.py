"""`nnbench zoo ...`: the policies that generators learn from."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from nnbench.commands.options import TASK, print_json
from nnbench.folders import RESULTS, RUNS, require_usable


def build(
    task: str = TASK,
    source: Literal["hypernetworks", "sgd"] = "hypernetworks",
    preset: Literal["cpu", "upsample", "paper"] = "cpu",
    hypernetworks: int | None = None,
    held_out: bool = False,
    seeds: int | None = None,
    expert: Path | None = None,
    workers: int | None = None,
    work: Path = RUNS / "distillation",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Distil an expert into policies, and validate them. Goes on where a killed build stopped.

    `--zoo runs/zoo` then makes other commands use what this one built.

    Args:
        task: ManiSkill environment, or a Python file that defines a task.
        source: Let hypernetworks write the policies, or train each policy by itself (sgd).
        preset: Hypernetworks for two cores (cpu), such with a convolutional decoder (upsample), or the paper's numbers,
            for a cluster.
        hypernetworks: How many, default the preset's; their seeds are 0, 1, ...
        held_out: Let the hypernetworks learn the held-out architectures too.
        seeds: Policies per architecture that are trained by themselves, default 32; their seeds are 0, 1, ...
        expert: An expert.safetensors, default the one that `nnbench expert train` wrote, else the one that ships.
        workers: Processes that simulate or train, default one per core.
        work: Folder for what is needed only while building.
        out: Folder for zoos, one folder per task; default runs/zoo, of the source sgd runs/zoo-sgd.
        json: Print what the finished zoo holds as JSON.
    """
    from nnbench.errors import InputError
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo import presets
    from nnbench.tasks.zoo.build import build_zoo, expert_file
    from nnbench.tasks.zoo.expert import load_expert

    loaded = load_task(task)
    config: presets.DistillationConfig | presets.DirectConfig
    if source == "sgd":
        if preset != "cpu" or hypernetworks is not None or held_out:
            raise InputError(
                "--preset, --hypernetworks, --held-out: no hypernetworks with --source sgd; leave them out"
            )
        count, config = presets.DIRECT_SEEDS if seeds is None else seeds, presets.DirectConfig()
    elif seeds is not None:
        raise InputError(f"--seeds {seeds}: expected with --source sgd only; --hypernetworks says how many")
    else:
        count, distillation = presets.preset(preset, loaded)
        config = replace(distillation, architectures="space" if held_out else "train")
        count = count if hypernetworks is None else hypernetworks
    if not 1 <= count <= presets.MOST_SEEDS:
        option = "--seeds" if source == "sgd" else "--hypernetworks"
        raise InputError(f"{option} {count}: expected at least 1, at most {presets.MOST_SEEDS}")
    out = out if out is not None else RUNS / ("zoo-sgd" if source == "sgd" else "zoo")
    for folder in (work, out):
        require_usable(folder)
    teacher = expert or expert_file(RUNS, loaded.name)
    load_expert(teacher)  # before anything is started
    with Simulator(loaded, workers) as simulator:
        build_zoo(simulator, teacher, work / loaded.name, out / loaded.name, range(count), config)
    verify(task, out, workers=workers, json=json)


def verify(
    task: str = TASK, zoo: Path | None = None, policies: int = 16, workers: int | None = None, json: bool = False
) -> None:
    """Check a zoo's files against its manifest, and roll out some policies again to the recorded scores.

    Args:
        task: ManiSkill environment, or a Python file that defines a task.
        zoo: Folder of the zoo, default the one that ships.
        policies: How many policies are rolled out, 0 for none.
        workers: Simulation processes, default one per core.
        json: Print what was found as JSON.
    """
    from nnbench.errors import InputError
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.tensors import parse_tensors
    from nnbench.tasks.zoo.manifest import BANK, SHIPPED, read_bank, read_index, seeds_of, source_of
    from nnbench.tasks.zoo.manifest import verify as verify_files
    from nnbench.tasks.zoo.validation import roll_out_again
    from nnbench.zoos import zoo_folder

    loaded = load_task(task)
    directory = zoo_folder(task, zoo) or SHIPPED / loaded.name
    manifest = verify_files(directory, loaded)
    if (directory / BANK).exists():  # zoos that earlier versions built have none
        read_bank(directory, manifest, parse_tensors)
    by_hypernetworks = source_of(manifest) == "hypernetworks"
    found = {
        "zoo": directory,
        "source": source_of(manifest),
        "hypernetworks" if by_hypernetworks else "seeds": len(seeds_of(manifest)),
        "training_policies": manifest["policies"],
        "valid_policies": manifest["valid_policies"],
    }
    listed = len(read_index(directory))
    if not 0 <= policies <= listed:
        raise InputError(f"--policies {policies}: expected 0 to {listed}, as many as the zoo has")
    again = None
    if policies > 0:
        with Simulator(loaded, workers) as simulator:
            again = roll_out_again(simulator, directory, policies)
    if json:
        print_json(found | {"rolled_out_again": asdict(again) if again else None})
        return
    made = "hypernetworks" if by_hypernetworks else "policies of each architecture, trained one by one"
    print(
        f"{directory}: whole; {len(seeds_of(manifest))} {made}; {found['valid_policies']} of "
        f"{found['training_policies']} training policies are valid"
    )
    if again:
        print(again)


def list_architectures(task: str = TASK, zoo: Path | None = None, json: bool = False) -> None:
    """List a zoo's architectures: policies, how many are trained on, their mean return and success.

    Args:
        task: ManiSkill environment, or a Python file that defines a task.
        zoo: Folder of the zoo, default the one that ships.
        json: Print the list as JSON.
    """
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.zoo.manifest import SHIPPED
    from nnbench.tasks.zoo.manifest import list_architectures as rows_of
    from nnbench.zoos import zoo_folder

    loaded = load_task(task)
    rows = rows_of(zoo_folder(task, zoo) or SHIPPED / loaded.name, loaded)
    if json:
        print_json(rows)
        return
    for row in rows:
        print(
            f"{row['arch']:12} {row['partition']:8} {row['valid']:3} of {row['policies']:3} valid   "
            f"return {row['return']:5.2f}   success at end {row['success_at_end']:.3f}"
        )


def alignment(
    task: str = TASK,
    workers: int | None = None,
    pool: Path = RUNS / "distillation",
    work: Path = RUNS / "alignment",
    results: Path = RESULTS,
    json: bool = False,
) -> None:
    """Train policies through hypernetworks and without one, and compare their scores and weights (the paper's table 1).

    Args:
        task: ManiSkill environment, or a Python file that defines a task.
        workers: Simulation processes, default one per core.
        pool: The `--work` folder of `nnbench zoo build`, whose states are learned from; gathered first if missing.
        work: Folder for finished policies.
        results: Folder for the rows.
        json: Print the means as JSON.
    """
    from nnbench.tasks.registry import load_task
    from nnbench.tasks.simulation.workers import Simulator
    from nnbench.tasks.zoo.alignment import AlignmentConfig, compare, summarise
    from nnbench.tasks.zoo.build import expert_file, gather_pool

    for folder in (pool, work, results):
        require_usable(folder)
    with Simulator(load_task(task), workers) as simulator:
        name = simulator.task.name
        if not (pool / name / "pool.safetensors").exists():
            gather_pool(simulator, expert_file(RUNS, name), pool / name)
        means = summarise(compare(simulator, pool / name, work / name, results, AlignmentConfig()))
    if json:
        print_json(means)
        return
    for side, columns in means.items():
        print(f"{side:9}" + "".join(f"  {name} {value:.3f}" for name, value in columns.items()))
