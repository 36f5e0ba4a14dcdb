"""A process in which a method's code runs. Whatever it does there ends in one `MethodError` and harms nobody else.

The process is asked to call functions of nnbench, one after the other; these call the method. Answers come back as
bytes, never as pickled objects.
"""

import multiprocessing
import os
import pickle
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Self

from nnbench.errors import NnbenchError, describe_error
from nnbench.tasks.simulation.workers import end_with_parent

_LOOK_S = 0.5
"""How often it is asked whether the process still lives: one that a grandchild outlives closes no pipe."""
_LEAVE_S = 2.0
"""So long a process may take to end by itself."""
_READY, _ANSWER, _FAULT = b"r", b"a", b"f"


class MethodError(NnbenchError, RuntimeError):
    """A method that broke the contract of `nnbench.api`. Says which, what it did and what to do about it."""


class ProcessError(NnbenchError, RuntimeError):
    """A process that cannot start, whatever the method."""


class MethodProcess:
    """One process; where a method ends it, the next call starts another. Use as a context.

    What the method prints goes to stderr.
    """

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def call(
        self, doing: str, function: Callable[..., bytes], *arguments: object, patience_s: float | None = None
    ) -> bytes:
        """What a function of a module returns in the process; `doing` says what the method is at, for errors.

        Raises MethodError where the method raises, ends its process, or takes longer than `patience_s`, and
        ProcessError where no process starts.
        """
        connection = self._start()
        with suppress(OSError):  # it has died meanwhile; `_receive` says how
            connection.send_bytes(pickle.dumps((function, arguments)))
        kind, content = self._receive(doing, patience_s)
        if kind == _FAULT:
            raise MethodError(content.decode())
        return content

    def stop(self) -> None:
        """End the process and those that the method started there."""
        process, self._process = self._process, None
        if process is None or process.pid is None:
            return
        if self._connection is not None:
            self._connection.close()  # one that waits for work ends by itself, and cleans up
        process.join(_LEAVE_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()  # before it has a group of its own
        process.join()

    def _start(self) -> Connection:
        if self._process is not None and not self._process.is_alive():
            self.stop()  # it was ended while idle: that is no fault of this call
        if self._process is None or self._connection is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=False)
            self._process.start()
            theirs.close()
            try:
                self._receive("", None)
            except MethodError as error:
                raise ProcessError(
                    "the process of the method cannot start (its own message is above); in a script, call nnbench "
                    'below `if __name__ == "__main__":`, for its processes run the script again'
                ) from error
        return self._connection

    def _receive(self, doing: str, patience_s: float | None) -> tuple[bytes, bytes]:
        assert self._process is not None and self._connection is not None
        until = time.monotonic() + patience_s if patience_s is not None else None
        while True:
            left = _LOOK_S if until is None else min(_LOOK_S, max(0.0, until - time.monotonic()))
            ready = wait([self._connection, self._process.sentinel], left)
            if self._connection in ready:
                with suppress(EOFError, OSError):
                    message = self._connection.recv_bytes()
                    return message[:1], message[1:]
            if ready or not self._process.is_alive():
                self._process.join(1)
                how = _how_it_ended(self._process.exitcode)
                self.stop()
                raise MethodError(f"{doing} ended its process, {how}; return or raise")
            if until is not None and time.monotonic() >= until:
                self.stop()
                raise MethodError(f"{doing} took more than {patience_s:g} s and was stopped")


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "which answers no more"
    if code < 0:
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _serve(connection: Connection) -> None:
    os.setpgid(0, 0)  # a group of its own: Ctrl-C is the harness's to answer, and all of the group end together
    end_with_parent()
    os.dup2(2, 1)  # tables and JSON of the harness must not be mixed with what a method prints
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nobody answers a method that asks
    message = _READY
    while True:
        try:
            connection.send_bytes(message)
            function, arguments = pickle.loads(connection.recv_bytes())  # from the harness, never from a file
        except (EOFError, OSError):  # the harness has ended
            return
        try:
            message = _ANSWER + function(*arguments)
        except NnbenchError as error:
            message = _FAULT + str(error).encode(errors="backslashreplace")
        except BaseException as error:  # of nnbench's own function around the method
            traceback.print_exc()
            message = _FAULT + describe_error(error).encode(errors="backslashreplace")
