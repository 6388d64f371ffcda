"""Rules: when → what. A target and conditions say when, a window how often, faults say what.

    registry.on(blob(layer), range=True).first(2).reset_after(64 * 1024)

A window counts the requests on which the rule's faults have something to bite: a HEAD never uses up
the window of a fault on the body.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from . import faults as f
from .gate import Gate
from .messages import Buffer, Facts, Request
from .script import Script
from .targets import HasDigest, Target

if TYPE_CHECKING:
    from .registry import Registry

HeaderCondition = str | bool | Callable[[str], bool]
"""True: present; False: absent; a text: equal; a function: its judgement of the value."""


@dataclass(frozen=True)
class When:
    """The conditions of a rule beside its target; None asks nothing."""

    method: str | None = None
    range: bool | None = None
    authorized: bool | None = None
    header: Mapping[str, HeaderCondition] = field(default_factory=dict)
    query: Mapping[str, HeaderCondition] = field(default_factory=dict)

    def accepts(
        self, method: str, header: Callable[[str], str | None], query: Mapping[str, str]
    ) -> bool:
        """Whether a request is meant, given its method, a look-up of its headers, its query."""
        if self.method is not None and method != self.method.upper():
            return False
        if self.range is not None and (header("range") is not None) != self.range:
            return False
        given = header("authorization") is not None
        if self.authorized is not None and given != self.authorized:
            return False
        return all(_holds(want, header(name)) for name, want in self.header.items()) and all(
            _holds(want, query.get(name)) for name, want in self.query.items()
        )

    @property
    def words(self) -> str:
        """The conditions as a person says them, or nothing."""
        said = [self.method or ""]
        if self.range is not None:
            said.append("with range" if self.range else "without range")
        if self.authorized is not None:
            said.append("with authorization" if self.authorized else "without authorization")
        said += [f"with header {name}" for name in self.header]
        said += [f"with query {name}" for name in self.query]
        return " ".join(word for word in said if word)


def _holds(want: HeaderCondition, value: str | None) -> bool:
    if isinstance(want, bool):
        return (value is not None) == want
    if value is None:
        return False
    return value == want if isinstance(want, str) else want(value)


@dataclass(frozen=True)
class Window:
    """Which of the counted requests (from 1) a rule fires on."""

    words: str = "always"
    start: int = 1
    stop: int | None = None
    step: int = 1

    def holds(self, count: int) -> bool:
        """Whether the rule fires on the request with this number."""
        if count < self.start or (self.stop is not None and count > self.stop):
            return False
        return (count - self.start) % self.step == 0


class Rule:
    """One rule of a registry, and the handle on it: every method but the queries returns itself."""

    def __init__(self, target: Target, when: When, number: int = 1, owner: str = "") -> None:
        self.target = target
        self.when = when
        self.id = f"{owner}#{number}" if owner else f"#{number}"
        self.faults: tuple[f.Fault, ...] = ()
        self.window = Window()
        self.required = True
        self.gate = Gate()
        self._changed = threading.Condition()
        self._scope = ""
        self._counts: Counter[str] = Counter()
        self._fired = 0

    def __repr__(self) -> str:
        return f"<Rule {self.id} {self.words}; fired {self._fired}>"

    @property
    def words(self) -> str:
        """The rule as a person says it: `blob sha256:… GET, first 2: reset_after(65536)`."""
        when = f"{self.target.words} {self.when.words}".strip()
        what = ", ".join(f.name_of(fault) for fault in self.faults) or "observe"
        return f"{when}, {self.window.words}: {what}"

    # windows

    def _windowed(self, window: Window) -> Rule:
        self.window = window
        return self

    def always(self) -> Rule:
        """Fire on every request (the default)."""
        return self._windowed(Window())

    def first(self, n: int = 1) -> Rule:
        """Fire on the first `n` requests."""
        return self._windowed(Window(f"first {n}", stop=n))

    def nth(self, n: int) -> Rule:
        """Fire on the request number `n`, counted from 1."""
        return self._windowed(Window(f"number {n}", start=n, stop=n))

    def after(self, n: int) -> Rule:
        """Fire on every request but the first `n`."""
        return self._windowed(Window(f"after {n}", start=n + 1))

    def every(self, n: int) -> Rule:
        """Fire on the requests number n, 2n, 3n …"""
        if n < 1:
            raise ValueError(f"every {n}: it must be at least 1")
        return self._windowed(Window(f"every {n}", start=n, step=n))

    def per(self, scope: str) -> Rule:
        """Count per "rule" (the default), "digest", or "method"."""
        if scope not in ("rule", "digest", "method"):
            raise ValueError(f"per {scope!r}: rule, digest or method")
        self._scope = "" if scope == "rule" else scope
        return self

    def bait(self) -> Rule:
        """Say that the rule need not fire: a puller may avoid it."""
        self.required = False
        return self

    def observe(self) -> Rule:
        """Say that the rule has no fault and yet must fire."""
        self.required = True
        return self

    def add(self, *faults: f.Fault) -> Rule:
        """Add faults; they edit the answer in the order in which they were added."""
        self.faults = (*self.faults, *faults)
        return self

    # queries and control

    @property
    def fired(self) -> int:
        """How often the rule has fired."""
        return self._fired

    def release(self) -> Rule:
        """End every wait of this rule, now and from now on."""
        self.gate.release()
        return self

    def wait_fired(self, timeout: float = 10.0, count: int = 1) -> bool:
        """Wait until the rule has fired `count` times; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._fired >= count, timeout)

    def wait_holding(self, timeout: float = 10.0, count: int = 1) -> bool:
        """Wait until `count` answers stand still by this rule; False after `timeout` seconds."""
        return self.gate.wait_holding(count, timeout)

    def apply(
        self, script: Script, request: Request, facts: Facts, setting: f.Setting, *, honest: bool
    ) -> tuple[Script, bool]:
        """Edit a script where the rule fires; return it and whether it fired.

        In an honest world the rule counts and fires as ever, and changes nothing.
        """
        if not self.target.matches(facts):
            return script, False
        if not self.when.accepts(request.method, request.header, dict(reversed(request.query))):
            return script, False
        edited = script
        own = replace(setting, gate=self.gate)
        for fault in self.faults:
            edited = fault.edit(edited, own)
        if self.faults and edited is script:
            return script, False
        scope = {"digest": facts.digest or "", "method": request.method}.get(self._scope, "")
        with self._changed:
            self._counts[scope] += 1
            if not self.window.holds(self._counts[scope]):
                return script, False
            self._fired += 1
            self._changed.notify_all()
        return (script if honest else edited), True

    # faults, one method each

    def status(
        self, code: int, body: str | bytes | None = None, retry_after: int | str | None = None
    ) -> Rule:
        """Answer with a status and an OCI error body (or `body`)."""
        return self.add(f.Status(code, body, retry_after))

    def too_many_requests(self, retry_after: int | str | None = 1) -> Rule:
        """Answer 429 with Retry-After."""
        return self.add(f.TooManyRequests(retry_after))

    def header(self, name: str, value: str) -> Rule:
        """Set a header."""
        return self.add(f.Header(name, value))

    def drop_header(self, name: str) -> Rule:
        """Leave a header away."""
        return self.add(f.DropHeader(name))

    def digest_header(self, value: str | None) -> Rule:
        """Set Docker-Content-Digest; None drops it, "wrong" is a well-formed lie."""
        return self.add(f.DigestHeader(value))

    def content_type(self, value: str | None) -> Rule:
        """Set the Content-Type; None drops it."""
        return self.add(f.ContentType(value))

    def body(self, data: bytes | str, content_type: str | None = None) -> Rule:
        """Say these bytes instead, with a true length."""
        return self.add(f.Body(data, content_type))

    def swap(self, other: Buffer) -> Rule:
        """Serve another object's bytes under this object's name."""
        return self.add(f.Swap(other))

    def error_body(
        self,
        code: str = "UNKNOWN",
        message: str = "unknown error",
        detail: object = None,
        form: str = "oci",
    ) -> Rule:
        """Give an error answer another body: form oci, html, text, empty or huge."""
        return self.add(f.ErrorBody(code, message, detail, form))

    def append(self, n: int) -> Rule:
        """Send `n` bytes more than the object has."""
        return self.add(f.Append(n))

    def infinite_body(self, cap: int = 1 << 30) -> Rule:
        """Go on after the true body, up to `cap` bytes."""
        return self.add(f.InfiniteBody(cap))

    def flip_byte(self, offset: int) -> Rule:
        """Invert one byte of the object; a negative offset counts from its end."""
        return self.add(f.FlipByte(offset))

    def delay_headers(self, seconds: float | None = None) -> Rule:
        """Say nothing before the status line for `seconds`; None: until released."""
        return self.add(f.DelayHeaders(seconds))

    def stall_after(self, n: int, seconds: float | None = None) -> Rule:
        """Send `n` bytes of the body, then nothing for `seconds`; None: until released."""
        return self.add(f.StallAfter(n, seconds))

    def throttle(self, bytes_per_second: int) -> Rule:
        """Send the body at about this rate."""
        return self.add(f.Throttle(bytes_per_second))

    def drip(self, size: int = 1, every: float = 1.0) -> Rule:
        """Send `size` bytes, wait `every` seconds, and so on."""
        return self.add(f.Drip(size, every))

    def truncate_after(self, n: int, *, terminated: bool = False) -> Rule:
        """Promise the whole body, send `n` bytes, and close in good order."""
        return self.add(f.TruncateAfter(n, terminated))

    def close_after(self, n: int = 0) -> Rule:
        """Send `n` bytes of the body, then FIN alone."""
        return self.add(f.CloseAfter(n))

    def reset_after(self, n: int = 0) -> Rule:
        """Send `n` bytes of the body, then RST."""
        return self.add(f.ResetAfter(n))

    def reset_before_headers(self) -> Rule:
        """Read the request, then RST without a word."""
        return self.add(f.ResetBeforeHeaders())

    def wrong_content_length(self, delta: int) -> Rule:
        """State a length that is off by `delta`."""
        return self.add(f.WrongContentLength(delta))

    def no_content_length(self) -> Rule:
        """State no length: the end of the connection ends the body."""
        return self.add(f.NoContentLength())

    def chunked(self) -> Rule:
        """Send the body in chunks, without Content-Length."""
        return self.add(f.Chunked())

    def range_ignored(self) -> Rule:
        """Answer a Range request with 200 and the whole object."""
        return self.add(f.RangeIgnored())

    def range_status(self, code: int = 416) -> Rule:
        """Answer a Range request with this status."""
        return self.add(f.RangeStatus(code))

    def range_wrong_offset(self, delta: int, *, labelled: bool = True) -> Rule:
        """Answer a Range request with a part that begins `delta` bytes off."""
        return self.add(f.RangeWrongOffset(delta, labelled))

    def partial_no_content_range(self) -> Rule:
        """Answer 206 without Content-Range."""
        return self.add(f.PartialNoContentRange())

    def redirect(
        self, to: Registry | str | None = None, code: int = 307, path: str | None = None
    ) -> Rule:
        """Send the client to another registry (or a URL), which serves the very same object."""
        name = to if to is None or isinstance(to, str) else to.name
        return self.add(f.Redirect(name, code, path))


__all__ = ["HasDigest", "Rule", "When", "Window"]
