"""What is raised where results cannot be stored or must not be read."""

from nnbench.errors import NnbenchError

REMEDY_ARCHIVE = "fetch the archive again, or delete it"


class StoreError(NnbenchError, RuntimeError):
    """Results that cannot be written or must not be read. Names the file and the remedy."""


def remedy(name: str) -> str:
    """What to do about a damaged file of a unit."""
    return f"delete {name} and run the unit again"
