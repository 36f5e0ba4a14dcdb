"""What a terminal without Unicode shows: the nearest plain sign, and what has none spelt out."""

import codecs
import sys

_PLAIN = {"─": "-", "—": "-", "−": "-", "±": "+-", "≈": "=", "★": "*", "×": "x", "·": "-", "•": "*", "“": '"', "”": '"'}


def print_anything() -> None:
    """Let stdout and stderr take every text, whatever their encoding, also file names that are none."""
    codecs.register_error("nnbench.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's or a test's may be of another kind
            stream.reconfigure(errors="nnbench.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    spelt = (_PLAIN.get(sign, sign.encode("ascii", "backslashreplace").decode()) for sign in signs)
    return "".join(spelt), error.end
