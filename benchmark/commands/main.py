"""The command `nnbench`. Nothing heavy is imported before a command needs it."""

import signal
import sys
from collections.abc import Callable

import tyro

from nnbench.commands import experts, films, machine, methods, runs, stores, sweeps, tables, zoos
from nnbench.errors import NnbenchError

_app, _expert, _zoo, _bench = (tyro.extras.SubcommandApp() for _ in range(4))
_COMMANDS: dict[tyro.extras.SubcommandApp, dict[str, Callable[..., None]]] = {
    _app: {
        "run": runs.run,
        "roundtrip": runs.roundtrip,
        "table": tables.table,
        "report": tables.report,
        "figure": tables.figure,
        "render": films.render,
        "train": methods.train,
        "check": methods.check,
        "methods": methods.methods,
        "sweep": sweeps.sweep,
        "status": sweeps.status,
        "merge": stores.merge,
        "publish": stores.publish,
        "verify": stores.verify,
        "rescore": stores.rescore,
        "doctor": machine.doctor,
    },
    _expert: {
        "train": experts.train,
        "score": experts.score,
        "observations": experts.observations,
        "render": experts.render,
    },
    _zoo: {
        "build": zoos.build,
        "verify": zoos.verify,
        "ls": zoos.list_architectures,
        "alignment": zoos.alignment,
    },
    _bench: {"sim": machine.bench_sim},
}
for _group, _members in _COMMANDS.items():
    for _name, _function in _members.items():
        _group.command(name=_name)(_function)
_app.command(_expert, name="expert", help="The PPO expert that a zoo is distilled from.")
_app.command(_zoo, name="zoo", help="The policies that generators learn from.")
_app.command(_bench, name="bench", help="How fast this machine is.")


class _ToldToEnd(KeyboardInterrupt):
    """SIGTERM, which batch systems send before they kill."""


def _end(number: int, frame: object) -> None:
    raise _ToldToEnd


def main() -> None:
    """Console script. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 told to end."""
    try:
        signal.signal(signal.SIGTERM, _end)
        _app.cli(prog="nnbench", description="Do weight generators write robot policies that work?")
    except KeyboardInterrupt as error:
        told = isinstance(error, _ToldToEnd)
        how = "told to end" if told else "interrupted"
        print(f"nnbench: {how}; the same command goes on from what is stored", file=sys.stderr)
        sys.exit(143 if told else 130)
    except NnbenchError as error:
        print(f"nnbench: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        print("nnbench: this is a bug of nnbench or of a method; please report it with what follows", file=sys.stderr)
        raise
