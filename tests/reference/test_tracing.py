"""Spans of a pull, with the SDK's own exporter; and none at all without OpenTelemetry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fakeregistry import Image, Registries, Registry, an_image, bearer, blob
from reference.config import AuthConfig, Config, Request
from reference.errors import NotFound
from reference.pull import Puller
from reference.tracing import span

AMD64 = "linux/amd64"
ATTRIBUTES = ("http.request.method", "url.full", "http.response.status_code")
SIGNED = "s1gned-and-secret"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    found = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return found


def spans(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [each for each in exporter.get_finished_spans() if each.name == name]


def blob_url(image: Image, layer: int) -> str:
    host, _, repository = image.name.partition("/")
    return f"http://{host}/v2/{repository}/blobs/{image.layers[layer].digest}"


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("tracing") as registries:
        yield registries.registry()


def test_a_pull_is_a_span_as_in_containerd(
    exporter: InMemorySpanExporter, registry: Registry, tmp_path: Path
) -> None:
    """MISC-06"""
    image = registry.add(an_image(1, platform=AMD64))
    Puller(Config(platform=AMD64), tmp_path).pull(Request(image.reference))
    (made,) = spans(exporter, "PullImage")
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
    (made,) = spans(exporter, "PullImage")
    assert not made.status.is_ok
    assert [event.name for event in made.events] == ["exception"]


def test_each_request_is_a_span_beneath_the_pull(
    exporter: InMemorySpanExporter, registry: Registry, tmp_path: Path
) -> None:
    """MISC-07: tokens, redirects and what other threads ask for too, and no secret in any.

    Named after the method, as OpenTelemetry's conventions have it, and not as in containerd.
    """
    registry.auth = bearer("me")
    image = registry.add(an_image(2, platform=AMD64))
    registry.on(blob(image.layers[1])).first(1).redirect(to=f"{blob_url(image, 1)}?key={SIGNED}")
    auth = AuthConfig(username="me", password=registry.auth.credentials.password)
    Puller(Config(platform=AMD64), tmp_path).pull(Request(image.reference, auth=auth))
    (pull,) = spans(exporter, "PullImage")
    made = [each for each in exporter.get_finished_spans() if each.kind is trace.SpanKind.CLIENT]
    assert len(made) == len(registry.journal)
    assert {each.parent and each.parent.span_id for each in made} == {pull.context.span_id}
    told = sorted(
        (each.name, *(dict(each.attributes or {}).get(key) for key in ATTRIBUTES)) for each in made
    )
    seen = sorted(
        (e.method, e.method, f"{registry.base_url}{e.path}", e.status) for e in registry.journal
    )
    assert told == seen
    statuses = [dict(each.attributes or {})["http.response.status_code"] for each in made]
    assert [each.status.is_ok for each in made if not each.status.is_unset] == [False] * sum(
        status >= 400 for status in statuses if isinstance(status, int)
    )
    everything = "".join(each.to_json() for each in exporter.get_finished_spans())
    for secret in (SIGNED, auth.password, "Bearer", "?"):
        assert secret not in everything


def test_a_request_ends_with_its_body_however_that_ends(
    exporter: InMemorySpanExporter, registry: Registry, tmp_path: Path
) -> None:
    image = registry.add(an_image(1, size=9000, platform=AMD64))
    registry.on(blob(image.layers[0])).first(1).reset_after(1000)
    Puller(Config(platform=AMD64), tmp_path).pull(Request(image.reference))
    made = [dict(each.attributes or {}) for each in spans(exporter, "GET")]
    (broken,) = [each for each in made if "error.type" in each]
    assert str(broken["url.full"]).endswith(image.layers[0].digest)
    assert (broken["http.response.status_code"], broken["error.type"]) == (200, "ReadError")


def quoting() -> None:
    try:
        raise ValueError(SIGNED)
    except ValueError as error:
        raise NotFound("no such image", status=404, host="h") from error


def test_words_of_other_libraries_dont_get_into_a_span(exporter: InMemorySpanExporter) -> None:
    """They may quote a header that isn't valid, and so a secret."""
    with pytest.raises(NotFound), span("PullImage"):
        quoting()
    with pytest.raises(ValueError, match=SIGNED), span("PullImage"):
        raise ValueError(SIGNED)
    made = exporter.get_finished_spans()
    assert [dict(each.events[0].attributes or {}) for each in made] == [
        {"exception.type": "NotFound", "exception.message": "no such image: h answered 404"},
        {"exception.type": "ValueError", "exception.message": "ValueError"},
    ]
    assert SIGNED not in "".join(each.to_json() for each in made)


def test_a_caller_may_name_the_trace(exporter: InMemorySpanExporter) -> None:
    with span("PullImage", {"traceparent": f"00-{TRACE}-{PARENT}-01"}):
        pass
    (made,) = exporter.get_finished_spans()
    assert made.parent is not None
    assert f"{made.parent.trace_id:032x} {made.parent.span_id:016x}" == f"{TRACE} {PARENT}"


def test_without_opentelemetry_nothing_is_missed() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from reference.tracing import RequestSpans, span\n"
        "with span('x', {}) as told: told.set_attribute('a', 'b'); told.add_event('c')\n"
        "made = RequestSpans().begin('GET', 'http://h'); made.answered(404); made.end(OSError())\n"
        "print(type(told).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "NoSpan\n"
