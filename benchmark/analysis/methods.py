"""Which methods are compared with which, from their facts."""

from collections.abc import Iterable, Mapping

from nnbench.facts import Facts, Role


class Methods:
    """The facts of methods by name; a method of which nothing is known counts as a generator."""

    def __init__(self, facts: Mapping[str, Facts]) -> None:
        self._facts = dict(facts)

    def __getitem__(self, name: str) -> Facts:
        return self._facts.get(name) or Facts(name=name)

    @property
    def names(self) -> list[str]:
        """Of all methods that something is known of, sorted."""
        return sorted(self._facts)

    def of_role(self, role: Role, names: Iterable[str]) -> list[str]:
        """Those of the names that have this role, in their order."""
        return [name for name in names if self[name].role == role]

    def references(self, names: Iterable[str]) -> list[str]:
        """Those that wrote the zoo and answer for any architecture: what a generator might as well have asked."""
        return [name for name in self.of_role("source", names) if not self[name].seen_only]

    def untrained(self, names: Iterable[str]) -> list[str]:
        """The baselines that train nothing."""
        return [name for name in self.of_role("baseline", names) if not self[name].trains_each]

    def trainers(self, names: Iterable[str]) -> list[str]:
        """Those that train every network by itself."""
        return [name for name in names if self[name].trains_each]

    def variants(self) -> list[Facts]:
        """The methods that are made of another one, by name."""
        return [self._facts[name] for name in self.names if self._facts[name].variant_of is not None]
