"""Spans by OpenTelemetry, and none where its API isn't installed (the extra ``tracing``).

Who collects them says so from outside, as with any instrumented program: the SDK's environment
variables, or `opentelemetry-instrument refpull …`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

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


@contextmanager
def span(name: str, carrier: Mapping[str, str] | None = None) -> Iterator[Span]:
    """A span for as long as the block lasts; an exception that leaves it is recorded in it.

    `carrier`: headers of a request that may name the span which this one belongs to
    (W3C `traceparent`).
    """
    try:
        from opentelemetry import propagate, trace
    except ImportError:
        yield NoSpan()
        return
    parent = propagate.extract(carrier) if carrier is not None else None
    with trace.get_tracer(_NAME).start_as_current_span(name, parent) as made:
        yield made
