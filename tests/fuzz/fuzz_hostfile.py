"""`hosts.toml`: understood as a whole, or refused with what is wrong."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from harness import ODD, SECRET, PromiseError, held, odd_values
from toml_text import DEEP_TOML, toml

from reference.config import Config
from reference.errors import ConfigError
from reference.hosts import Hosts

NAMESPACE = "registry.test"
FULL = {
    "server": "https://registry.test/v2",
    "capabilities": ["pull", "resolve"],
    "ca": "ca.pem",
    "skip_verify": False,
    "host": {
        f"https://mirror.test:5000/a?{SECRET}": {
            "capabilities": ["pull", "resolve", "push"],
            "ca": ["ca.pem"],
            "client": [["cert.pem", "key.pem"]],
            "skip_verify": True,
            "header": {"authorization": [SECRET], "x": "y"},
            "override_path": True,
            "dial_timeout": "1m30s",
        },
        f"http://user:{SECRET}@h.test": {},
    },
}
WORDS = [
    *(b"[host]", b'[host."https://m.test"]', b"server = ", b"ca = ", b"client = ", b"header"),
    *(b"capabilities = ", b"skip_verify = true", b"dial_timeout = ", b"override_path = true"),
    *(b'"', b"'", b"[", b"]", b"{", b"}", b"=", b".", b"\n", b"#", b'"""', b"\\u0000", b"1e5"),
    *(b"http://", b"https://[::1", b"@", b":x", b"..", b"9" * 400 + b"s", "\u0661s".encode()),
]
SEEDS = [
    *(b"", b"\xff", b"\xef\xbb\xbfserver = 'x'", b" \n", b"host = 1", b"[[host]]\na = 1"),
    toml(FULL),
    *(toml(odd) for odd in odd_values(FULL, [odd for odd in ODD if odd is not None])),
    *DEEP_TOML,
    *(b'[host."%s"]\n' % url for url in (b"[::1]:5000", b"m.test:99999", b"m.test/v2", b"a b")),
    *(b'dial_timeout = "%s"' % text for text in (b"9" * 400 + b"s", b"1e5s", b"-1s", b"h", b"0")),
    'dial_timeout = "\u0661s"'.encode(),
]


def fuzz_one(data: bytes) -> None:
    """Write the file into a tree of hosts, and find the hosts of a registry by it."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-hosts-"))
    try:
        (folder / NAMESPACE).mkdir()
        (folder / NAMESPACE / "hosts.toml").write_bytes(data)
        with held(data, ConfigError, secret=only_where_secret(data), steps=(40_000, 100)):
            for host in Hosts(Config(config_path=(folder,))).of(NAMESPACE):
                check(host.url("a", "manifests", "v1", NAMESPACE), host.dial_timeout)
    finally:
        shutil.rmtree(folder)


def check(url: str, timeout: float | None) -> None:
    """What a request is made of can be used for one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "@" in parts.netloc:
        raise PromiseError(f"a host is asked for {url!r}")
    if timeout is not None and not 0 <= timeout < 10**10:
        raise PromiseError(f"a connection may take {timeout} seconds")


def only_where_secret(data: bytes) -> bool:
    """Whether the secret stands where a message must not repeat it, and nowhere else."""
    secret = SECRET.encode()
    hidden = (b'["%s"]' % secret, b"?%s" % secret, b":%s@" % secret)
    return data.count(secret) == sum(map(data.count, hidden)) and b"\\" not in data
