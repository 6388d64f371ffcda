import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import trustme
from scripted import Broken, ScriptedTransport

from reference.config import Config
from reference.errors import (
    BodyError,
    Cancelled,
    RedirectError,
    Silent,
    TLSError,
    TransportError,
)
from reference.progress import Cancellation, ProgressReporter
from reference.proxies import bypassed, environment_proxy
from reference.tls import TLSOptions
from reference.transport import Ask, Transport

ASK = Ask("GET", "https://registry.test/v2/x", {"Accept": "a/b"}, (("Authorization", "Bearer t"),))


def to(location: str, code: int = 307) -> httpx.Response:
    return httpx.Response(code, headers={"location": location})


def following(location: str) -> Callable[[httpx.Request], httpx.Response]:
    """Redirects the first request, and answers the second."""
    answers = iter([to(location), httpx.Response(200, content=b"x")])
    return lambda request: next(answers)


# Redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed_without_what_is_the_first_hosts_own(code: int) -> None:
    answers = iter([to("https://cdn.test/blob?sig=s", code), httpx.Response(200)])
    transport = ScriptedTransport(lambda request: next(answers))
    ask = replace(
        ASK,
        private=(*ASK.private, ("X-Own", "1")),
        tls=TLSOptions((Path("ca"),), ((Path("c"), None),), skip_verify=True),
    )

    with transport.send(ask) as answer:
        assert answer.status == 200

    first, second = transport.asked
    assert (first.headers["authorization"], first.headers["x-own"]) == ("Bearer t", "1")
    assert "authorization" not in second.headers  # NET-13
    assert "x-own" not in second.headers  # NET-14, Q-06
    assert second.headers["accept"] == "a/b"
    assert str(second.url) == "https://cdn.test/blob?sig=s"
    assert transport.tls_used[1] == TLSOptions((Path("ca"),))


@pytest.mark.parametrize(
    "location", ["/other", "https://registry.test/other", "//registry.test/other"]
)
def test_a_redirect_on_the_same_host_keeps_its_headers(location: str) -> None:
    transport = ScriptedTransport(following(location))
    transport.send(ASK).close()
    assert str(transport.asked[1].url) == "https://registry.test/other"
    assert transport.asked[1].headers["authorization"] == "Bearer t"


@pytest.mark.parametrize("location", ["https://registry.test:444/x", "https://sub.registry.test/x"])
def test_another_port_and_a_subdomain_are_other_hosts(location: str) -> None:
    transport = ScriptedTransport(following(location))
    transport.send(ASK).close()
    assert "authorization" not in transport.asked[1].headers


def test_https_is_never_left_for_http() -> None:
    transport = ScriptedTransport(following("http://registry.test/x?sig=s3cret"))
    with pytest.raises(RedirectError, match=r"from https to http://registry\.test/x") as caught:
        transport.send(ASK)
    assert len(transport.asked) == 1  # NET-16
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("location", ["", "ftp://cdn.test/x", "mailto:x", "https://[bad"])
def test_a_redirect_to_nowhere_is_an_error(location: str) -> None:
    transport = ScriptedTransport(following(location))
    with pytest.raises(RedirectError):
        transport.send(ASK)
    assert len(transport.asked) == 1  # NET-15


def test_redirects_end_after_ten() -> None:
    transport = ScriptedTransport(lambda request: to("/again"))
    with pytest.raises(RedirectError, match="stopped after 10 redirects"):
        transport.send(ASK)
    assert len(transport.asked) == 11  # NET-12


def test_a_post_is_never_redirected() -> None:
    transport = ScriptedTransport(following("https://evil.test/"))
    with transport.send(replace(ASK, method="POST", body=b"secret")) as answer:
        assert answer.status == 307
    assert len(transport.asked) == 1


# Requests


def test_what_a_request_says_of_itself() -> None:
    transport = ScriptedTransport(lambda request: httpx.Response(200))
    transport.send(ASK).close()
    transport.send(replace(ASK, private=(("user-agent", "mine"),))).close()
    assert transport.asked[0].headers["user-agent"].startswith("refpull/")
    assert transport.asked[0].headers["accept-encoding"] == "identity"
    assert transport.asked[1].headers.get_list("user-agent") == ["mine"]  # NET-03


# Bodies and their counting


def test_a_request_is_active_until_its_body_ended() -> None:
    transport = ScriptedTransport(lambda request: httpx.Response(200, content=b"12345"))
    answer = transport.send(ASK)
    assert transport.reporter.status() == (1, 0)
    assert answer.read(10) == b"12345"
    assert transport.reporter.status() == (0, 5)  # PROG-13, PROG-17
    answer.close()
    answer.close()
    assert transport.reporter.status() == (0, 5)  # PROG-16


def test_redirects_and_failures_leave_no_active_request() -> None:
    transport = ScriptedTransport(following("/x"))
    transport.send(ASK).discard()
    assert transport.reporter.status()[0] == 0  # PROG-15

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    transport.handler = fail
    with pytest.raises(TransportError, match="refused"):
        transport.send(ASK)
    assert transport.reporter.status()[0] == 0


def test_a_body_that_breaks_off_is_an_error_after_its_bytes() -> None:
    transport = ScriptedTransport(lambda request: httpx.Response(200, stream=Broken(b"123")))
    answer = transport.send(ASK)
    chunks = answer.chunks()
    assert next(chunks) == b"123"
    with pytest.raises(BodyError, match="the body broke off"):
        next(chunks)
    assert transport.reporter.status() == (0, 3)


def test_a_body_is_never_read_beyond_its_limit() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return endless()

    transport = ScriptedTransport(lambda request: httpx.Response(200, stream=Endless()))
    with pytest.raises(BodyError, match="more than 5000 bytes"), transport.send(ASK) as answer:
        answer.read(5000)  # MAN-25
    assert transport.reporter.status()[1] <= 7000


def coded(data: bytes, coding: str = "gzip") -> ScriptedTransport:
    stream = httpx.ByteStream(data)
    return ScriptedTransport(
        lambda request: httpx.Response(200, headers={"content-encoding": coding}, stream=stream)
    )


def test_a_gzip_coding_is_taken_off_in_bounded_pieces() -> None:
    data = bytes(10_000_000)
    with coded(gzip.compress(data)).send(ASK) as answer:
        chunks = list(answer.chunks())
    assert b"".join(chunks) == data  # MAN-35
    assert max(map(len, chunks)) <= 256 * 1024


@pytest.mark.parametrize(
    ("data", "coding", "why"),
    [
        (b"data", "br", "unsupported Content-Encoding 'br'"),
        (b"data", "gzip", "isn't gzip"),
        (gzip.compress(b"data" * 100, mtime=0)[:-9], "gzip", "broke off"),
    ],
)
def test_a_coding_that_cannot_be_taken_off_is_an_error(data: bytes, coding: str, why: str) -> None:
    with pytest.raises(TransportError, match=why), coded(data, coding).send(ASK) as answer:
        answer.read(10_000)


@pytest.mark.parametrize(
    ("value", "media_type"),
    [
        ("a/b; charset=utf-8", "a/b"),  # MAN-12
        ("A/B ; x", "a/b"),  # MAN-13
        (None, ""),
    ],
)
def test_the_media_type_is_without_parameters(value: str | None, media_type: str) -> None:
    headers = {} if value is None else {"content-type": value}
    transport = ScriptedTransport(lambda request: httpx.Response(200, headers=headers))
    with transport.send(ASK) as answer:
        assert answer.media_type == media_type


# Proxies


def test_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://p.test:1")
    monkeypatch.setenv("ALL_PROXY", "q.test:2")
    monkeypatch.setenv("NO_PROXY", "direct.test")
    assert environment_proxy("https://a.test/x") == "http://p.test:1"
    assert environment_proxy("http://a.test/x") == "http://q.test:2"
    assert environment_proxy("https://direct.test/x") is None
    transport = ScriptedTransport(lambda request: httpx.Response(200))
    assert transport.proxy_for("https://a.test/") == "http://p.test:1"
    assert transport.proxy_for("https://127.0.0.1:5/") is None  # NET-05
    distrusting = ScriptedTransport(transport.handler, Config(trust_env=False))
    assert distrusting.proxy_for("https://a.test/") is None
    own = ScriptedTransport(transport.handler, Config(proxy="http://own.test"))
    assert own.proxy_for("https://direct.test/") == "http://own.test"


def test_http_proxy_is_not_believed_under_cgi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("all_proxy", raising=False)
    monkeypatch.delenv("ALL_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://evil.test")
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    assert environment_proxy("http://a.test/") is None


@pytest.mark.parametrize(
    ("entry", "host", "port", "direct"),
    [
        ("*", "a.test", None, True),
        ("a.test", "a.test", None, True),
        ("a.test", "b.a.test", None, True),
        (".a.test", "b.a.test", None, True),
        ("a.test", "ba.test", None, False),
        ("a.test:5000", "a.test", 5000, True),
        ("a.test:5000", "a.test", 443, False),
        ("10.0.0.0/8", "10.1.2.3", None, True),
        ("10.0.0.0/8", "11.1.2.3", None, False),
        ("[fd00::1]", "fd00::1", None, True),
        (" x , a.test ", "a.test", None, True),
    ],
)
def test_no_proxy(entry: str, host: str, port: int | None, direct: bool) -> None:
    assert bypassed(entry, host, port) is direct


# Real sockets

CLIENT_HELLO = b"\x16"


@contextmanager
def server(play: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that plays `play` on each connection."""
    connections: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=run, args=(connection,), daemon=True).start()

    def run(connection: socket.socket) -> None:
        try:
            play(connection)
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in connections:
            connection.close()


@contextmanager
def real(config: Config | None = None) -> Iterator[Transport]:
    config = config or Config()
    cancellation = Cancellation()
    reporter = ProgressReporter(config, "x", cancellation)
    with Transport(config, cancellation, reporter) as transport:
        yield transport


def answering(data: bytes) -> Callable[[socket.socket], None]:
    def play(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)
        connection.recv(65536)

    return play


def test_a_connection_serves_several_requests() -> None:
    connections = []

    def play(connection: socket.socket) -> None:
        connections.append(connection)
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with server(play) as port, real() as transport:
        for _ in range(3):
            with transport.send(Ask("GET", f"http://127.0.0.1:{port}/")) as answer:
                assert answer.read(10) == b"ok"
    assert len(connections) == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123",
    ],
    ids=["before the answer", "in the head", "in the body"],
)
def test_cancelling_unblocks_a_stalled_read_at_once(sent: bytes) -> None:
    stalled = threading.Event()

    def play(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(sent)
        stalled.set()
        connection.recv(65536)

    with server(play) as port, real() as transport:
        cancellation = transport.cancellation

        def cancel() -> None:
            assert stalled.wait(5)
            cancellation.cancel()

        threading.Thread(target=cancel).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            with transport.send(Ask("GET", f"http://127.0.0.1:{port}/")) as answer:
                answer.read(100)
        assert time.monotonic() - started < 5  # CANC-01
        assert transport.reporter.status()[0] == 0


def test_cancelling_unblocks_a_stalled_handshake() -> None:
    arrived = threading.Event()

    def play(connection: socket.socket) -> None:
        connection.recv(65536)
        arrived.set()
        connection.recv(65536)

    with server(play) as port, real() as transport:
        threading.Thread(target=lambda: arrived.wait(5) and transport.cancellation.cancel()).start()
        with pytest.raises(Cancelled):
            transport.send(
                Ask("GET", f"https://127.0.0.1:{port}/", tls=TLSOptions(skip_verify=True))
            )


def test_a_handshake_has_its_own_time_limit() -> None:
    """TLS-18; no try in the clear follows it (TLS-22)."""
    config = Config(tls_handshake_timeout=0.05)
    began: list[bytes] = []

    def play(connection: socket.socket) -> None:
        began.append(connection.recv(65536)[:1])
        connection.recv(65536)

    with server(play) as port, real(config) as transport:
        with pytest.raises(TransportError, match="no TLS handshake"):
            transport.send(
                Ask("GET", f"https://127.0.0.1:{port}/", tls=TLSOptions(skip_verify=True))
            )
    assert began == [CLIENT_HELLO]


def test_the_time_limits_are_those_of_containerd() -> None:
    """NET-04, HOST-35: in seconds; for the answer to begin since containerd 2 only (Q-27)."""
    config = Config()
    limits = config.connect_timeout, config.tls_handshake_timeout, config.response_header_timeout
    assert (limits, config.timeout) == ((30, 10, 30), None)
    transport = ScriptedTransport(lambda request: httpx.Response(200))
    for ask in (ASK, replace(ASK, dial_timeout=1.5)):
        transport.send(ask).close()
    asked = [request.extensions["timeout"]["connect"] for request in transport.asked]
    assert asked == [30, 1.5]


def test_headers_without_end_are_left() -> None:
    """NET-20"""
    sent = 0

    def play(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-Flood: " + b"x" * 1000 + b"\r\n")
            sent += 1

    with server(play) as port, real() as transport:
        with pytest.raises(TransportError):
            transport.send(Ask("GET", f"http://127.0.0.1:{port}/"))
    assert sent < 10_000


def test_an_answer_has_a_time_to_begin_and_its_body_has_not() -> None:
    config = Config(response_header_timeout=0.2)
    released = threading.Event()

    def silent(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.recv(65536)

    def slow(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
        released.wait(5)
        connection.sendall(b"2")

    with server(silent) as port, real(config) as transport:
        with pytest.raises(TransportError, match="no answer within"):
            transport.send(Ask("GET", f"http://127.0.0.1:{port}/"))
    with server(slow) as port, real(config) as transport:
        with transport.send(Ask("GET", f"http://127.0.0.1:{port}/")) as answer:
            threading.Timer(0.4, released.set).start()
            assert answer.read(10) == b"12"


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1"])
def test_where_patience_is_short_it_is_so_for_head_and_body(sent: bytes) -> None:
    """What is waited for: a mirror while there is another host, one part of many."""

    def silent(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(sent)
        connection.recv(65536)

    with server(silent) as port, real() as transport:
        with pytest.raises(Silent, match=r"within 0\.2s"):
            with transport.send(Ask("GET", f"http://127.0.0.1:{port}/", patience=0.2)) as answer:
                answer.read(10)


@pytest.mark.parametrize(
    ("sent", "ends"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n", True),
        (b"HTTP/1.0 200 OK\r\n\r\n123", False),
    ],
)
def test_a_lost_connection_is_told_from_an_end_where_http_can(sent: bytes, ends: bool) -> None:
    def play(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_RDWR)

    with server(play) as port, real() as transport:
        with transport.send(Ask("GET", f"http://127.0.0.1:{port}/")) as answer:
            assert answer.ends_itself is ends
            if ends:
                with pytest.raises(BodyError):
                    answer.read(10)
            else:
                assert answer.read(10) == b"123"


def test_a_refused_connection_and_an_unknown_host_are_errors() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with real() as transport:
        with pytest.raises(TransportError, match="Connection refused"):
            transport.send(Ask("GET", f"http://127.0.0.1:{port}/"))
        with pytest.raises(TransportError, match=r"no address for nowhere\.invalid"):
            transport.send(Ask("GET", "http://nowhere.invalid/"))


# TLS


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@contextmanager
def tls_server(ca: trustme.CA, name: str, *, client_ca: trustme.CA | None = None) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    if client_ca is not None:
        client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED

    def play(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            while secure.recv(65536):
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with server(play) as port:
        yield port


def get(transport: Transport, port: int, tls: TLSOptions) -> bytes:
    with transport.send(Ask("GET", f"https://127.0.0.1:{port}/", tls=tls)) as answer:
        return answer.read(100)


def test_a_server_is_verified_against_its_ca(ca: trustme.CA, tmp_path: Path) -> None:
    file, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    ca.cert_pem.write_to_path(str(file))
    trustme.CA().cert_pem.write_to_path(str(other))
    with tls_server(ca, "127.0.0.1") as port, real() as transport:
        assert get(transport, port, TLSOptions((file,))) == b"ok"
        assert get(transport, port, TLSOptions(skip_verify=True)) == b"ok"  # TLS-08
        for tls in (TLSOptions((other,)), TLSOptions()):
            with pytest.raises(TLSError, match=r"issuer|self-signed|self signed"):
                get(transport, port, tls)  # TLS-01; on this machine too (TLS-11, Q-03)


def test_the_name_has_to_be_right(ca: trustme.CA, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    with tls_server(ca, "other.test") as port, real() as transport:
        with pytest.raises(TLSError, match=r"mismatch|not valid for"):
            get(transport, port, TLSOptions((file,)))  # TLS-02


def test_a_ca_adds_to_the_systems_roots(
    ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, other = tmp_path / "system.pem", tmp_path / "other.pem"
    ca.cert_pem.write_to_path(str(system))
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    with tls_server(ca, "127.0.0.1") as port, real() as transport:
        assert get(transport, port, TLSOptions((other,))) == b"ok"  # TLS-03


def test_a_client_certificate_is_shown_where_it_is_configured(
    ca: trustme.CA, tmp_path: Path
) -> None:
    file, both = tmp_path / "ca.pem", tmp_path / "both.pem"
    ca.cert_pem.write_to_path(str(file))
    ca.issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(str(both))
    with tls_server(ca, "127.0.0.1", client_ca=ca) as port, real() as transport:
        assert get(transport, port, TLSOptions((file,), ((both, None),))) == b"ok"
        with pytest.raises(TransportError):
            get(transport, port, TLSOptions((file,)))  # TLS-17


def test_plain_http_on_an_https_port_is_not_accepted() -> None:
    """TLS-19; nor remembered as what that host speaks (TLS-21)."""
    began: list[bytes] = []

    def play(connection: socket.socket) -> None:
        began.append(connection.recv(65536)[:1])
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.recv(65536)

    with server(play) as port, real() as transport:
        for _ in range(2):
            with pytest.raises(TLSError):
                get(transport, port, TLSOptions(skip_verify=True))
    assert began == [CLIENT_HELLO] * 2


# A proxy on the way


def test_a_proxy_forwards_http_and_tunnels_https(ca: trustme.CA, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("registry.test").configure_cert(context)
    heads: list[str] = []

    def play(connection: socket.socket) -> None:
        head = connection.recv(65536).decode()
        heads.append(head)
        if not head.startswith("CONNECT"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
            return
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecure")
            secure.recv(65536)

    with server(play) as port, real(Config(proxy=f"http://me:pw@127.0.0.1:{port}")) as transport:
        with transport.send(Ask("GET", "http://registry.test/x")) as answer:
            assert answer.read(10) == b"plain"
        tls = TLSOptions((file,))
        with transport.send(Ask("GET", "https://registry.test/x", tls=tls)) as answer:
            assert answer.read(10) == b"secure"
    assert heads[0].startswith("GET http://registry.test/x HTTP/1.1")
    assert heads[1].startswith("CONNECT registry.test:443 HTTP/1.1")
    assert all("Proxy-Authorization: Basic bWU6cHc=" in head for head in heads)
