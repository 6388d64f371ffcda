"""Image names: what is accepted has one meaning, and can be asked for."""

from __future__ import annotations

from harness import PromiseError, held

from reference.config import Config
from reference.errors import HostsConfigError, InvalidReference
from reference.hosts import Hosts
from reference.names import LONGEST_PATH, Names

DIGEST = "sha256:" + "0a" * 32
WORDS = [
    *(b"/", b":", b"@", b".", b"-", b"__", b"[::1]", b":5000", b"localhost", b"docker.io"),
    *(b"index.docker.io", b"library/", b"sha256:", b"sha512:", b"A", b"\0", b"\n", b"..", b"%2f"),
    *("é".encode(), "\u0661".encode(), b"a" * 130),
]
SEEDS = [
    text.encode()
    for text in (
        *("", "/", ":", "@", "app", "app:v1", "a/b", "docker.io/app", "index.docker.io/a"),
        *("registry.test/app/web:v1", "localhost/app", "localhost:5000/app", "[::1]:5000/a/b"),
        *(f"app@{DIGEST}", f"r.test/app:v1@{DIGEST}", "app@sha512:" + "0" * 128, "0a" * 32),
        *("a." * 3000 + "b/c", "a-" * 3000 + "/c", "x/" + "a__" * 1000, "x/" + "a-" * 20_000),
        *("r.test/" + "a" * 300, "a" * 100_000, "a/" * 50_000, "A/b", "r.test:99999999/a"),
    )
]


def fuzz_one(data: bytes) -> None:
    """Parse a name, parse what it became, and make the URL of its manifest."""
    text = data.decode("utf-8", "replace")
    with held(data, InvalidReference, HostsConfigError):
        name = Names().parse(text)
        if len(name.path) > LONGEST_PATH or (name.tag is None) == (name.digest is None):
            raise PromiseError(f"{text!r} became {name}")
        if Names().parse(str(name)) != name:
            raise PromiseError(f"{text!r} became {name}, which is another one")
        for host in Hosts(Config()).of(name.domain):
            url = host.url(name.path, "manifests", name.object, name.domain)
            if not url.isascii() or not url.isprintable():
                raise PromiseError(f"{text!r} is asked for as {url!r}")
