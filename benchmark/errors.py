"""The root of all errors that are meant for a user."""


class NnbenchError(Exception):
    """Says in one line what is wrong, where, what was expected and what to do about it.

    The command line prints it without a traceback. Any other exception that reaches a user is a bug of nnbench.
    """


class InputError(NnbenchError, ValueError):
    """An argument or option that cannot be."""


def describe_error(error: BaseException) -> str:
    """Type and message of any exception in one line, also of one that cannot be printed."""
    try:
        text = " ".join(str(error).split())
    except BaseException as inner:
        text = f"(its message cannot be printed: {type(inner).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
