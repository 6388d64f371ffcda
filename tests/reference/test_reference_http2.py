"""The reference by HTTP/2: what HTTP/2 alone can do, against a registry that does it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fakeregistry import Registries, Registry, a_layer, an_image, bearer, blob, connection, manifest
from fakeregistry.rules.targets import token
from reference.config import AuthConfig, Config, Request, TLSConfig
from reference.errors import Cancelled, IntegrityError, ProgressTimeout, PullError, TransportError
from reference.progress import Cancellation
from reference.pull import Puller

IMAGE = an_image([a_layer(size=200_000 + number) for number in range(3)], platform="linux/amd64")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registries("h2") as registries:
        origin = registries.registry()
        origin.tls, origin.http2 = registries.certificates.valid(), True
        yield origin


@pytest.fixture
def config(registry: Registry, tmp_path: Path) -> Config:
    ca = registry.topology.certificates.ca_file(tmp_path)
    return Config(
        http2=True,
        platform="linux/amd64",
        trust_env=False,
        tls=TLSConfig(ca_file=ca),
        progress_timeout=1.0,
        progress_interval_floor=0.1,
    )


def pull(registry: Registry, config: Config, tmp_path: Path, **auth: str) -> None:
    image = registry.add(IMAGE)
    given = AuthConfig(**auth) if auth else None
    pulled = Puller(config, tmp_path / "root").pull(Request(image.reference, auth=given))
    assert pulled.digest == IMAGE.digest


def spoken(registry: Registry) -> set[str | None]:
    return {one.connection.alpn for one in registry.journal}


def test_a_pull_by_http2(registry: Registry, config: Config, tmp_path: Path) -> None:
    pull(registry, config, tmp_path)
    assert spoken(registry) == {"h2"}
    # As many as there are downloads at a time, used again and again.
    assert len(registry.journal.connections) <= 3


def test_http_1_1_is_the_default(registry: Registry, config: Config, tmp_path: Path) -> None:
    pull(registry, replace(config, http2=False), tmp_path)
    assert spoken(registry) == {"http/1.1"}


def test_who_offers_no_http2_is_asked_by_http_1_1(registry, config, tmp_path: Path) -> None:
    registry.http2 = False
    pull(registry, config, tmp_path)
    assert spoken(registry) == {"http/1.1"}


def test_tokens_come_by_http2_too(registry: Registry, config: Config, tmp_path: Path) -> None:
    registry.auth = bearer("user")
    given = registry.auth.credentials
    pull(registry, config, tmp_path, username=given.username, password=given.password)
    assert spoken(registry) == {"h2"}
    assert registry.requests(token())


@pytest.mark.parametrize(
    "code", ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "REFUSED_STREAM", "CANCEL"]
)
def test_a_reset_stream_is_resumed(registry, config, tmp_path: Path, code: str) -> None:
    cut = registry.on(blob(IMAGE.layers[1]), method="GET").once().rst_stream(code, after=80_000)
    pull(registry, config, tmp_path)
    _, again = registry.requests(blob(IMAGE.layers[1]), method="GET")

    assert cut.fired == 1
    assert again.status == 206
    assert again.header("range") == "bytes=80000-"


@pytest.mark.parametrize("last_id", ["current", "none"])
def test_a_goaway_in_a_body_is_resumed(registry, config, tmp_path: Path, last_id: str) -> None:
    rule = registry.on(blob(IMAGE.layers[1]), method="GET").once()
    rule.goaway(after=80_000, last_id=last_id)
    pull(registry, config, tmp_path)
    assert rule.fired == 1


def test_what_a_graceful_goaway_took_is_not_asked_again(registry, config, tmp_path) -> None:
    rule = registry.on(blob(IMAGE.layers[1]), method="GET").goaway(after=80_000, then="finish")
    pull(registry, config, tmp_path)
    (once,) = registry.requests(blob(IMAGE.layers[1]), method="GET")

    assert rule.fired == 1
    assert once.ended == "complete"


def test_a_connection_that_took_its_last_request_is_used_no_more(
    registry, config, tmp_path
) -> None:
    rule = registry.on(manifest()).goaway(then="stay")
    pull(registry, config, tmp_path)

    assert rule.fired
    assert not [one for one in registry.journal if one.ended == "goaway"]


@pytest.mark.parametrize("then", ["close", "finish"])
def test_a_goaway_in_place_of_an_answer_is_asked_again(registry, config, tmp_path, then) -> None:
    rule = registry.on(manifest(), method="GET").once().goaway(last_id="none", then=then)
    pull(registry, config, tmp_path)
    assert rule.fired == 1


def test_a_connection_that_went_away_while_idle_is_not_asked(registry, config, tmp_path) -> None:
    rule = registry.on(connection()).max_requests_per_connection(1)
    pull(registry, config, tmp_path)
    assert rule.fired == len(registry.journal)


def test_a_refused_stream_is_asked_again(registry, config, tmp_path: Path) -> None:
    rule = registry.on(blob(IMAGE.layers[1]), method="GET").first(2).refused_stream()
    pull(registry, config, tmp_path)
    assert rule.fired == 2


def test_a_stream_that_is_always_refused_ends_the_pull(registry, config, tmp_path) -> None:
    registry.on(blob(IMAGE.layers[1]), method="GET").refused_stream()
    with pytest.raises(TransportError, match=r"reset the stream \(REFUSED_STREAM\)"):
        pull(registry, config, tmp_path)
    assert len(registry.requests(blob(IMAGE.layers[1]), method="GET")) <= 6


@pytest.mark.parametrize("how", ["rst_stream", "goaway"])
def test_http_1_1_is_spoken_where_it_is_required(registry, config, tmp_path, how: str) -> None:
    registry.on(manifest(), alpn="h2").http_1_1_required(how)
    pull(registry, config, tmp_path)
    assert spoken(registry) == {"h2", "http/1.1"}
    assert {one.connection.alpn for one in registry.requests(blob())} == {"http/1.1"}


def test_a_short_body_is_never_taken(registry: Registry, config: Config, tmp_path: Path) -> None:
    registry.on(blob(IMAGE.layers[1]), method="GET").truncate_after(0)
    with pytest.raises(PullError):
        pull(registry, replace(config, resume_budget=5), tmp_path)


def test_a_short_body_is_resumed(registry: Registry, config: Config, tmp_path: Path) -> None:
    rule = registry.on(blob(IMAGE.layers[1]), method="GET").once().truncate_after(80_000)
    pull(registry, config, tmp_path)
    assert rule.fired == 1


def test_a_body_without_a_length_ends_by_itself(registry, config, tmp_path: Path) -> None:
    registry.on(blob(), method="GET").no_content_length()
    pull(registry, config, tmp_path)
    assert spoken(registry) == {"h2"}


def test_a_wrong_byte_is_found(registry: Registry, config: Config, tmp_path: Path) -> None:
    registry.on(blob(IMAGE.layers[1])).flip_byte(-40)
    with pytest.raises(IntegrityError):
        pull(registry, config, tmp_path)


@pytest.mark.parametrize("whole", [False, True])
def test_a_zero_window_is_a_stall(registry, config, tmp_path: Path, whole: bool) -> None:
    registry.on(blob(IMAGE.layers[1])).zero_window(80_000, whole_connection=whole)
    with pytest.raises(ProgressTimeout):
        pull(registry, config, tmp_path)


def test_silence_before_the_head_is_given_up(registry, config, tmp_path: Path) -> None:
    registry.on(blob(IMAGE.layers[1])).delay_headers()
    with pytest.raises(ProgressTimeout):
        pull(registry, config, tmp_path)


def test_a_token_request_that_finds_no_window_is_given_up(registry, config, tmp_path) -> None:
    registry.auth = bearer("user")
    given = registry.auth.credentials
    registry.on(connection()).zero_request_window()
    with pytest.raises(PullError):
        pull(registry, config, tmp_path, username=given.username, password=given.password)


def test_a_cancelled_pull_ends_at_once(registry, config, tmp_path: Path) -> None:
    stall = registry.on(blob(IMAGE.layers[1])).stall_after(80_000)
    image = registry.add(IMAGE)
    cancellation = Cancellation()
    puller = Puller(replace(config, progress_timeout=60), tmp_path / "root")
    ended: list[BaseException] = []

    def run() -> None:
        with contextlib.suppress(Cancelled):
            puller.pull(Request(image.reference), cancellation=cancellation)
            return
        ended.append(Cancelled("as it should be"))

    thread = threading.Thread(target=run)
    thread.start()
    assert stall.wait_holding()
    cancellation.cancel()
    thread.join(5)

    assert not thread.is_alive()
    assert len(ended) == 1


def test_few_streams_are_enough(registry: Registry, config: Config, tmp_path: Path) -> None:
    registry.max_concurrent_streams = 1
    pull(registry, config, tmp_path)
    assert not [one for one in registry.journal if one.ended == "rst_stream"]


def test_a_redirect_leaves_credentials_behind(registry, config, tmp_path: Path) -> None:
    cdn = registry.topology.registry("cdn")
    cdn.tls, cdn.http2 = registry.topology.certificates.valid(), True
    registry.auth = bearer("user")
    given = registry.auth.credentials
    registry.on(blob(), method="GET").redirect(to=cdn)
    pull(registry, config, tmp_path, username=given.username, password=given.password)

    assert cdn.requests()
    assert {one.connection.alpn for one in cdn.requests()} == {"h2"}
    assert not [one for one in cdn.requests() if one.header("authorization")]
