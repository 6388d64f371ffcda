"""The answers of a token server: a token that can be sent, or a refusal that tells no secret."""

from __future__ import annotations

import json
import string

import httpx
from harness import SECRET, PromiseError, deep_documents, held, odd_documents

from reference.auth import Authorizer
from reference.challenge import Challenge
from reference.config import AuthConfig, Config
from reference.errors import AuthorizationFailed, TransportError
from reference.hosts import Host
from reference.progress import Cancellation, ProgressReporter
from reference.tls import TLSOptions
from reference.transport import Transport

HOST = Host("https", "registry.test")
CHALLENGE = Challenge("bearer", {"realm": "https://auth.test/token", "service": "registry.test"})
_FORMS = ("token", "access_token")
WORDS = [
    *(b'"token"', b'"access_token"', b'"expires_in"', b":", b",", b"{", b"}", b"[", b"]", b"null"),
    *(b"1e999", b"-1", b"NaN", b"Infinity", b'"\\ud800"', b"\xef\xbb\xbf", b"\0", b"true"),
]
SEEDS = [
    *(b"", b"[]", b"null", b'"x"', b"\xff", b"{}", b'{"token":"a"}{', b"\xef\xbb\xbf{}"),
    *odd_documents({"token": "abc", "expires_in": 300, "issued_at": "2020-01-01T00:00:00Z"}),
    *odd_documents({"access_token": "abc", "refresh_token": "r", "expires_in": 1.5}),
    *deep_documents('{"token":', "}"),
    json.dumps({"token": "a\r\nX: y"}).encode(),
    json.dumps({"details": SECRET}).encode(),
    b'{"token":"abc","expires_in":' + b"9" * 5000 + b"}",
    '{"token":"abc"}'.encode("utf-16"),
]


class OneAnswer(Transport):
    """Answers every request with the same body."""

    def __init__(self, body: bytes) -> None:
        config, cancellation = Config(), Cancellation()
        super().__init__(config, cancellation, ProgressReporter(config, "x", cancellation))
        self.body = body

    def wire(
        self, scheme: str, tls: TLSOptions, proxy: str | None, *, http2: bool = False
    ) -> httpx.BaseTransport:
        return httpx.MockTransport(lambda request: httpx.Response(200, content=self.body))


def authorizer(body: bytes) -> Authorizer:
    """Somebody with a password, whose token server gives that answer."""
    return Authorizer(OneAnswer(body), AuthConfig(username="u", password=SECRET))


def fuzz_one(data: bytes) -> None:
    """Fetch a token with a password, and one without."""
    for auth in (AuthConfig(username="u", password=SECRET), None):
        with held(data, AuthorizationFailed, TransportError, secret=True):
            token = Authorizer(OneAnswer(data), auth).fetch(HOST, CHALLENGE, ("a",))
            if not token.value or set(token.value) - set(string.printable.strip()):
                raise PromiseError(f"the token {token.value!r} can't be sent")
            if not 0 < token.expires < 10**10:
                raise PromiseError(f"a token until {token.expires}")
