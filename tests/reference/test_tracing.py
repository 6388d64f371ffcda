"""Spans of a pull, with the SDK's own exporter; and none at all without OpenTelemetry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fakeregistry import Registries, Registry, an_image
from reference.config import Config, Request
from reference.errors import NotFound
from reference.pull import Puller
from reference.tracing import span

AMD64 = "linux/amd64"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    found = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return found


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("tracing") as registries:
        yield registries.registry()


def test_a_pull_is_a_span_as_in_containerd(
    exporter: InMemorySpanExporter, registry: Registry, tmp_path: Path
) -> None:
    """MISC-06; requests have no spans of their own (MISC-07)."""
    image = registry.add(an_image(1, platform=AMD64))
    Puller(Config(platform=AMD64), tmp_path).pull(Request(image.reference))
    (made,) = exporter.get_finished_spans()
    assert made.name == "PullImage"
    assert dict(made.attributes or {}) == {
        "image.ref": image.reference,
        "snapshotter.name": "native",
    }
    assert [event.name for event in made.events] == ["Pull and unpack image complete"]


def test_a_failed_pull_says_so_and_has_no_such_event(
    exporter: InMemorySpanExporter, registry: Registry, tmp_path: Path
) -> None:
    """MISC-06"""
    with pytest.raises(NotFound):
        Puller(Config(platform=AMD64), tmp_path).pull(Request(f"{registry.host}/none"))
    (made,) = exporter.get_finished_spans()
    assert not made.status.is_ok
    assert [event.name for event in made.events] == ["exception"]


def test_a_caller_may_name_the_trace(exporter: InMemorySpanExporter) -> None:
    with span("PullImage", {"traceparent": f"00-{TRACE}-{PARENT}-01"}):
        pass
    (made,) = exporter.get_finished_spans()
    assert made.parent is not None
    assert f"{made.parent.trace_id:032x} {made.parent.span_id:016x}" == f"{TRACE} {PARENT}"


def test_without_opentelemetry_nothing_is_missed() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from reference.tracing import span\n"
        "with span('x', {}) as told: told.set_attribute('a', 'b'); told.add_event('c')\n"
        "print(type(told).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "NoSpan\n"
