"""The command `nnbench`. Nothing heavy is imported before a command needs it."""

import sys

import tyro

from nnbench.commands import experts, films, machine, methods, runs, stores, sweeps, tables, zoos
from nnbench.errors import NnbenchError

_app, _expert, _zoo, _bench = (tyro.extras.SubcommandApp() for _ in range(4))

for _command in (
    runs.run,
    runs.roundtrip,
    tables.table,
    tables.report,
    tables.figure,
    films.render,
    methods.train,
    methods.check,
    methods.methods,
    sweeps.sweep,
    sweeps.status,
    stores.merge,
    stores.publish,
    stores.rescore,
    machine.doctor,
):
    _app.command(_command)
for _name, _command in {
    "train": experts.train,
    "score": experts.score,
    "observations": experts.observations,
    "render": experts.render,
}.items():
    _expert.command(_command, name=_name)
for _name, _command in {
    "build": zoos.build,
    "verify": zoos.verify,
    "ls": zoos.list_architectures,
    "alignment": zoos.alignment,
}.items():
    _zoo.command(_command, name=_name)
_bench.command(machine.bench_sim, name="sim")
_app.command(_expert, name="expert", help="The PPO expert that a zoo is distilled from.")
_app.command(_zoo, name="zoo", help="The policies that generators learn from.")
_app.command(_bench, name="bench", help="How fast this machine is.")


def main() -> None:
    """Console script. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        _app.cli(prog="nnbench", description="Do weight generators write robot policies that work?")
    except KeyboardInterrupt:
        print("nnbench: interrupted; the same command goes on from what is stored", file=sys.stderr)
        sys.exit(130)
    except NnbenchError as error:
        print(f"nnbench: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        print("nnbench: this is a bug of nnbench or of a method; please report it with what follows", file=sys.stderr)
        raise
