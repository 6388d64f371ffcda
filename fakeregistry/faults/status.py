"""Faults of the status: what the first line says, and what comes before it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from email.utils import formatdate

from fakeregistry.messages import ERROR_CODES, Headers, error_document, without_header
from fakeregistry.script import End, Interim, Raw, Script

from .base import Faults, Setting, at_least, on_http2, single_line


def http_date(seconds: float) -> str:
    """Return the date in so many seconds, rounded up, as HTTP says it (RFC 9110, 5.6.7)."""
    return formatdate(math.ceil(time.time() + seconds), usegmt=True)


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
    """Answer 429 with Retry-After: so many seconds, or any text as it is; None leaves it out.

    `date` says the seconds as a date: the moment that lies so far ahead (RFC 9110, 10.2.3).
    """

    retry_after: int | str | None = 1
    date: bool = False

    def __post_init__(self) -> None:
        single_line("too_many_requests retry_after", str(self.retry_after))
        if self.date and not isinstance(self.retry_after, int):
            raise ValueError(
                f"too_many_requests: a date is seconds ahead, not {self.retry_after!r}"
            )

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the answer."""
        said = self.retry_after
        if self.date and isinstance(said, int):
            said = http_date(said)
        return Status(429, retry_after=said).edit(script, setting)


@dataclass(frozen=True)
class NotModified:
    """Answer 304 instead of the object, whether or not the client said that it has one.

    The honest registry does so only where If-None-Match names the object's ETag.
    """

    def edit(self, script: Script, setting: Setting) -> Script:
        """Keep the body back, and what describes it."""
        if script.status not in (200, 206):
            return script
        headers = without_header(script.headers, "Content-Type", "Content-Range", "Accept-Ranges")
        return replace(script.with_reply(304, headers, b""), content=script.content)


@dataclass(frozen=True)
class Informational:
    """Send an answer of 1xx so many `times` before the final one; 103 may carry a `link`.

    Any number of them may come (RFC 9110, 15.2); a client of HTTP/1.0 gets none.
    """

    code: int = 103
    times: int = 1
    link: str | None = None

    def __post_init__(self) -> None:
        if not 100 <= self.code <= 199 or self.code == 101:
            raise ValueError(f"informational code {self.code}: 100 to 199, and not 101")
        at_least("informational times", self.times, 1)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say something first."""
        if setting.request.version == "HTTP/1.0":
            return script
        headers: Headers = () if self.link is None else (("Link", self.link),)
        first = (Interim(self.code, headers),) * self.times
        return replace(script, before=(*script.before, *first))


@dataclass(frozen=True)
class Garbage:
    """Answer with this text, which is no HTTP, and close; without any, close without a word.

    HTTP/2 can't say it: nothing to bite on there.
    """

    text: str = ""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say it instead of everything else."""
        if on_http2(setting):
            return script
        said = (Raw(self.text.encode()),) if self.text else ()
        return replace(script, before=(*script.before, *said, End("fin")))


@dataclass(frozen=True)
class HttpVersion:
    """Say another version in the status line; an answer of HTTP/1.0 closes the connection.

    HTTP/2 has no such line: nothing to bite on there.
    """

    version: str = "1.0"

    def __post_init__(self) -> None:
        single_line("http_version", self.version)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Write another version."""
        if on_http2(setting):
            return script
        writing = replace(script.writing, version=f"HTTP/{self.version}")
        closes = self.version == "1.0" and script.end == "keep"
        return replace(script, writing=writing, end="close" if closes else script.end)


@dataclass(frozen=True)
class Reason:
    """Say another reason phrase after the status, or none (""). HTTP/2 has no phrases."""

    text: str = ""

    def __post_init__(self) -> None:
        single_line("reason", self.text)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Write another phrase."""
        if on_http2(setting):
            return script
        return replace(script, writing=replace(script.writing, reason=self.text))


FAULTS: Faults = {
    "status": Status,
    "too_many_requests": TooManyRequests,
    "not_modified": NotModified,
    "informational": Informational,
    "http_version": HttpVersion,
    "reason": Reason,
    "garbage": Garbage,
}
