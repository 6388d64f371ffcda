"""A client of raw sockets: what came over the wire, byte for byte, and how it ended."""

import contextlib
import select
import socket
import ssl
from dataclasses import dataclass

from fakeregistry import Registry

TIMEOUT = 10.0


def hello() -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        incoming, outgoing, server_hostname="registry.test"
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@dataclass
class Received:
    """Everything that a connection said. `end` is "fin" or "rst"."""

    data: bytes
    end: str

    @property
    def head(self) -> str:
        return self.data.partition(b"\r\n\r\n")[0].decode()

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


class Raw:
    """One connection to a registry."""

    def __init__(self, registry: Registry, tls: ssl.SSLContext | None = None) -> None:
        self.registry = registry
        self.sock = socket.create_connection((registry.address, registry.port), TIMEOUT)
        if tls is not None:
            self.sock = tls.wrap_socket(
                self.sock, server_hostname=registry.hostname, suppress_ragged_eofs=False
            )

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, text: str | bytes) -> "Raw":
        self.sock.sendall(text.encode() if isinstance(text, str) else text)
        return self

    def ask(self, path: str, method: str = "GET", **headers: str) -> "Raw":
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.registry.host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return self.send("\r\n".join(lines) + "\r\n\r\n")

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise AssertionError(f"ended after {len(data)} of {count} bytes")
            data += more
        return data

    def head(self) -> Received:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += self.exactly(1)
        return Received(data, "")

    def answer(self) -> Received:
        """One whole answer of a stated length, leaving the connection as it is."""
        head = self.head()
        return Received(head.data + self.exactly(int(head.header("content-length") or 0)), "")

    def silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes, and no end either, for a moment."""
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        return not poller.poll(seconds * 1000)

    def rest(self) -> Received:
        """Everything until the connection ends."""
        data = b""
        while True:
            try:
                more = self.sock.recv(1 << 16)
            except ConnectionResetError:
                return Received(data, "rst")
            except ssl.SSLEOFError:
                # OpenSSL tells FIN and RST alike: after an RST both directions are gone.
                poller = select.poll()
                poller.register(self.sock, select.POLLIN)
                gone = any(event & select.POLLHUP for _, event in poller.poll(0))
                return Received(data, "rst" if gone else "fin without goodbye")
            if not more:
                return Received(data, "fin")
            data += more
