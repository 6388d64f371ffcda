"""Faults of load: rate limits by the registry's clock, and statuses that come in turn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from fakeregistry.messages import with_header
from fakeregistry.script import Script

from .base import Faults, Setting, at_least, one_of, single_line
from .status import Status, http_date

KEYS = ("registry", "client", "user", "kind")


@dataclass(frozen=True)
class Rate:
    """Allow so many `requests` in any `window` of seconds on the registry's clock, else answer 429.

    What is refused costs nothing. `key` says who shares an account: everybody at the "registry",
    each "client" (address and User-Agent), each "user", or each "kind" of request. `retry_after`
    is the truth in "seconds" or as "date", another text or number as it stands, or None. `headers`
    adds RateLimit-Limit and RateLimit-Remaining to every answer, on which the rule then fires.
    """

    requests: int
    window: float
    key: str = "registry"
    status: int = 429
    retry_after: int | str | None = "seconds"
    headers: bool = False

    decides: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least("rate requests", self.requests, 0)
        if not self.window > 0:
            raise ValueError(f"rate window is {self.window}: it must be more than 0 seconds")
        one_of("rate key", self.key, KEYS)
        single_line("rate retry_after", str(self.retry_after))
        Status(self.status)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse, where the account is empty."""
        account = self._account(setting)
        wait = setting.spend(account, self.requests, self.window)
        if wait > 0:
            refusal = Status(self.status, retry_after=self._retry_after(wait))
            script = refusal.edit(script, setting)
        if not self.headers:
            return script
        left = setting.left(account, self.requests, self.window)
        headers = script.headers
        for name, value in (("Limit", self.requests), ("Remaining", left)):
            headers = with_header(headers, f"RateLimit-{name}", f"{value};w={self.window:g}")
        return replace(script, headers=headers)

    def _account(self, setting: Setting) -> str:
        match self.key:
            case "client":
                return setting.asked.client
            case "user":
                return setting.asked.subject() or ""
            case "kind":
                return setting.facts.kind
        return ""

    def _retry_after(self, wait: float) -> int | str | None:
        match self.retry_after:
            case "seconds":
                return math.ceil(wait)
            case "date":
                return http_date(wait)
            case "none":
                return None
        return self.retry_after


@dataclass(frozen=True)
class Statuses:
    """Answer one status after the other, one for each counted request; 200 is the honest answer.

    After the last one the rule has nothing more to bite on.
    """

    codes: tuple[int, ...]

    decides: ClassVar[bool] = True
    numbered: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", tuple(self.codes))
        at_least("statuses: their number", len(self.codes), 1)
        for code in self.codes:
            Status(code)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say whose turn it is."""
        if setting.count > len(self.codes):
            return script
        code = self.codes[setting.count - 1]
        # A copy of the honest answer: its turn counts as well.
        return replace(script) if code == 200 else Status(code).edit(script, setting)


FAULTS: Faults = {
    "rate": Rate,
    "statuses": Statuses,
}
