"""What comes over a connection: any bytes end in content, or in an error that names the host."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import httpcore
import httpx
from harness import MIB, SECRET, deep_documents, held, odd_documents

from reference.auth import Authorizer
from reference.config import AuthConfig, Config
from reference.descriptors import OCI_LAYER, OCI_MANIFEST, Descriptor
from reference.errors import PullError
from reference.fetch import Fetcher
from reference.hosts import Host
from reference.names import Name
from reference.progress import Cancellation, ProgressReporter
from reference.remote import Remote
from reference.resolve import Resolver
from reference.store import Store
from reference.tls import TLSOptions
from reference.transport import Transport
from reference.wire import Wire

HOST = Host("http", "registry.test")
NAME = Name("registry.test", "app", "v1")
BLOB = b"a blob" * 20
LAYER = Descriptor.of(OCI_LAYER, BLOB)
CUT = b"\n--next--\n"
"""Between the answers of an input; a connection gives one after the other."""


def answer(status: str, *fields: str, body: bytes = b"") -> bytes:
    """The bytes of an answer."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


_MANIFEST = json.dumps({"schemaVersion": 2}).encode()
_TYPE = f"Content-Type: {OCI_MANIFEST}"
_DIGEST = f"Docker-Content-Digest: sha256:{hashlib.sha256(_MANIFEST).hexdigest()}"
_DENIED = answer("401 No", 'WWW-Authenticate: Bearer realm="http://registry.test/token"')
ECHO = answer("401 No", "WWW-Authenticate: Basic") + CUT
"""Has the password sent; what follows may repeat it."""
_ERRORS = {"errors": [{"code": "C", "message": f"no {SECRET}"}]}
WORDS = [
    *(b"\r\n", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 ", b"206", b"401", b"404", b"302"),
    *(b"100 C", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"5\r\nabc"),
    *(
        b"Content-Encoding: gzip\r\n",
        b"Location: /x\r\n",
        b"Location: http://[\r\n",
        b"\xff",
        b"\0",
    ),
    *(b"Content-Range: bytes 0-1/2\r\n", b"Retry-After: 1\r\n", b"WWW-Authenticate: ", CUT, b","),
    *(b"Docker-Content-Digest: ", b"Connection: close\r\n", b"text/plain"),
]
SEEDS = [
    *(b"", b"x", b"\xff" * 100, b"HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    answer("200 OK", _TYPE, _DIGEST, body=_MANIFEST),
    answer("200 OK", _TYPE, body=_MANIFEST),
    answer("200 OK", body=BLOB),
    answer("200 OK", "Content-Encoding: gzip", body=BLOB),
    answer("200 OK", "Content-Encoding: br", body=BLOB),
    answer("206 Part", "Content-Range: bytes 0-119/120", body=BLOB),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n78\r\n" + BLOB + b"\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n" + BLOB,
    b"HTTP/1.1 100 C\r\n\r\n" * 50,
    *(answer(f"{code} X", f"Location: {to}") for code in (301, 307) for to in ("/x", "http://[")),
    *(answer("302 X", f"Location: {to}") for to in ("", "ftp://x/", "http://u:p@h.test:x/", "//")),
    answer("302 X", f"Location: http://other.test/?sig={SECRET}"),
    answer("302 X", f"Location http://other.test/?sig={SECRET}"),
    _DENIED + CUT + answer("200 OK", body=b'{"token":"abc"}') + CUT + answer("403 No"),
    *(answer("401 No", f"WWW-Authenticate: {said}") for said in ("Basic", "Bearer", "x", ",")),
    answer("401 No", 'WWW-Authenticate: Bearer realm="http://[/token"'),
    answer("429 No", "Retry-After: Wed, 99 Foo 99999 99:99:99 GMT"),
    answer("429 No", "Retry-After: 999999999"),
    answer("200 OK", "Docker-Content-Digest: md5:x", _TYPE, body=_MANIFEST),
    answer("200 OK", "Content-Type: text/plain", body=b"{}"),
    *(ECHO + answer("404 No", body=text) for text in odd_documents(_ERRORS)),
    *(answer("404 No", body=text) for text in deep_documents('{"errors":[{"code":', "}]}")),
]


class Bytes(Transport):
    """Every connection gives the same answers."""

    def __init__(self, config: Config, answers: list[bytes]) -> None:
        cancellation = Cancellation()
        super().__init__(config, cancellation, ProgressReporter(config, "x", cancellation))
        self.answers = answers

    def wire(
        self, scheme: str, tls: TLSOptions, proxy: str | None, *, http2: bool = False
    ) -> httpx.BaseTransport:
        made: Any = Wire(httpcore.MockBackend(self.answers), None)
        self._open.callback(made.close)
        return made


def known(data: bytes) -> bool:
    """Whether the secret is only where a message must not repeat it."""
    secret = SECRET.encode()
    echoed = data.count(b'"message": "no %s"' % secret) if data.startswith(ECHO) else 0
    return data.count(secret) == echoed + data.count(b"test/?sig=%s" % secret)


def fuzz_one(data: bytes) -> None:
    """Resolve a tag and fetch a blob from a registry that says just this."""
    answers = [part for part in data.split(CUT) if part]
    config = Config(
        retry_attempts=0, resume_attempts=0, max_manifest_size=MIB, max_redirects=3, trust_env=False
    )
    folder = Path(tempfile.mkdtemp(prefix="fuzz-answers-"))
    try:
        store = Store(folder)
        with held(data, PullError, secret=known(data), steps=(200_000, 400)):
            with Bytes(config, answers) as transport:
                auth = Authorizer(transport, AuthConfig(username="u", password=SECRET))
                remote = Remote(config, transport, auth, NAME)
                Resolver(config, remote).resolve(NAME, (HOST,))
        with held(data, PullError, steps=(200_000, 400)):
            with Bytes(config, answers) as transport:
                remote = Remote(config, transport, Authorizer(transport, None), NAME)
                Fetcher(config, remote, (HOST,), store).fetch(LAYER)
                assert store.read(LAYER.digest, MIB) == BLOB
    finally:
        shutil.rmtree(folder)
