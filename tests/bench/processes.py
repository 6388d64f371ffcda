"""Processes: the servers that are measured, each its own process, stopped by its own id."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
CRANE = Path("build", "pullers", "crane", "crane").absolute()
DEADLINE = 60.0


class NotHereError(Exception):
    """A contestant isn't installed."""


def free_port() -> int:
    """A port that was free a moment ago: the peers can't tell which one they took."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Server:
    """One server process on loopback, and what it takes."""

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[str],
        port: int,
        ca: Path | None = None,
        told: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.process = process
        self.port = port
        self.ca = ca
        self.told = told or {}

    @property
    def url(self) -> str:
        """The URL that requests go to."""
        scheme = "http" if self.ca is None else "https"
        return f"{scheme}://localhost:{self.port}"

    @property
    def cpu(self) -> float:
        """Seconds of CPU so far, user and system, in ticks of 10 ms."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, key: str) -> float:
        """A line of /proc/PID/status (VmRSS, RssAnon), in MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) / 1024
        raise KeyError(key)

    def connect(self, alpn: tuple[str, ...] = ()) -> socket.socket:
        """A connection, TLS where the server speaks it, without Nagle's algorithm."""
        sock = socket.create_connection(("127.0.0.1", self.port), DEADLINE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.ca is None:
            return sock
        context = ssl.create_default_context(cafile=str(self.ca))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context.wrap_socket(sock, server_hostname="localhost")

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """One request by http.client; returns the status and the Location."""
        connection: HTTPConnection
        if self.ca is None:
            connection = HTTPConnection("localhost", self.port, timeout=DEADLINE)
        else:
            context = ssl.create_default_context(cafile=str(self.ca))
            connection = HTTPSConnection("localhost", self.port, timeout=DEADLINE, context=context)
        with contextlib.closing(connection):
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("Location") or ""

    def push_manifest(self, repository: str, layers: int = 8) -> str:
        """Push a small image by HTTP as any client would; returns the manifest's digest."""
        config = self.push_blob(repository, b"{}")
        parts = [self.push_blob(repository, b"layer %d" % number) for number in range(layers)]
        kind = "application/vnd.oci.image."
        document = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{kind}manifest.v1+json",
                "config": {"mediaType": f"{kind}config.v1+json", "digest": config, "size": 2},
                "layers": [
                    {"mediaType": f"{kind}layer.v1.tar+gzip", "digest": one, "size": 7}
                    for one in parts
                ],
            }
        ).encode()
        status, _ = self.ask(
            "PUT",
            f"/v2/{repository}/manifests/v1",
            document,
            Content_Type=f"{kind}manifest.v1+json",
        )
        if status != 201:
            raise RuntimeError(f"{self.name} answered {status} to the manifest")
        return "sha256:" + hashlib.sha256(document).hexdigest()

    def push_blob(self, repository: str, data: bytes) -> str:
        """Push a blob in one piece; returns its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        _, location = self.ask("POST", f"/v2/{repository}/blobs/uploads/", Content_Length="0")
        path = (
            "/" + location.partition("://")[2].partition("/")[2] if "://" in location else location
        )
        path += ("&" if "?" in path else "?") + f"digest={digest}"
        status, _ = self.ask("PUT", path, data, Content_Type="application/octet-stream")
        if status != 201:
            raise RuntimeError(f"{self.name} answered {status} to a blob")
        return digest

    def face(self, name: str) -> Server:
        """Another face of our own process: `h2` speaks HTTP/2 as well."""
        return Server(self.name, self.process, self.told[name], self.ca, self.told)

    def stop(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        else:
            self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/v2/")[0] == 200
        except OSError:
            return False

    def wait(self) -> Server:
        """Wait until it answers."""
        deadline = time.monotonic() + DEADLINE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} doesn't answer")
            time.sleep(0.05)
        return self


def fakeregistry(folder: Path, *, blob: Path | None = None) -> tuple[Server, Server]:
    """Our registry in a process of its own: its plain face, and its TLS face."""
    command = [sys.executable, str(Path(__file__).with_name("server.py")), str(folder)]
    if blob is not None:
        command.append(str(blob))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("our own server doesn't start")
    told = json.loads(line)
    ca = Path(told["ca"])
    return (
        Server("fakeregistry", process, told["plain"], None, told),
        Server("fakeregistry", process, told["tls"], ca, told),
    )


def docker_registry(folder: Path, tls: Path | None = None) -> Server:
    """Debian's docker-registry, as it serves best: no access log, its cache on.

    `tls`: the folder with ca.crt, server.crt and server.key.
    """
    binary = shutil.which("docker-registry")
    if binary is None:
        raise NotHereError("docker-registry isn't installed: apt install docker-registry")
    port = free_port()
    http: dict[str, Any] = {"addr": f"127.0.0.1:{port}"}
    if tls is not None:
        http["tls"] = {"certificate": str(tls / "server.crt"), "key": str(tls / "server.key")}
    config = folder / f"docker-registry-{port}.json"
    config.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {
                    "cache": {"blobdescriptor": "inmemory"},
                    "filesystem": {"rootdirectory": str(folder / "docker-registry")},
                },
                "http": http,
            }
        )
    )
    process = subprocess.Popen(
        [binary, "serve", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    ca = None if tls is None else tls / "ca.crt"
    return Server("docker-registry", process, port, ca).wait()


def crane(folder: Path) -> Server:
    """`crane registry serve`, with its blobs on disk. It speaks plain HTTP only."""
    if not CRANE.exists():
        raise NotHereError("crane isn't installed: nox -s pullers -- --install")
    port = free_port()
    disk = folder / "crane"
    disk.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [str(CRANE), "registry", "serve", "--address", f"127.0.0.1:{port}", "--disk", str(disk)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return Server("crane", process, port).wait()


def lay(folder: Path, blob: Path, digest: str) -> None:
    """Let both peers have a blob by hard links, as they keep their blobs themselves."""
    algorithm, _, value = digest.partition(":")
    v2 = folder / "docker-registry" / "docker" / "registry" / "v2"
    kept = v2 / "blobs" / algorithm / value[:2] / value / "data"
    link = v2 / "repositories" / "big" / "_layers" / algorithm / value / "link"
    for path in (kept, link, folder / "crane" / algorithm / value):
        path.parent.mkdir(parents=True, exist_ok=True)
    link.write_text(digest)
    os.link(blob, kept)
    os.link(blob, folder / "crane" / algorithm / value)


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Stop servers at the end; two faces of one process are stopped once."""
    try:
        yield
    finally:
        for process in {id(one.process): one for one in servers}.values():
            process.stop()
