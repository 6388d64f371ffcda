"""The measures: what is started, what one round does, and what it should come to.

A measure is a generator function: it starts its contestants, yields a function that plays one
round into a table, and stops them when it is closed.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import h2client
import processes
from clients import curl, latencies, median, request
from figures import Aim, Table
from processes import NotHereError, Server, running

GIB = 1 << 30
Round = Callable[[Table], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Measure:
    """One measure: `play` starts what it needs in a folder on tmpfs, and yields its round."""

    name: str
    about: str
    play: Callable[[Path, list[str]], Iterator[Round]]
    aims: tuple[Aim, ...] = ()


def large_file(folder: Path, size: int) -> tuple[Path, str]:
    """An incompressible file named by its own sha256; returns it and its digest."""
    chunk = random.Random(0).randbytes(1 << 20)
    path = folder / "blob"
    digest = sha256()
    with path.open("wb") as file:
        for number in range(size >> 20):
            piece = number.to_bytes(8, "big") + chunk[8:]
            file.write(piece)
            digest.update(piece)
    named = path.rename(folder / digest.hexdigest())
    return named, f"sha256:{named.name}"


def peers(notes: list[str], *starts: Callable[[], T]) -> list[T]:
    """Start the peers that are installed; the others are noted."""
    found = []
    for start in starts:
        try:
            found.append(start())
        except NotHereError as missing:
            notes.append(str(missing))
    return found


# large bodies


def blob(folder: Path, notes: list[str]) -> Iterator[Round]:
    """A blob of 1 GiB, by HTTP and by HTTPS, to curl."""
    path, digest = large_file(folder, GIB)
    processes.lay(folder, path, digest)
    plain, secure = processes.fakeregistry(folder, blob=path)
    others = peers(
        notes,
        lambda: processes.docker_registry(folder),
        lambda: processes.docker_registry(folder, folder_of_ca(secure)),
        lambda: processes.crane(folder),
    )
    servers = [plain, secure, *others]
    target = f"/v2/big/blobs/{digest}"

    def play(table: Table) -> None:
        for server in servers:
            face = "HTTP" if server.ca is None else "HTTPS"
            before = server.cpu
            seconds = curl(server, target)
            table.add(server.name, f"{face} speed", "MB/s", GIB / seconds / 1e6)
            table.add(server.name, f"{face} server CPU", "s", server.cpu - before)

    with running(*servers):
        yield play


def folder_of_ca(server: Server) -> Path:
    """Where our server has put its certificate and the CA."""
    assert server.ca is not None
    return server.ca.parent


def memory(folder: Path, notes: list[str]) -> Iterator[Round]:
    """The memory of our own server's process while curl fetches a blob of 2 GiB."""
    path, digest = large_file(folder, 2 * GIB)
    servers = processes.fakeregistry(folder, blob=path)

    def play(table: Table) -> None:
        for server in servers:
            face = "HTTP" if server.ca is None else "HTTPS"
            before = server.memory("RssAnon")
            most = before
            done = threading.Event()

            def fetch(server: Server = server, done: threading.Event = done) -> None:
                try:
                    curl(server, f"/v2/big/blobs/{digest}")
                finally:
                    done.set()

            thread = threading.Thread(target=fetch)
            thread.start()
            while not done.wait(0.01):
                most = max(most, server.memory("RssAnon"))
            thread.join()
            table.add("fakeregistry", f"{face} anonymous memory", "MiB", most)
            table.add("fakeregistry", f"{face} growth", "MiB", most - before)

    with running(*servers):
        yield play


# small ones


def manifest(folder: Path, notes: list[str]) -> Iterator[Round]:
    """A manifest of some 1.5 kB, over and over, on one kept-alive connection.

    `fresh` has a header that no request had before, so that nothing kept of an earlier one helps.
    """
    plain, secure = processes.fakeregistry(folder)
    others = peers(
        notes,
        lambda: processes.docker_registry(folder),
        lambda: processes.docker_registry(folder, folder_of_ca(secure)),
        lambda: processes.crane(folder),
    )
    servers = [plain, secure, *others]
    fresh = itertools.count()

    def play(table: Table) -> None:
        for server, digest in digests.items():
            face = "HTTP" if server.ca is None else "HTTPS"
            path = f"/v2/app/web/manifests/{digest}"
            before = server.cpu
            times = latencies(server, itertools.repeat(request(path), 3000), 3)
            cpu = (server.cpu - before) / len(times) * 1e6
            table.add(server.name, f"{face} median", "ms", median(times))
            table.add(server.name, f"{face} rate by median", "/s", 1000 / median(times))
            table.add(server.name, f"{face} rate by mean", "/s", 1000 * len(times) / sum(times))
            table.add(server.name, f"{face} server CPU", "us", cpu)
            table.add(server.name, f"{face} 99th", "ms", sorted(times)[len(times) * 99 // 100])
            if server in (plain, secure):
                each = (request(path, f"X-Fresh: {next(fresh)}") for _ in range(1000))
                table.add(
                    server.name, f"{face} fresh median", "ms", median(latencies(server, each))
                )

    with running(*servers):
        digests = {server: server.push_manifest("app/web") for server in servers}
        yield play


# lives


def life(folder: Path, notes: list[str]) -> Iterator[Round]:
    """A registry with TLS and token auth, started and stopped; stock pytest-httpserver likewise."""

    def play(table: Table) -> None:
        ours = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("lives.py"))],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        for line in ours.stdout.splitlines():
            name, figure, value = line.split("\t")
            table.add(name, figure, "ms", float(value))

    yield play


def suite(folder: Path, notes: list[str]) -> Iterator[Round]:
    """What a test with a registry and three requests takes more than an empty one, in pytest."""
    here = Path(__file__).parent
    empty, full, secure = (folder / f"test_{name}.py" for name in ("empty", "full", "secure"))
    pattern = (here / "suite_case.txt").read_text()
    empty.write_text(
        "import pytest\n\n@pytest.mark.parametrize('n', range(500))\ndef test_empty(n):\n    pass\n"
    )
    full.write_text(pattern.replace("SECURE", "False"))
    secure.write_text(pattern.replace("SECURE", "True"))

    def timed(path: Path) -> float:
        start = time.perf_counter()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0"]
        subprocess.run(
            [*command, f"--rootdir={folder}", f"--basetemp={folder}/tmp", str(path)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            timeout=300,
            check=True,
        )
        return time.perf_counter() - start

    def play(table: Table) -> None:
        base = timed(empty)
        for path, name in ((full, "a case over HTTP"), (secure, "a case over HTTPS")):
            table.add("fakeregistry", name, "ms", (timed(path) - base) / 500 * 1000)

    yield play


# stalls


def stalls(folder: Path, notes: list[str]) -> Iterator[Round]:
    """A thousand answers that stand still on one registry, and one more client."""
    path, digest = large_file(folder, 1 << 20)
    plain, secure = processes.fakeregistry(folder, blob=path)
    ask = request(f"/v2/big/blobs/{digest}", "X-Stall: yes")

    def play(table: Table) -> None:
        for server in (plain, secure):
            face = "HTTP" if server.ca is None else "HTTPS"
            before = server.memory("VmRSS")
            with contextlib.ExitStack() as stack:
                held = [
                    stack.enter_context(contextlib.closing(server.connect())) for _ in range(1000)
                ]
                for sock in held:
                    sock.sendall(ask)
                _all_answered(held)
                settle(server)
                rss, cpu = server.memory("VmRSS"), server.cpu
                time.sleep(2)
                table.add("fakeregistry", f"{face} CPU in 2 s", "s", server.cpu - cpu)
                table.add("fakeregistry", f"{face} resident", "MiB", rss)
                table.add("fakeregistry", f"{face} per stall", "KiB", (rss - before) * 1024 / 1000)
                times = [latencies(server, iter([request("/v2/")]))[0] for _ in range(50)]
                table.add("fakeregistry", f"{face} next request", "ms", median(times))

    with running(plain, secure):
        yield play


def settle(server: Server, seconds: float = 10) -> None:
    """Wait until a server has done what it was asked: its CPU stands still for half a second."""
    deadline = time.monotonic() + seconds
    before = -1.0
    while server.cpu != before and time.monotonic() < deadline:
        before = server.cpu
        time.sleep(0.5)


def _all_answered(held: list) -> None:  # type: ignore[type-arg]
    """Wait until each connection has brought something: then its answer stands still."""
    with selectors.DefaultSelector() as selector:
        for sock in held:
            selector.register(sock, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(30)
            if not ready:
                raise RuntimeError("some stalled connections got no answer")
            for key, _ in ready:
                selector.unregister(key.fileobj)


# HTTP/2


def http2(folder: Path, notes: list[str]) -> Iterator[Round]:
    """HTTP/2 over TLS: the blob to curl, and a small manifest on one connection."""
    path, digest = large_file(folder, GIB)
    processes.lay(folder, path, digest)
    ours = processes.fakeregistry(folder, blob=path)[1].face("h2")
    others = peers(notes, lambda: processes.docker_registry(folder, folder_of_ca(ours)))
    target = f"/v2/big/blobs/{digest}"
    servers = [ours, *others]

    def play(table: Table) -> None:
        for server in servers:
            for option, name in (("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")):
                before = server.cpu
                seconds = curl(server, target, option)
                table.add(server.name, f"{name} speed", "MB/s", GIB / seconds / 1e6)
                table.add(server.name, f"{name} server CPU", "s", server.cpu - before)
            small = f"/v2/app/web/manifests/{manifests[server]}"
            before = server.cpu
            times = h2client.latencies(server, small, 2000, 3)
            cpu = (server.cpu - before) / len(times) * 1e6
            table.add(server.name, "HTTP/2 manifest median", "ms", median(times))
            table.add(server.name, "HTTP/2 manifest rate by median", "/s", 1000 / median(times))
            table.add(server.name, "HTTP/2 manifest server CPU", "us", cpu)

    with running(*servers):
        manifests = {server: server.push_manifest("app/web") for server in servers}
        yield play


MEASURES = (
    Measure(
        "blob",
        "a blob of 1 GiB to curl",
        blob,
        (
            Aim("HTTP speed", ">=", 2.0, "docker-registry"),
            Aim("HTTP speed", ">=", 4.0, "crane"),
            Aim("HTTP server CPU", "<=", 0.5, "docker-registry"),
            Aim("HTTPS speed", ">=", 1.0, "docker-registry"),
        ),
    ),
    Measure(
        "manifest",
        "a small manifest over one kept-alive connection, with routing, rules and journal on",
        manifest,
        (
            Aim("HTTP rate by median", ">=", 10.0, "docker-registry"),
            Aim("HTTP rate by median", ">=", 1.0, "crane"),
            Aim("HTTPS median", "<=", 0.3),
        ),
    ),
    Measure(
        "life",
        "a registry with TLS and token auth, started and stopped in one process",
        life,
        (Aim("start and stop", "<=", 1.0),),
    ),
    Measure(
        "stalls",
        "1,000 stalled connections held at once on one registry",
        stalls,
        (
            Aim("HTTP resident", "<=", 200),
            Aim("HTTP CPU in 2 s", "<=", 0.02),
            Aim("HTTP next request", "<=", 5),
            Aim("HTTPS resident", "<=", 200),
            Aim("HTTPS CPU in 2 s", "<=", 0.02),
            Aim("HTTPS next request", "<=", 5),
        ),
    ),
    Measure(
        "memory",
        "memory while a blob of 2 GiB is served",
        memory,
        (Aim("HTTP growth", "<=", 8), Aim("HTTPS growth", "<=", 8)),
    ),
    Measure(
        "http2",
        "HTTP/2 beside HTTP/1.1, both over TLS: a blob of 1 GiB to curl, and a small manifest",
        http2,
    ),
    Measure(
        "suite",
        "500 tests with a registry and three requests each, less 500 empty ones",
        suite,
        (Aim("a case over HTTP", "<=", 3.0), Aim("a case over HTTPS", "<=", 5.0)),
    ),
)

__all__ = ["MEASURES", "Measure", "Round", "peers"]
