"""`nnbench sweep` and `nnbench status`: plans of many units."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from nnbench.commands.options import opened_store, print_json
from nnbench.folders import RESULTS


def sweep(
    plan: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PLAN")],
    cluster: Literal["slurm", "local", "debug"] | None = None,
    profile: str | None = None,
    dry_run: bool = False,
    retry_failed: bool = False,
) -> None:
    """Do what is missing of a plan, packed into jobs: on SLURM (submits and returns) or on this machine (waits).

    Args:
        plan: A TOML file, or one that ships: cpu.toml, paper.toml, reference.toml,
            reference-narrow.toml.
        cluster: Default SLURM where one answers, else local; debug runs the jobs in this process.
        profile: A TOML file with what jobs ask for, or one that ships: cpu (default on SLURM), gpu, local.
        dry_run: Print jobs, units and estimated hours, and submit nothing.
        retry_failed: Do failed units once more too.
    """
    from nnbench.slurm import dispatch
    from nnbench.slurm.cluster import USUAL_ARRAY, longest_array
    from nnbench.slurm.profile import load_profile
    from nnbench.slurm.records import SweepError
    from nnbench.slurm.status import describe_status
    from nnbench.slurm.sweep import Sweep

    opened = Sweep.open(plan)
    chosen = cluster if dry_run and cluster else dispatch.choose_cluster(cluster)
    resources = load_profile(("cpu" if chosen == "slurm" else "local") if profile is None else profile)
    units = dispatch.to_do(opened, retry_failed=retry_failed)
    longest = longest_array() if chosen == "slurm" else USUAL_ARRAY
    arrays, problems = dispatch.pack(units, resources, longest), dispatch.check(opened, units)
    print("\n".join(dispatch.describe(arrays, chosen, resources.parallel)) if units else "nothing to do")
    if dry_run:
        print("".join(f"not yet: {problem}\n" for problem in problems), end="")
        return
    if problems:
        *others, last = problems
        for problem in others:
            print(f"nnbench: {problem}", file=sys.stderr)
        raise SweepError(last)
    for line in dispatch.submit(opened, arrays, resources, chosen):
        print(line, flush=True)
    print("\n".join(describe_status(opened)))
    if chosen != "slurm" and (left := dispatch.to_do(opened, retry_failed=True)):
        raise SweepError(f"{len(left)} units are not done; the same command does them, with --retry-failed the failed")


def status(
    plan: Annotated[Path | None, tyro.conf.Positional] = None, results: Path = RESULTS, json: bool = False
) -> None:
    """What is done, running, failed and missing of a sweep; without a plan, what a folder of results holds.

    Args:
        plan: The plan file.
        results: Folder that `nnbench run` wrote to.
        json: Print the states as JSON.
    """
    if plan is None:
        _print_folder(results, json)
        return
    from nnbench.slurm.status import describe_status, states_of
    from nnbench.slurm.sweep import Sweep

    opened = Sweep.open(plan)
    if json:
        print_json(states_of(opened))
    else:
        print("\n".join(describe_status(opened)))


def _print_folder(results: Path, json: bool) -> None:
    from collections import Counter

    from nnbench.protocol import Unit

    store = opened_store(results)
    units = [Unit.from_fields(manifest["unit"]) for manifest in store.manifests()]
    finished = Counter((unit.protocol.short, unit.task, unit.method, unit.generator_seed) for unit in units)
    if json:
        names = ("protocol", "task", "method", "generator_seed", "units")
        rows = [dict(zip(names, (*group, count), strict=True)) for group, count in sorted(finished.items())]
        print_json({"finished": rows, "under_way": store.unfinished()})
        return
    for (protocol, task, method, seed), count in sorted(finished.items()):
        print(f"finished   protocol {protocol}  {task}  {method} s{seed}: {count} architectures")
    for key, episodes in store.unfinished().items():
        print(f"under way  {key}: {episodes} episodes kept")
