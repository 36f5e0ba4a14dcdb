"""nnbench: does a weight generator write robot policies that work, on architectures it never saw?

The Python API. Importing it is cheap; each name below loads what it needs when it is first used.

    import nnbench

    if __name__ == "__main__":            # a script needs this line, a notebook does not
        for outcome in nnbench.run("nearest", split="unseen"):
            print(outcome)
        rows = nnbench.load_results()     # a pandas data frame, one row per policy and episode
        print(nnbench.tables(["2"]))      # the paper's Table 2, measured beside reported
        for unit in nnbench.verify("published"):  # what `nnbench publish` wrote
            print(unit)
        policies = nnbench.generate("nnit", "32-16-64-32", 10)  # ten state dicts
"""

import importlib
from typing import TYPE_CHECKING, Any

if __name__ != "nnbench":
    raise ImportError("import nnbench (pip install -e .), not the folder 'benchmark'")

if TYPE_CHECKING:
    from nnbench.errors import NnbenchError
    from nnbench.facts import list_methods
    from nnbench.generating import generate
    from nnbench.measuring import check, roundtrip, run, train
    from nnbench.protocol import Protocol
    from nnbench.reading import load_results, report, tables
    from nnbench.verifying import verify
    from nnbench.zoos import open_zoo

__all__ = [
    "NnbenchError",
    "Protocol",
    "check",
    "generate",
    "list_methods",
    "load_results",
    "open_zoo",
    "report",
    "roundtrip",
    "run",
    "tables",
    "train",
    "verify",
]

_HOME = {
    "NnbenchError": "nnbench.errors",
    "Protocol": "nnbench.protocol",
    "check": "nnbench.measuring",
    "generate": "nnbench.generating",
    "list_methods": "nnbench.facts",
    "load_results": "nnbench.reading",
    "open_zoo": "nnbench.zoos",
    "report": "nnbench.reading",
    "roundtrip": "nnbench.measuring",
    "run": "nnbench.measuring",
    "tables": "nnbench.reading",
    "train": "nnbench.measuring",
    "verify": "nnbench.verifying",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nnbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
