"""The verbs about order and load: barriers, the clock, rate limits, statuses in turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from fakeregistry.faults import Fault, order, rate

from .conditions import HasId


class OrderVerbs(ABC):
    """When a rule's answers come, and how many; each method adds one fault and returns the rule."""

    @abstractmethod
    def add(self, *faults: Fault) -> Self:
        """Add faults; they act in the order in which they were added."""

    def wait_for(self, rule: HasId | str, seconds: float | None = None) -> Self:
        """Hold the answer until another rule has fired, at most `seconds`; None: for ever."""
        return self.add(order.WaitFor(_name(rule), seconds))

    def advance_clock(self, seconds: float) -> Self:
        """Set the registry's clock forward when the rule fires."""
        return self.add(order.AdvanceClock(seconds))

    def rate(
        self,
        requests: int,
        window: float,
        key: str = "registry",
        status: int = 429,
        retry_after: int | str | None = "seconds",
        *,
        headers: bool = False,
    ) -> Self:
        """Allow so many requests in any window of seconds on the registry's clock, else refuse."""
        return self.add(rate.Rate(requests, window, key, status, retry_after, headers))

    def statuses(self, codes: Sequence[int]) -> Self:
        """Answer one status after the other; 200 is the honest answer."""
        return self.add(rate.Statuses(tuple(codes)))

    def release(self, rule: HasId | str) -> Self:
        """Let go what another rule holds, when this one fires."""
        return self.add(order.Release(_name(rule)))


def _name(rule: HasId | str) -> str:
    return rule if isinstance(rule, str) else rule.id
