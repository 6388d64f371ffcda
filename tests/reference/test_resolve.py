import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from scripted import HOST, MIRROR, ScriptedTransport, remote_at

from reference.config import AuthConfig, Config
from reference.descriptors import DOCKER_MANIFEST, OCI_MANIFEST, SCHEMA1_SIGNED, digest_of
from reference.errors import (
    AuthorizationFailed,
    InvalidDescriptor,
    ManifestError,
    NotFound,
    PullError,
    RegistryError,
    TransportError,
)
from reference.hosts import Host
from reference.names import Names
from reference.resolve import Resolved, Resolver

BODY = b'{"schemaVersion": 2}'
DIGEST = digest_of(BODY)
NAME = "registry.test/app/web:v1"
HEADERS = {"content-type": f"{OCI_MANIFEST}; charset=utf-8", "docker-content-digest": DIGEST}


def head(length: int | None = len(BODY), **changed: str | None) -> httpx.Response:
    headers = HEADERS | {name.replace("_", "-"): value for name, value in changed.items()}
    known = {name: value for name, value in headers.items() if value is not None}
    if length is not None:
        known["content-length"] = str(length)
    return httpx.Response(200, headers=known, stream=httpx.ByteStream(b""))


def get(**changed: str | None) -> httpx.Response:
    headers = HEADERS | {name.replace("_", "-"): value for name, value in changed.items()}
    known = {name: value for name, value in headers.items() if value is not None}
    return httpx.Response(200, headers=known, content=BODY)


def resolve(
    handler: Callable[[httpx.Request], httpx.Response],
    *hosts: Host,
    name: str = NAME,
    config: Config | None = None,
) -> tuple[Resolved, ScriptedTransport]:
    transport = ScriptedTransport(handler, config or Config(retry_attempts=1))
    parsed = Names().parse(name)
    resolver = Resolver(transport.config, remote_at(transport, name=name))
    return resolver.resolve(parsed, hosts or (HOST,)), transport


def test_a_tag_is_resolved_by_head() -> None:
    resolved, transport = resolve(lambda request: head())

    assert transport.lines == ["HEAD https://registry.test/v2/app/web/manifests/v1"]  # MAN-01
    assert (resolved.descriptor.digest, resolved.descriptor.size) == (DIGEST, len(BODY))
    assert resolved.descriptor.media_type == OCI_MANIFEST  # MAN-12
    accept = transport.asked[0].headers["accept"].split(", ")
    assert {DOCKER_MANIFEST, OCI_MANIFEST, "*/*"} <= set(accept)  # MAN-02


@pytest.mark.parametrize(
    "answer",
    [
        lambda: head(docker_content_digest=None),
        lambda: head(length=None),
        lambda: head(length=0),  # MAN-23
        lambda: httpx.Response(405),  # MAN-04
    ],
)
def test_where_head_says_too_little_the_manifest_is_read(
    answer: Callable[[], httpx.Response],
) -> None:
    resolved, transport = resolve(
        lambda request: answer() if request.method == "HEAD" else get(docker_content_digest=None)
    )
    assert [request.method for request in transport.asked] == ["HEAD", "GET"]
    assert resolved.descriptor.digest == DIGEST  # MAN-06
    assert resolved.body == BODY


def test_a_head_that_a_signed_url_refuses_is_sent_again_as_get() -> None:
    """The storage is asked by the method that its URL was signed for (incident I02)."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "registry.test":
            return httpx.Response(307, headers={"Location": "https://storage.test/signed"})
        return httpx.Response(403) if request.method == "HEAD" else get()

    resolved, transport = resolve(answer)
    assert [line.partition(" ")[0] for line in transport.lines] == ["HEAD", "HEAD", "GET", "GET"]
    assert resolved.body == BODY


def test_the_header_does_not_matter_for_a_pull_by_digest() -> None:
    other = digest_of(b"other")
    resolved, transport = resolve(lambda request: head(), name=f"registry.test/app/web@{other}")
    assert transport.lines == [f"HEAD https://registry.test/v2/app/web/manifests/{other}"]
    assert resolved.descriptor.digest == other  # MAN-09


@pytest.mark.parametrize("code", [403, 404, 503])
def test_a_refused_head_is_the_end_of_it(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks among the blobs (MAN-10, MAN-11), or by GET for an error's text (NET-19)."""
    monkeypatch.setattr("reference.progress.Cancellation.wait", lambda self, seconds: None)
    transport = ScriptedTransport(lambda request: httpx.Response(code))
    name = f"registry.test/app/web@{DIGEST}"
    with pytest.raises(PullError, match=f"manifest {DIGEST} of registry.test/app/web: "):  # MISC-08
        Resolver(transport.config, remote_at(transport, name=name)).resolve(
            Names().parse(name), (HOST,)
        )
    assert set(transport.lines) == {f"HEAD https://registry.test/v2/app/web/manifests/{DIGEST}"}
    assert len(transport.lines) == (4 if code == 503 else 1)


def test_a_digest_header_that_is_none_is_an_error() -> None:
    with pytest.raises(InvalidDescriptor, match="Docker-Content-Digest"):
        resolve(lambda request: head(docker_content_digest="sha256:zz"))  # MAN-08


def test_plain_text_is_taken_for_schema_1() -> None:
    resolved, _ = resolve(lambda request: head(content_type="text/plain"))
    assert resolved.descriptor.media_type == SCHEMA1_SIGNED  # MAN-15


@pytest.mark.parametrize("size", [101, 10**12])
def test_a_manifest_that_is_too_large_is_refused_before_it_is_read(size: int) -> None:
    config = Config(max_manifest_size=100)
    with pytest.raises(ManifestError, match=f"rejecting {size} byte manifest"):
        resolve(lambda request: head(length=size), config=config)  # MAN-21
    resolved, _ = resolve(lambda request: head(length=100), config=config)
    assert resolved.descriptor.size == 100


def test_a_manifest_without_length_is_read_up_to_the_limit() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            return head(length=None)
        return httpx.Response(200, headers=HEADERS, stream=httpx.ByteStream(BODY))

    with pytest.raises(TransportError, match="more than 10 bytes"):
        resolve(handler, config=Config(max_manifest_size=10))  # MAN-25


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (404, NotFound),  # MAN-05
        (401, AuthorizationFailed),  # MAN-28
        (403, AuthorizationFailed),
        (500, RegistryError),
        (418, RegistryError),
        (304, RegistryError),  # MAN-36
    ],
)
def test_an_answer_that_says_no_is_an_error_with_its_status(
    code: int, kind: type[PullError]
) -> None:
    with pytest.raises(kind, match=f"answered {code}"):
        resolve(lambda request: httpx.Response(code))


def failing(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    "fault",
    [
        failing,
        lambda request: httpx.Response(404),
        lambda request: httpx.Response(401),
        lambda request: httpx.Response(500),
        lambda request: httpx.Response(429),
        lambda request: head(docker_content_digest="nonsense"),
        lambda request: head(length=10**9),
        lambda request: httpx.Response(302),
    ],
)
def test_any_fault_of_one_host_leads_to_the_next(
    fault: Callable[[httpx.Request], httpx.Response],
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return fault(request) if request.url.host == "mirror.test" else head()

    resolved, transport = resolve(handler, MIRROR, HOST)

    assert resolved.descriptor.digest == DIGEST  # HOST-36, HOST-37
    assert transport.lines == [
        "HEAD https://mirror.test/v2/app/web/manifests/v1?ns=registry.test",
        "HEAD https://registry.test/v2/app/web/manifests/v1",
    ]


def test_the_error_is_that_of_the_host_that_came_furthest() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503 if request.url.host == "mirror.test" else 404)

    with pytest.raises(RegistryError, match="answered 503"):
        resolve(handler, MIRROR, HOST)  # HOST-39


# Trying again


def test_429_waits_as_long_as_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([httpx.Response(429, headers={"retry-after": "7"}), head()])
    waited: list[float] = []
    monkeypatch.setattr(
        "reference.progress.Cancellation.wait", lambda self, seconds: waited.append(seconds)
    )
    resolve(lambda request: next(answers))
    assert waited == [7]  # NET-08, NET-09


def test_a_pause_that_is_too_long_is_not_waited_for() -> None:
    answer = httpx.Response(429, headers={"retry-after": "3600"})
    with pytest.raises(RegistryError, match="answered 429"):
        resolve(lambda request: answer)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_repetitions_are_bounded(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference.progress.Cancellation.wait", lambda self, seconds: None)
    transport = ScriptedTransport(lambda request: httpx.Response(code))
    with pytest.raises(RegistryError):
        remote_at(transport).ask(HOST, "GET", "blobs", "x", accept="*/*")
    assert len(transport.asked) == 4  # NET-10


def test_a_connection_that_ends_without_an_answer_is_tried_again() -> None:
    answers = iter([httpx.RemoteProtocolError("Server disconnected without sending a response.")])

    def handler(request: httpx.Request) -> httpx.Response:
        for error in answers:
            raise error
        return head()

    assert len(resolve(handler)[1].asked) == 2  # NET-06


def test_where_another_host_is_left_nothing_is_tried_again() -> None:
    """NET-07"""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "mirror.test":
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return head()

    asked = resolve(handler, MIRROR, HOST)[1].asked
    assert [request.url.host for request in asked] == ["mirror.test", "registry.test"]


def test_answers_that_are_not_wanted_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """NET-11: large bodies unread, so that no connection waits for them."""
    monkeypatch.setattr("reference.progress.Cancellation.wait", lambda self, seconds: None)
    closed: list[int] = []

    class Large(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("nobody wants it")

        def close(self) -> None:
            closed.append(1)

    length = {"content-length": str(10**9)}
    answers = iter([httpx.Response(429, headers=length, stream=Large()) for _ in range(3)])
    transport = ScriptedTransport(lambda request: next(answers, None) or httpx.Response(200))
    remote_at(transport).ask(HOST, "GET", "blobs", "x", accept="*/*").close()
    assert len(closed) == 3
    assert transport.reporter.status()[0] == 0


# Errors


def test_the_registrys_own_words_are_in_the_error() -> None:
    document = {"errors": [{"code": "DENIED", "message": "not\nfor you", "detail": {}}]}
    transport = ScriptedTransport(lambda request: httpx.Response(403, json=document))
    with pytest.raises(AuthorizationFailed, match=r"answered 403 \(DENIED: not for you\)"):
        remote_at(transport).ask(HOST, "GET", "blobs", "x", accept="*/*")  # NET-18


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"errors": []}', b'{"errors": [1]}', b"[" * 65_000, b"x" * 10**6],
)
def test_other_error_bodies_do_no_harm(body: bytes) -> None:
    transport = ScriptedTransport(lambda request: httpx.Response(400, content=body))
    with pytest.raises(RegistryError, match=r"answered 400$"):
        remote_at(transport).ask(HOST, "GET", "blobs", "x", accept="*/*")


def test_an_error_body_in_an_unknown_coding_is_still_a_404_and_ends_its_request() -> None:
    body = httpx.Response(404, headers={"content-encoding": "compress"}, content=b"{}")
    transport = ScriptedTransport(lambda request: body)
    with pytest.raises(NotFound):
        remote_at(transport).ask(HOST, "GET", "blobs", "x", accept="*/*")
    assert transport.reporter.status()[0] == 0


@pytest.mark.parametrize("quoted", ["hunter2", "bWU6aHVudGVyMg=="])
def test_a_secret_that_the_registry_quotes_is_not_repeated(quoted: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if "authorization" not in request.headers:
            return httpx.Response(401, headers={"www-authenticate": "Basic"})
        error = {"code": "DENIED", "message": f"no {quoted}!"}
        return httpx.Response(403, json={"errors": [error]})

    auth = AuthConfig(username="me", password="hunter2")
    with pytest.raises(AuthorizationFailed, match=r"DENIED: no <hidden>!") as caught:
        remote_at(ScriptedTransport(handler), auth).ask(HOST, "GET", "blobs", "x", accept="*/*")
    assert quoted not in str(caught.value)


def test_what_the_registry_asks_for_replaces_a_configured_authorization() -> None:
    asked: list[list[str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get_list("authorization"))
        if len(asked) == 1:
            return httpx.Response(401, headers={"www-authenticate": "Basic"})
        return head()

    transport = ScriptedTransport(handler, Config(headers={"authorization": "Bearer mine"}))
    auth = AuthConfig(username="me", password="hunter2")
    remote_at(transport, auth).ask(HOST, "HEAD", "manifests", "x", accept="*/*").close()
    assert [len(values) for values in asked] == [1, 1]
    assert asked[1][0].startswith("Basic ")


def test_configured_headers_go_to_the_registry(tmp_path: object) -> None:
    config = Config(headers={"X-All": ["1", "2"], "Accept": "mine"})
    host = Host("https", "registry.test", headers={"X-Own": ("3",)})
    _, transport = resolve(lambda request: head(), host, config=config)
    headers = transport.asked[0].headers
    assert (headers.get_list("x-all"), headers["x-own"]) == (["1", "2"], "3")  # NET-01
    assert headers["accept"] != "mine"  # NET-02
    assert json.dumps(dict(headers)).count("accept") == 2  # and accept-encoding
