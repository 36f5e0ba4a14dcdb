"""Wrong arguments as one line: tyro draws boxes, of any width and with any number of lines."""

import contextlib
import functools
import io
import re
import sys
from collections.abc import Callable, Sequence

import tyro

_FRAME = re.compile(r"[\u2500-\u257f]+|--{9,}|^[|+]|[|+]$")
"""What boxes are drawn with, on terminals of ASCII too."""
_EXPECTED = (
    (r"invalid literal for int\(\) with base 10: ('.*?')", "a whole number"),
    (r"could not convert string to float: ('.*?')", "a number"),
)
"""What Python says of text that is no number, and what that means."""


def later(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The same command for tyro, which only returns what is to be called: parsing ends before the work begins."""

    @functools.wraps(command)
    def parsed(*arguments: object, **options: object) -> Callable[[], None]:
        return functools.partial(command, *arguments, **options)

    return parsed


def parse(
    app: tyro.extras.SubcommandApp, name: str, description: str, arguments: Sequence[str] | None
) -> Callable[[], None]:
    """The command that the arguments ask for. Exits with 2, and one line on stderr, where they are wrong."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            found: Callable[[], None] = app.cli(prog=name, description=description, args=arguments)
    except SystemExit as error:
        if error.code:
            print(f"{name}: {_one_line(printed.getvalue())}", file=sys.stderr)
        raise
    print(printed.getvalue(), end="", file=sys.stderr)
    return found


def _one_line(box: str) -> str:
    """The words of a box without its frame and its title, which says less than they do."""
    rows = [" ".join(_FRAME.sub(" ", line).split()) for line in box.splitlines()]
    if len(rows) < 3:
        return " ".join(rows)
    body, _, remedy = "\n".join(rows[1:-1]).partition("For full helptext, ")
    body = " ".join("\n".join(row or ";" for row in body.partition("Argument helptext")[0].split("\n")).split())
    for wrong, expected in _EXPECTED:
        if found := re.search(rf"Error parsing (\S+):.*{wrong}", body):
            body = f"{found[1]} {found[2]}: expected {expected}"
    help_command = " ".join(remedy.split()).removeprefix("run:").removeprefix("run").removeprefix("see").strip()
    return f"{body.replace(' ;', ';').strip(' ;.')}; `{help_command}` explains"
