"""`nnbench merge`, `publish`, `verify` and `rescore`: folders of results."""

import os
from pathlib import Path
from typing import Annotated

import tyro

from nnbench.commands.options import opened_store, print_json
from nnbench.folders import RESULTS, require_usable


def merge(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional], results: Path = RESULTS, json: bool = False
) -> None:
    """Copy the finished units of other folders into one. Refuses two different results of one unit.

    Args:
        folders: Where the units are.
        results: Where they go.
        json: Print the counts as JSON.
    """
    from nnbench.errors import InputError
    from nnbench.store.store import Store

    if not folders:
        raise InputError("no folder is named; name those that `nnbench run` wrote to")
    require_usable(results)
    stores = {folder: opened_store(folder, units=True) for folder in folders}
    counts = {}
    for folder, store in stores.items():
        if os.path.realpath(folder) == os.path.realpath(results):
            raise InputError(f"{folder}: is the folder that units are copied to; name another")
        new, known = Store(results).merge(store)
        counts[str(folder)] = {"new": new, "known": known}
        if not json:
            print(f"{folder}: {new} units copied, {known} were there already")
    if json:
        print_json(counts)


def publish(
    out: Annotated[Path, tyro.conf.Positional], results: Path = RESULTS, weights: bool = False, json: bool = False
) -> None:
    """Pack finished units into archives, one per method and task.

    Tables and reports read such a folder like any other. A unit that is in it already with another result is refused.

    Args:
        out: Folder for the archives.
        results: Folder that `nnbench run` wrote to.
        weights: Pack the weights of the tested networks too, so that `nnbench verify` can roll them out again.
        json: Print the counts as JSON.
    """
    require_usable(out)
    new, known = opened_store(results, units=True).publish(out, weights=weights)
    if json:
        print_json({"new": new, "known": known})
    else:
        print(f"{out}: {new} units published, {known} were there already")


def verify(
    archives: Annotated[tuple[Path, ...], tyro.conf.Positional],
    rollouts: int = 4,
    seed: int = 0,
    workers: int | None = None,
    json: bool = False,
) -> None:
    """Check published results, and roll some of their tested networks out again. Exit code 1 where anything is wrong.

    Args:
        archives: Archives that `nnbench publish` wrote, or folders of them; with `--weights` they can be rolled out.
        rollouts: How many networks are rolled out on their test episodes, 0 for none.
        seed: Of the choice of these networks.
        workers: Simulation processes, default one per core.
        json: Print what was found as JSON.
    """
    import nnbench
    from nnbench.harness.verification import VerificationError
    from nnbench.protocol import PROTOCOLS

    found = []
    for verified in nnbench.verify(archives, rollouts=rollouts, seed=seed, workers=workers):
        found.append(verified)
        if not json:
            print(verified, flush=True)
    units = [verified for verified in found if verified.protocol]
    networks = sum(len(verified.repeated) for verified in units)
    failed = sum(len(verified.failures) for verified in found)
    if json:
        print_json({"seed": seed, "verified": found})
    else:
        protocols = sorted({verified.protocol for verified in units})
        print(
            f"{len(units)} units of protocol {', '.join(protocols) or 'none'}; {networks} networks rolled out again, "
            f"chosen with seed {seed}; {failed} failures"
        )
        if unnamed := [protocol for protocol in protocols if protocol not in PROTOCOLS]:
            print(
                f"protocol {', '.join(unnamed)} has no name: only {' and '.join(PROTOCOLS)} can be compared with others"
            )
    if failed:
        raise VerificationError(f"{failed} failures, each printed above")


def rescore(results: Path = RESULTS, zoo: Path | None = None, track: tuple[Path, ...] = ()) -> None:
    """Compute the novelty of finished units anew from their stored weights, without simulating.

    Args:
        results: Folder that `nnbench run` wrote to.
        zoo: Folder of a zoo that `nnbench zoo build` wrote, default the one that ships.
        track: Files of tracks that units are of, beside those that ship.
    """
    from tqdm import tqdm

    from nnbench.errors import InputError
    from nnbench.harness import evaluation
    from nnbench.harness.novelty import Novelty
    from nnbench.protocol import Unit
    from nnbench.tasks.policies.tracks import load_track, shipped_tracks
    from nnbench.zoos import open_zoo

    store = opened_store(results, units=True)
    units = [Unit.from_fields(manifest["unit"]) for manifest in store.manifests()]
    known = {one.label: one.origin for one in [*shipped_tracks(), *(load_track(str(path)) for path in track)]}
    if unknown := sorted({unit.track for unit in units} - known.keys()):
        raise InputError(f"{results}: holds units of track {', '.join(unknown)}; name its file with --track")
    asked = {(unit.task, unit.track) for unit in units}
    novelties = {(task, label): Novelty(open_zoo(task, zoo, track=known[label])) for task, label in asked}
    for unit in tqdm(units, unit="unit", disable=None):
        evaluation.rescore(unit, novelties[unit.task, unit.track], store)
    print(f"{results}: {len(units)} units scored anew")
