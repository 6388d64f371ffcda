"""What goes on at a registry around one request: for the conditions of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .targets import ConnectionTarget, Target

if TYPE_CHECKING:
    from fakeregistry.registry import Registry


class Surroundings:
    """One registry as conditions see it. Counted anew each time: few rules ask."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._journal = registry.journal
        self._topology = registry.topology

    def under_way(self, target: Target) -> int:
        """How many exchanges of a target are under way; of `connection()`: how many are open.

        An exchange is over as soon as its last bytes are handed out, so that a client who has them
        never meets itself.
        """
        name = self._registry.name
        if isinstance(target, ConnectionTarget):
            return sum(
                one.registry == name and one.closed is None for one in self._journal.connections
            )
        return len(
            self._journal.exchanges(
                target, registry=name, where=lambda one: one.ended == "open" and not one.leaving
            )
        )

    def sent(self) -> int:
        """How many body bytes were handed out since the journal began or was cleared."""
        return sum(one.due for one in self._journal.exchanges(registry=self._registry.name))

    def now(self) -> float:
        """Seconds on the topology's clock."""
        return self._topology.clock.now()

    def has_fired(self, rule: str) -> bool:
        """Whether a rule has fired; LookupError where none has this name or id."""
        found = self._topology.rule(rule)
        if found is None:
            raise LookupError(f"after_rule: no rule is named {rule!r}")
        return found.fired > 0


class Alone:
    """A registry where nothing has happened yet."""

    def under_way(self, target: Target) -> int:
        """The one exchange that is asked about."""
        return 1

    def sent(self) -> int:
        """Nothing."""
        return 0

    def now(self) -> float:
        """The beginning."""
        return 0.0

    def has_fired(self, rule: str) -> bool:
        """Nobody has."""
        return False
