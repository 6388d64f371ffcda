"""Files of logins, and what credential helpers say: credentials that can be sent, or a refusal."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest.mock import patch

from harness import SECRET, PromiseError, deep_documents, held, odd_documents

from reference.auth import Authorizer, parse_auth
from reference.config import AuthConfig, Config
from reference.errors import AuthError, ConfigError
from reference.hosts import Host
from reference.logins import login, understood
from reference.names import Names
from reference.progress import Cancellation, ProgressReporter
from reference.transport import Transport

NAMES = [Names().parse(text) for text in ("registry.test/a/b:v1", "app", "localhost:5000/x")]
FILE = {
    "auths": {
        "registry.test/a": {"auth": "dTpw", "identitytoken": ""},
        "https://registry.test/v2/": {"username": "u", "password": SECRET},
        "https://index.docker.io/v1/": {"auth": "", "identitytoken": SECRET},
        "localhost:5000": {"auth": "dTo="},
    },
    "credHelpers": {"registry.test": "", "[": "x/y"},
    "credsStore": "",
}
ANSWER = {"ServerURL": "registry.test", "Username": "u", "Secret": SECRET}
WORDS = [
    *(b'"auths"', b'"credHelpers"', b'"credsStore"', b'"auth"', b'"username"', b'"password"'),
    *(b'"identitytoken"', b'"Username"', b'"Secret"', b"<token>", b"null", b"[", b"]", b"{", b"}"),
    *(b":", b",", b"\\ud800", b"\\u0000", b"https://", b"http://[", b"/", b"registry.test", b"@"),
]
SEEDS = [
    *(kind + text for kind in (b"\0", b"\1") for text in (b"", b"[]", b"\xff", b"{}", b"null")),
    *(b"\0" + text for text in odd_documents(FILE)),
    *(b"\1" + text for text in odd_documents(ANSWER)),
    *(b"\0" + text for text in deep_documents('{"auths":', "}")),
    *(b"\1" + text for text in deep_documents('{"Secret":', "}")),
    b'\1{"Username":"<token>","Secret":"x"}',
    b'\0{"credsStore":"no-helper-is-called-that"}',
    b'\0{"credsStore":"../x"}',
]


def fuzz_one(data: bytes) -> None:
    """Find the logins of three images in a file; or understand what a helper says, by a 1."""
    if data[:1] == b"\1":
        with held(data, AuthError, secret=known(data)):
            send(understood(data[1:], "helper"), "registry.test")
        return
    with (
        tempfile.NamedTemporaryFile(prefix="fuzz-logins-") as file,
        patch("reference.logins.ask", return_value=None),  # nothing is run here
    ):
        file.write(data[1:])
        file.flush()
        for name in NAMES:
            with held(data, ConfigError, AuthError, secret=known(data)):
                send(login(name, [Path(file.name)]), name.domain)


def send(auth: AuthConfig | None, domain: str) -> None:
    """The header that the credentials become."""
    found = parse_auth(auth, domain)
    if not found.username or not found.secret:
        return
    config, cancellation = Config(), Cancellation()
    transport = Transport(config, cancellation, ProgressReporter(config, "x", cancellation))
    header = Authorizer(transport, auth).basic(Host("https", domain))
    if not header.isascii() or not header.isprintable():
        raise PromiseError(f"the header {header!r} can't be sent")


def known(data: bytes) -> bool:
    """Whether the secret is only where a message must not repeat it."""
    secret = SECRET.encode()
    keys = (b"password", b"identitytoken", b"Secret")
    found = sum(data.count(b'"%s": "%s"' % (key, secret)) for key in keys)
    return data.count(secret) == found and b"\\" not in data
