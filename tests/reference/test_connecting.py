"""Connecting: names that are none, addresses that lead nowhere, and errors that tell no secret."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
import trustme

from reference.config import Config
from reference.errors import ConfigError, ConnectionLost, TransportError
from reference.progress import Cancellation, ProgressReporter
from reference.tls import TLSOptions
from reference.transport import Ask, Transport
from reference.wire import Sockets, Wire


def transport(config: Config | None = None) -> Transport:
    config = config or Config(trust_env=False)
    cancellation = Cancellation()
    return Transport(config, cancellation, ProgressReporter(config, "x", cancellation))


@pytest.mark.parametrize(
    "host", ["a..b", "a" * 64 + ".test", ".test", "127.0.0.1:65536", "127.0.0.1:-1"]
)
def test_what_names_no_host_is_a_transport_error(host: str) -> None:
    with transport() as sending, pytest.raises(TransportError, match=r"be the name|no port"):
        sending.send(Ask("GET", f"http://{host}/"))


def addresses(monkeypatch: pytest.MonkeyPatch, *found: tuple[Any, ...]) -> None:
    rows = [(family, socket.SOCK_STREAM, 0, "", address) for family, address in found]
    monkeypatch.setattr("reference.wire.socket.getaddrinfo", lambda *_, **__: rows)


def test_an_address_family_the_kernel_lacks_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = listener.getsockname()
        addresses(monkeypatch, (255, ("x", 1)), (socket.AF_INET, here))
        Sockets(1).connect_tcp("registry.test", here[1], 5).close()
        addresses(monkeypatch, (255, ("x", 1)))
        with pytest.raises(httpcore.ConnectError, match="not supported"):
            Sockets(1).connect_tcp("registry.test", here[1], 5)


def test_an_address_that_swallows_packets_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NET-22: one after the other, whatever the family; together they take one time limit."""
    limits = []

    class Swallowed(Sockets):
        def _connect(self, sock: socket.socket, address: Any, limit: float | None) -> None:
            limits.append(limit)
            raise TimeoutError

    addresses(monkeypatch, *[(socket.AF_INET, ("127.0.0.1", 1))] * 3)
    with pytest.raises(httpcore.ConnectTimeout):
        Swallowed(1).connect_tcp("registry.test", 1, 30)
    # No time passed here, so the rest is shared by fewer each time.
    assert limits == pytest.approx([10, 15, 30], abs=1)


@pytest.mark.parametrize("header", ["Bearer hunter2\n", "hunter2\0"])
def test_a_header_that_is_none_is_not_quoted(header: str) -> None:
    ask = Ask("GET", "http://127.0.0.1:1/", private=(("Authorization", header),))
    with socket.create_server(("127.0.0.1", 0)) as listener, transport() as sending:
        ask = Ask("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", private=ask.private)
        with pytest.raises(TransportError, match="a header isn't valid") as caught:
            sending.send(ask)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy",
    [
        "http://u:hunter2@h:99999",
        "http://u:hunter2@[h",
        "socks5://u:hunter2@127.0.0.1:1",
        "ftp://u:hunter2@h",
        "http://",
    ],
)
@pytest.mark.parametrize("by", ["config", "environment"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    proxy: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("all_proxy", "ALL_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", proxy)
    config = Config(proxy=proxy) if by == "config" else Config()
    with transport(config) as sending, pytest.raises(ConfigError, match="proxy") as caught:
        sending.send(Ask("GET", "https://registry.test/"))
    assert "hunter2" not in str(caught.value)


def test_only_a_lost_connection_is_worth_repeating() -> None:
    """By what happened, not by a word in the URL."""
    with transport() as sending, pytest.raises(TransportError) as caught:
        sending.send(Ask("GET", "http://127.0.0.1:1/reset/disconnected"))
    assert not isinstance(caught.value, ConnectionLost)


def test_threads_that_need_the_systems_roots_at_once_all_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread reads them after the other's handshake failed, and before that one looks."""
    ca, file, system = trustme.CA(), tmp_path / "other.pem", tmp_path / "system.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    ca.cert_pem.write_to_path(str(system))
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    tls = TLSOptions((file,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)

    with socket.create_server(("127.0.0.1", 0)) as listener, transport() as sending:

        def serve() -> None:
            for number in range(2):
                connection, _ = listener.accept()
                try:
                    secure = context.wrap_socket(connection, server_side=True)
                except OSError:
                    # Here the first handshake has failed: what another thread does meanwhile.
                    assert number == 0
                    connection.close()
                    continue
                with secure:
                    secure.recv(65536)
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    secure.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        lookup = sending.trust

        def late(options: TLSOptions) -> Any:
            trust = lookup(options)
            if sending.sockets._open:  # the handshake was tried: the other thread is first
                trust.widen()
            return trust

        monkeypatch.setattr(sending, "trust", late)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with sending.send(Ask("GET", url, tls=tls)) as answer:
            assert answer.read(10) == b"ok"
    thread.join(5)
    assert not thread.is_alive()


def test_a_line_that_is_no_header_is_not_repeated() -> None:
    """A Location without its colon has the signature of its URL all the same."""
    answer = b"HTTP/1.1 302 Found\r\nLocation https://h.test/?sig=canary\r\n\r\n"
    wire = Wire(httpcore.MockBackend([answer]), None)
    with pytest.raises(httpx.RemoteProtocolError, match=r"^illegal header line$"):
        wire.handle_request(httpx.Request("GET", "http://registry.test/"))
    wire.close()
