"""Spans by OpenTelemetry, and none where its API isn't installed (the extra ``tracing``).

Who collects them says so from outside, as with any instrumented program: the SDK's environment
variables, or `opentelemetry-instrument refpull …`. What goes into a span may end up anywhere, so no
secret does: URLs go without their query, and of exceptions that aren't ours only the kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

from reference.errors import PullError, safe_url

_NAME = "pullproof.reference"


class Span(Protocol):
    """What is said of one pull."""

    def set_attribute(self, key: str, value: str) -> None:
        """Say what it is about."""
        ...

    def add_event(self, name: str) -> None:
        """Say what has happened by now."""
        ...


class NoSpan:
    """Says it to nobody."""

    def set_attribute(self, key: str, value: str) -> None:
        """Nothing."""

    def add_event(self, name: str) -> None:
        """Nothing."""


@cache
def _api() -> Any:
    try:
        import opentelemetry.context
        import opentelemetry.propagate
        import opentelemetry.trace
    except ImportError:
        return None
    return opentelemetry


@contextmanager
def span(name: str, carrier: Mapping[str, str] | None = None) -> Iterator[Span]:
    """A span for as long as the block lasts; an exception that leaves it is told in it.

    `carrier`: headers of a request that may name the span which this one belongs to
    (W3C `traceparent`).
    """
    api = _api()
    if api is None:
        yield NoSpan()
        return
    parent = api.propagate.extract(carrier) if carrier is not None else None
    with api.trace.get_tracer(_NAME).start_as_current_span(
        # The SDK's own words have the stack, and with it the messages of other libraries.
        name,
        parent,
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except Exception as error:
            kind = type(error).__name__
            told = str(error) if isinstance(error, PullError) else kind
            made.add_event("exception", {"exception.type": kind, "exception.message": told})
            made.set_status(api.trace.StatusCode.ERROR, told)
            raise


class RequestSpan:
    """One request, from its first byte to the last of its answer's body."""

    def __init__(self, made: Any = None) -> None:
        self._made = made

    def answered(self, status: int) -> None:
        """The answer began with this status."""
        if self._made is not None:
            self._made.set_attribute("http.response.status_code", status)
            if status >= 400:
                self._failed(str(status))

    def end(self, error: BaseException | None = None) -> None:
        """It is over, by this error if any; only the first time counts."""
        if self._made is not None:
            if error is not None:
                self._failed(type(error).__name__)
            self._made.end()
            self._made = None

    def _failed(self, kind: str) -> None:
        self._made.set_attribute("error.type", kind)
        self._made.set_status(_api().trace.StatusCode.ERROR)


class RequestSpans:
    """Spans of requests (OpenTelemetry's conventions for HTTP clients), whatever thread sends them.

    They belong to the span that is current where this is made.
    """

    def __init__(self) -> None:
        api = _api()
        self._parent = api.context.get_current() if api is not None else None

    def begin(self, method: str, url: str) -> RequestSpan:
        """A span that begins now."""
        api = _api()
        if api is None:
            return RequestSpan()
        return RequestSpan(
            api.trace.get_tracer(_NAME).start_span(
                method,
                self._parent,
                api.trace.SpanKind.CLIENT,
                {"http.request.method": method, "url.full": safe_url(url)},
            )
        )
