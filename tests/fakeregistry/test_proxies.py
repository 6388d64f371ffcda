"""A forward proxy: absolute-form requests, tunnels, 407, and what it does when told to fail."""

import base64
import ssl
import threading

import httpx
import pytest
from rawclient import Raw

from fakeregistry import (
    Proxy,
    Registries,
    Registry,
    an_image,
    basic,
    blob,
    connection,
    manifest,
    proxy,
)
from fakeregistry.messages import Request
from fakeregistry.proxies import asked_host
from fakeregistry.wire.relay import request_bytes

TAG = "/v2/app/web/manifests/v1"


@pytest.fixture
def front(registries: Registries) -> Proxy:
    return registries.proxy()


@pytest.fixture
def image(registry: Registry):
    return registry.add(an_image(layers=2))


def client(front: Proxy, registries: Registries, **options) -> httpx.Client:
    context = registries.certificates.client_context()
    return httpx.Client(proxy=front.url, verify=context, trust_env=False, **options)


def connect(front: Proxy, host: str, **headers: str) -> Raw:
    raw = Raw(front)
    lines = [f"CONNECT {host} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw.send("\r\n".join(lines) + "\r\n\r\n")


def basic_of(front: Proxy) -> str:
    user = front.auth.credentials
    return "Basic " + base64.b64encode(f"{user.username}:{user.password}".encode()).decode()


# honest


def test_plain_requests_are_sent_on(registries, registry, front, image) -> None:
    with client(front, registries) as through:
        assert through.get(registry.url_for(TAG)).content == image.manifest
        path = f"/v2/app/web/blobs/{image.layers[0].digest}"
        part = through.get(registry.url_for(path), headers={"Range": "bytes=2-5"})
        assert (part.status_code, part.content) == (206, image.layers[0].blob[2:6])
        assert through.head(registry.url_for(TAG)).headers["Docker-Content-Digest"] == image.digest
        begun = through.post(registry.url_for("/v2/app/web/blobs/uploads/"))
        assert begun.status_code == 202
    registries.journal.wait_quiet()
    asked = front.requests(proxy())
    assert [(one.kind, one.method, one.status, one.ended) for one in asked] == [
        ("proxy", "GET", 200, "complete"),
        ("proxy", "GET", 206, "complete"),
        ("proxy", "HEAD", 200, "complete"),
        ("proxy", "POST", 202, "complete"),
    ]
    assert [one.bytes_sent for one in asked[:3]] == [len(image.manifest), 4, 0]
    assert {asked_host(one) for one in asked} == {registry.host}
    (seen, *_) = registry.requests(manifest())
    assert (seen.header("via"), seen.header("host")) == ("1.1 proxy", registry.host)


def test_tunnels_carry_tls_to_the_registry(registries, registry, front, image) -> None:
    registry.tls = registries.certificates.valid()
    with client(front, registries) as through:
        for _ in range(2):
            assert through.get(registry.url_for(TAG)).content == image.manifest
        assert registries.journal.wait_quiet(), "a tunnel that stands is no open exchange"
    (tunnel,) = front.requests(proxy())
    assert (tunnel.method, tunnel.target, tunnel.status) == ("CONNECT", registry.host, 200)
    assert len(registry.requests(manifest())) == 2
    (one,) = [each for each in registries.journal.connections if each.registry == "origin"]
    assert one.tls is not None


def test_a_tunnel_goes_on_for_as_long_as_somebody_talks(registry, front, image) -> None:
    with connect(front, registry.host) as raw:
        assert raw.head().data == b"HTTP/1.1 200 Connection established\r\n\r\n"
        for _ in range(3):
            answer = raw.ask(TAG).answer()
            assert answer.body == image.manifest
        raw.sock.shutdown(1)
        assert raw.rest().end == "fin"


def test_ends_go_through_as_they_are(registries, registry, front, image) -> None:
    cut, reset = image.layers
    registry.on(blob(cut)).close_after(100)
    registry.on(blob(reset)).reset_after(100)
    for layer, end in ((cut, "fin"), (reset, "rst")):
        path = f"/v2/app/web/blobs/{layer.digest}"
        with Raw(front) as raw:
            raw.send(f"GET {registry.url_for(path)} HTTP/1.1\r\nHost: {registry.host}\r\n\r\n")
            got = raw.rest()
            assert (got.body, got.end) == (layer.blob[:100], end)
        with connect(front, registry.host) as raw:
            raw.head()
            got = raw.ask(path).rest()
            assert (got.body, got.end) == (layer.blob[:100], end)
    registries.journal.wait_quiet()
    plain = [one.ended for one in front.requests(proxy(), method="GET")]
    assert plain == ["fin", "rst"]


def test_a_client_that_leaves_leaves_the_registry_too(registries, registry, front, image) -> None:
    registry.on(blob(image.layers[0])).stall_after(10)
    path = f"/v2/app/web/blobs/{image.layers[0].digest}"
    with connect(front, registry.host) as raw:
        raw.head()
        raw.ask(path).head()
    assert registries.journal.wait_for(
        lambda _: [one.ended for one in registry.requests(blob())] == ["client_gone"]
    )


def test_a_proxy_stops_at_once(registries, registry, front, image) -> None:
    registry.on(manifest()).delay_headers()
    raw = connect(front, registry.host)
    raw.head()
    raw.ask(TAG)
    assert registries.journal.wait_for(lambda _: registry.requests(manifest()))
    front.stop()
    with raw:
        assert raw.rest().data == b""


def test_a_proxy_can_speak_tls_itself(registries, registry, front, image) -> None:
    front.tls = registry.tls = registries.certificates.valid()
    context = registries.certificates.client_context()
    through = httpx.Proxy(front.url, ssl_context=context)
    with httpx.Client(proxy=through, verify=context, trust_env=False) as both:
        assert both.get(registry.url_for(TAG)).content == image.manifest
    big = registry.add(an_image(size=3 << 20), "app/big")
    with httpx.Client(proxy=through, verify=context, trust_env=False) as both:
        url = registry.url_for(f"/v2/app/big/blobs/{big.layers[0].digest}")
        assert both.get(url).content == big.layers[0].blob


def test_names_are_those_of_the_topology() -> None:
    names = {"origin": "registry.test", "origin-tls": "secure.test", "mirror": "mirror.test"}
    with Registries(names=names) as registries:
        registry, front = registries.registry(), registries.proxy()
        image = registry.add(an_image())
        other = registries.registry("mirror")
        port = registry.port
        for host in ("registry.test", f"registry.test:{port}", f"localhost:{port}"):
            with Raw(front) as raw:
                raw.send(f"GET http://{host}{TAG} HTTP/1.1\r\nHost: {host}\r\n\r\n")
                assert raw.rest().body == image.manifest
        registry.tls = registries.certificates.valid()
        with connect(front, "secure.test:443") as raw:
            assert raw.head().status == 200
            context = registries.certificates.client_context()
            raw.sock = context.wrap_socket(raw.sock, server_hostname="secure.test")
            assert raw.ask(TAG).answer().body == image.manifest
        for host in ("elsewhere.test:443", f"registry.test:{other.port}", "127.0.0.1:1", "[::1]:x"):
            with connect(front, host) as raw:
                refused = raw.head()
                assert refused.status in (400, 403)
        assert not other.contacted


def test_a_proxy_is_no_registry(registries, registry, front) -> None:
    with Raw(front) as raw:
        assert raw.ask("/v2/").answer().status == 400
    with Raw(front) as raw:
        raw.send("GET https://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.answer().status == 403
    assert registries.proxy() is front
    with pytest.raises(ValueError, match="'origin' is a registry"):
        registries.proxy("origin")


@pytest.mark.parametrize("listening", ["refuse"])
def test_a_registry_that_is_down_is_told(registry, front, listening) -> None:
    registry.listening = listening
    with connect(front, registry.host) as raw:
        answer = raw.answer()
        assert (answer.status, b"can't be reached" in answer.body) == (502, True)


# who is there


def test_a_proxy_asks_who_is_there(registries, registry, front, image) -> None:
    front.auth = basic("alice")
    with connect(front, registry.host) as raw:
        refused = raw.answer()
    assert (refused.status, refused.header("proxy-authenticate")) == (407, 'Basic realm="proxy"')
    assert refused.header("www-authenticate") is None
    with connect(front, registry.host, Proxy_Authorization=basic_of(front)) as raw:
        assert raw.head().status == 200
    with connect(front, registry.host, Authorization=basic_of(front)) as raw:
        assert raw.head().status == 407
    with client(front, registries) as through:
        assert through.get(registry.url_for(TAG)).content == image.manifest
    (seen,) = registry.requests(manifest())
    assert seen.header("proxy-authorization") is None
    assert [leak.seen_at for leak in registries.leaks()] == []
    denied = [one.facts.problem for one in front.requests(proxy()) if one.status == 407]
    assert denied == ["no_credentials", "no_credentials"]


def test_what_goes_through_is_no_leak(registries, registry, front, image) -> None:
    registry.auth = basic("alice")
    cdn = registries.registry("cdn")
    user = registry.auth.credentials
    with client(front, registries, auth=(user.username, user.password)) as through:
        assert through.get(registry.url_for(TAG)).status_code == 200
        assert registries.leaks() == []
        through.get(cdn.url_for(TAG))
    assert [leak.seen_at for leak in registries.leaks()] == ["proxy", "cdn"]


# what goes wrong


def test_a_proxy_refuses(registries, registry, front, image) -> None:
    front.on(proxy(), method="CONNECT").first(1).status(502)
    front.on(proxy(), method="GET").first(1).status(403)
    with connect(front, registry.host) as raw:
        assert raw.answer().status == 502
    with connect(front, registry.host) as raw:
        assert raw.head().status == 200
    with client(front, registries) as through:
        assert through.get(registry.url_for(TAG)).status_code == 403
        assert through.get(registry.url_for(TAG)).status_code == 200


def test_a_proxy_asks_for_ever(registry, front) -> None:
    front.auth = basic()
    always = front.on(proxy()).status(407).header("Proxy-Authenticate", 'Basic realm="x"')
    with connect(front, registry.host, Proxy_Authorization=basic_of(front)) as raw:
        assert raw.answer().header("proxy-authenticate") == 'Basic realm="x"'
    assert always.fired == 1


@pytest.mark.parametrize(("text", "data"), [("", b""), ("SSH-2.0-x\r\n", b"SSH-2.0-x\r\n")])
def test_a_proxy_answers_garbage(registry, front, text, data) -> None:
    front.on(proxy()).garbage(text)
    with connect(front, registry.host) as raw:
        got = raw.rest()
        assert (got.data, got.end) == (data, "fin")
    assert not registry.contacted


def test_a_proxy_stalls_and_resets(registry, front) -> None:
    front.on(proxy()).nth(1).reset_before_headers()
    slow = front.on(proxy()).after(1).delay_headers()
    with connect(front, registry.host) as raw:
        assert raw.rest().end == "rst"
    with connect(front, registry.host), connect(front, registry.host) as raw:
        assert slow.wait_holding()
        assert raw.silent()
        slow.release()
        assert raw.head().status == 200


def test_connections_of_a_proxy_have_rules_too(registry, front) -> None:
    silent = front.on(connection()).first(1).accept_silence()
    with connect(front, registry.host) as raw:
        assert silent.wait_holding()
        assert raw.silent()
        silent.release()
        assert raw.head().status == 200
    front.listening = "refuse"
    with pytest.raises(ConnectionRefusedError):
        connect(front, registry.host)


def test_what_comes_from_a_registry_is_edited_there(registry, front) -> None:
    front.on(proxy()).header("X-Odd", "1")
    with connect(front, registry.host) as raw:
        answer = raw.answer()
    assert answer.status == 500
    assert b"can't be edited in a proxy" in answer.body
    with pytest.raises(ValueError, match="can't be edited"):
        front.check()


def test_many_tunnels_at_once(registries, registry, front, image) -> None:
    registry.tls = registries.certificates.valid()
    seen = []

    def pull() -> None:
        with client(front, registries) as through:
            for layer in image.layers:
                url = registry.url_for(f"/v2/app/web/blobs/{layer.digest}")
                seen.append(through.get(url).content == layer.blob)

    threads = [threading.Thread(target=pull) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == [True] * 20
    assert len(front.requests(proxy())) == 10


def test_requests_are_sent_on_without_what_was_for_the_proxy() -> None:
    request = Request(
        "PUT",
        "http://registry.test/v2/x?a=b",
        (
            ("Host", "registry.test"),
            ("Proxy-Authorization", "Basic x"),
            ("Transfer-Encoding", "chunked"),
            ("X-Kept", "1"),
        ),
        b"body",
    )
    assert request_bytes(request) == (
        b"PUT /v2/x?a=b HTTP/1.1\r\nHost: registry.test\r\nX-Kept: 1\r\n"
        b"Content-Length: 4\r\nVia: 1.1 proxy\r\nConnection: close\r\n\r\nbody"
    )


def test_tls_errors_are_between_client_and_registry(registries, registry, front) -> None:
    registry.tls = registries.certificates.get("expired")
    with client(front, registries) as through, pytest.raises(httpx.ConnectError) as caught:
        through.get(registry.url_for("/v2/"))
    assert "certificate has expired" in str(caught.value)
    assert isinstance(caught.value.__cause__.__cause__, ssl.SSLCertVerificationError | None)
