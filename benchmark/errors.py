"""The root of all errors that are meant for a user."""


class NnbenchError(Exception):
    """Says in one line what is wrong, where, what was expected and what to do about it.

    The command line prints it without a traceback. Any other exception that reaches a user is a bug of nnbench.
    """


class InputError(NnbenchError, ValueError):
    """An argument or option that cannot be."""
