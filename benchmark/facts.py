"""What is known of a method without importing it: tables need these facts, and must not need torch."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["generator", "baseline", "source"]
Reading = Literal["weights", "states", "expert", "hypernetworks"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The class attributes of a `Method` that tables, figures and findings use."""

    name: str
    role: Role = "generator"
    """`generator` learns to write networks; `baseline` learns nothing; `source` is what wrote the zoo."""
    variant_of: tuple[str, str] | None = None
    """The method that this one is made of, and what was changed, in words."""
    reads: tuple[Reading, ...] = ("weights",)
    """What of the zoo it may use."""
    reference: str | None = None
    """The publication that describes it."""
    seen_only: bool = False
    """True if it writes only architectures that it was trained on."""
