"""`WWW-Authenticate`: any header line is read, and what it names is used or refused."""

from __future__ import annotations

from fuzz_tokens import HOST, authorizer
from harness import PromiseError, held

from reference.challenge import parse_challenges
from reference.errors import AuthorizationFailed, TransportError

WORDS = [
    *(b"Bearer ", b"Basic ", b"realm=", b"scope=", b"service=", b'"', b"\\", b",", b"=", b" "),
    *(b"\t", b"https://", b"abc==", b"\xff", b"error=", b"\n"),
]
SEEDS = [
    b'Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a:pull"',
    b'Basic realm="x"\nBearer realm="https://auth.test/token"',
    b'Basic realm="a, b", Bearer realm="https://h.test/\\"t\\"", scope="a b c", error="e"',
    b"Basic abc==, Negotiate, Bearer realm=https://h.test",
    b'Bearer realm="http://[::1/token"',
    b'Bearer realm="https://user:pass@h.test:x/?q#f"',
    b"Bearer " + b"a=b," * 2_500,
    b"Bearer " * 2_500,
    b"a," * 2_500,
    b'Bearer realm="' + b"\\" * 5_000,
    b'Bearer realm="' + b"a" * 5_000,
    b"Basic " + b"a" * 2_500 + b"=" * 2_500 + b" " * 2_500,
    b"," * 5_000 + b"\xff",
    b" \t" * 2_500,
    b"Bearer a" + b" " * 5_000 + b"=" + b" " * 5_000,
]


def fuzz_one(data: bytes) -> None:
    """Read header lines, and take from the challenge that is chosen what a token needs."""
    lines = data.decode("latin-1").split("\n")
    with held(data, AuthorizationFailed, TransportError):
        found = parse_challenges(lines)
        if len(found) > len(data):
            raise PromiseError("more challenges than bytes")
        for challenge in found:
            if not challenge.scheme or challenge.scheme != challenge.scheme.lower():
                raise PromiseError(f"the scheme {challenge.scheme!r}")
        ours = authorizer(b"{}")
        chosen = ours.choose(found)
        if chosen is not None:
            scopes = ours.scopes(chosen, "repository:a:pull")
            if chosen.scheme == "bearer":
                ours.fetch(HOST, chosen, scopes)
