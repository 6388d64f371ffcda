"""Faults of the status: what the first line says."""

from __future__ import annotations

from dataclasses import dataclass

from fakeregistry.messages import ERROR_CODES, Headers, error_document
from fakeregistry.script import Script

from .base import Faults, Setting


@dataclass(frozen=True)
class Status:
    """Answer with this status and an OCI error body (or `body`), whatever would have been said."""

    code: int
    body: str | bytes | None = None
    retry_after: int | str | None = None

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 999:
            raise ValueError(f"status code {self.code}: it must lie between 200 and 999")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace status and body."""
        headers: Headers = ()
        if self.body is not None:
            body = self.body.encode() if isinstance(self.body, str) else self.body
            headers = (("Content-Type", "text/plain; charset=utf-8"),)
        elif self.code >= 400:
            body = error_document(*ERROR_CODES.get(self.code, ERROR_CODES[500]))
            headers = (("Content-Type", "application/json"),)
        else:
            body = b""
        if self.retry_after is not None:
            headers = (*headers, ("Retry-After", str(self.retry_after)))
        return script.with_reply(self.code, headers, body)


@dataclass(frozen=True)
class TooManyRequests:
    """Answer 429 with Retry-After (seconds, or raw text; None leaves it out)."""

    retry_after: int | str | None = 1

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the answer."""
        return Status(429, retry_after=self.retry_after).edit(script, setting)


FAULTS: Faults = {
    "status": Status,
    "too_many_requests": TooManyRequests,
}
