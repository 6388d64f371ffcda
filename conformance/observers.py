"""Rules as case authors hold them: real in the lying world, mere observers in the honest one.

In a neighbour a fault must not act, and the case's function must run as far as it can. So each
verb of a fault does nothing there, waiting returns at once, and counting goes on.
"""

from __future__ import annotations

from typing import Any

from fakeregistry import FAULTS, Rule

__all__ = ["LyingRule", "Observer"]

_HONEST_WAIT = 0.5
"""Seconds that an honest world waits for a request: what doesn't come soon never will."""


class Observer:
    """A rule without its faults: it matches, counts and fires, and changes no answer.

    The verbs return the observer, so that a case reads the same in both worlds.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def __getattr__(self, name: str) -> Any:
        if name in FAULTS or name == "add":
            return self._unchanged
        attribute = getattr(self._rule, name)
        if not callable(attribute):
            return attribute

        def delegate(*arguments: Any, **keywords: Any) -> Any:
            answer = attribute(*arguments, **keywords)
            return self if answer is self._rule else answer

        return delegate

    @property
    def real(self) -> Rule:
        """The rule that counts."""
        return self._rule

    def _unchanged(self, *_: Any, **__: Any) -> Observer:
        return self

    def wait_fired(self, timeout: float = 10.0, count: int = 1) -> bool:
        """Whether it has fired, with little patience."""
        return self._rule.wait_fired(min(timeout, _HONEST_WAIT), count)

    def wait_holding(self, timeout: float = 10.0, count: int = 1) -> bool:
        """False: nothing is ever held in an honest world."""
        return False


LyingRule = Rule | Observer
"""What `registry.on` gives a case."""
