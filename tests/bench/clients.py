"""Clients: curl for large bodies, raw sockets for small ones. Each has a deadline."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing

from processes import DEADLINE, NotHereError, Server

ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"


def curl(server: Server, path: str, *options: str) -> float:
    """Fetch a path by curl and throw it away; returns its own time in seconds."""
    program = shutil.which("curl")
    if program is None:
        raise NotHereError("curl isn't installed")
    command = [program, "-sS", "--fail", "-o", "/dev/null", "-w", "%{time_total}", *options]
    if server.ca is not None:
        command += ["--cacert", str(server.ca)]
    done = subprocess.run(
        [*command, server.url + path], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise RuntimeError(f"curl: {done.stderr.strip()}")
    return float(done.stdout)


def request(path: str, *lines: str) -> bytes:
    """A GET as a puller writes it."""
    fields = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "User-Agent: containerd/2.0.0",
        f"Accept: {ACCEPT}",
        "Accept-Encoding: gzip",
        *lines,
    ]
    return ("\r\n".join(fields) + "\r\n\r\n").encode()


def latencies(server: Server, requests: Iterator[bytes], seconds: float = 10.0) -> list[float]:
    """Ask one after the other on one kept-alive connection; returns the time of each, in ms.

    It ends early, after so many seconds, with a slow server.
    """
    times: list[float] = []
    clock = time.perf_counter
    deadline = clock() + seconds
    with closing(server.connect()) as sock:
        send, receive = sock.sendall, sock.recv
        for one in requests:
            start = clock()
            send(one)
            data = receive(1 << 16)
            head = data.find(b"\r\n\r\n") + 4
            while head < 4:
                data += _more(receive(1 << 16))
                head = data.find(b"\r\n\r\n") + 4
            missing = head + _length(data[:head]) - len(data)
            while missing > 0:
                missing -= len(_more(receive(1 << 16)))
            now = clock()
            times.append((now - start) * 1000)
            if now > deadline:
                break
        if not data.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"{server.name} answered {data[:60]!r}")
    return times


def _more(data: bytes) -> bytes:
    if not data:
        raise RuntimeError("the server closed the connection")
    return data


def _length(head: bytes) -> int:
    lower = head.lower()
    start = lower.index(b"content-length:") + 15
    return int(lower[start : lower.index(b"\r", start)])


def median(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)


__all__ = ["DEADLINE", "curl", "latencies", "median", "request"]
