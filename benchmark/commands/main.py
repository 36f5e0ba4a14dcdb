"""The command `nnbench`. Nothing heavy is imported before a command needs it."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence

import tyro

from nnbench.commands import experts, films, machine, methods, runs, stores, sweeps, tables, zoos
from nnbench.commands.terminal import print_anything
from nnbench.commands.usage import later, parse
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
        "generate": methods.generate,
        "check": methods.check,
        "methods": methods.methods,
        "tracks": methods.tracks,
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
        _group.command(name=_name)(later(_function))
_app.command(_expert, name="expert", help="The PPO expert that a zoo is distilled from.")
_app.command(_zoo, name="zoo", help="The policies that generators learn from.")
_app.command(_bench, name="bench", help="How fast this machine is.")

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class _ToldToEnd(KeyboardInterrupt):
    """SIGTERM, which batch systems send before they kill."""


def _end(number: int, frame: object) -> None:
    raise _ToldToEnd


def main(arguments: Sequence[str] | None = None) -> None:
    """Console script; without `arguments` those of the process.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 nobody reads the output, 143 told to end.
    """
    print_anything()
    try:
        signal.signal(signal.SIGTERM, _end)
        parse(_app, "nnbench", "Do weight generators write robot policies that work?", arguments)()
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        told = isinstance(error, _ToldToEnd)
        _say(f"{'told to end' if told else 'interrupted'}; the same command goes on from what is stored")
        sys.exit(143 if told else 130)
    except BrokenPipeError:
        _drop_output()
        sys.exit(141)
    except NnbenchError as error:
        _say(str(error))
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            _say(f"{error.filename}: {error.strerror}; check that the path is right and that you may use it")
        elif error.errno in _CANNOT_WRITE:
            _drop_output()
            _say(f"the output cannot be written ({error.strerror}); free some space or send it somewhere else")
        else:
            _report_bug()
            raise
        sys.exit(1)
    except Exception:
        _report_bug()
        raise


def _say(message: str) -> None:
    """One line on stderr, also of a message with a file name that has a line break."""
    print("nnbench:", *message.splitlines(), file=sys.stderr)


def _report_bug() -> None:
    _say("this is a bug of nnbench or of a method; please report it with what follows")


def _drop_output() -> None:
    """What Python still holds of the output goes nowhere, so that it does not fail once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
