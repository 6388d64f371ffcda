"""A client that asks by HTTP/2 for the same small thing, over and over, on one connection."""

from __future__ import annotations

import ssl
import struct
import time
from contextlib import closing

import hpack
from clients import ACCEPT
from processes import Server

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _WINDOW_UPDATE = 0, 1, 4, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_MOST = 2**31 - 1


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def latencies(server: Server, path: str, count: int, seconds: float = 10.0) -> list[float]:
    """Ask one after the other on one connection; returns the time of each, in ms."""
    fields = [
        *((":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)),
        *(("user-agent", "containerd/2.0.0"), ("accept", ACCEPT)),
    ]
    encoder = hpack.Encoder()
    # The first head fills the table of both sides: the others are as short as a puller's.
    heads = [encoder.encode(fields), encoder.encode(fields)]
    times: list[float] = []
    clock = time.perf_counter
    deadline = clock() + seconds
    with closing(server.connect(("h2",))) as sock:
        assert isinstance(sock, ssl.SSLSocket)
        if sock.selected_alpn_protocol() != "h2":
            raise RuntimeError(f"{server.name} doesn't speak HTTP/2")
        window = _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _MOST - 65_535))
        sock.sendall(_PREFACE + _frame(_SETTINGS, 0, 0) + window)
        came = b""
        for number in range(count):
            stream = 2 * number + 1
            head = heads[min(number, 1)]
            start = clock()
            sock.sendall(_frame(_HEADERS, _END_STREAM | _END_HEADERS, stream, head))
            ended = False
            while not ended:
                data = sock.recv(1 << 16)
                if not data:
                    raise RuntimeError("the server closed the connection")
                came += data
                while len(came) >= 9:
                    length = int.from_bytes(came[:3], "big")
                    if len(came) < 9 + length:
                        break
                    kind, flags = came[3], came[4]
                    if kind == _SETTINGS and not flags & _ACK:
                        sock.sendall(_frame(_SETTINGS, _ACK, 0))
                    ended = ended or (kind in (_DATA, _HEADERS) and bool(flags & _END_STREAM))
                    came = came[9 + length :]
            now = clock()
            times.append((now - start) * 1000)
            if now > deadline:
                break
    return times
