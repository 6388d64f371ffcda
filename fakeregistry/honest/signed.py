"""Signed URLs, as storages behind registries give them: they say until when and for what they hold.

Their life is on the topology's clock. What they refuse is answered in the way of a storage: XML,
with the codes of S3's and Azure's public error tables.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal, get_args

from fakeregistry.journal.secrets import Secrets
from fakeregistry.messages import Headers, Reply, Request
from fakeregistry.rules.clock import Clock

Store = Literal["s3", "azure"]
STORES: tuple[Store, ...] = get_args(Store)
_KEPT = 10_000
_EXPIRES = 3600
"""What a URL says of its life where it has none."""


@dataclass(frozen=True)
class Terms:
    """What a signed URL is good for.

    `ttl` seconds on the topology's clock, None for ever. `method_bound`: for GET alone.
    `single_use`: for one request. `reject_authorization`: not together with another credential.
    `store`: whose words a refusal has.
    """

    ttl: float | None = None
    method_bound: bool = False
    single_use: bool = False
    reject_authorization: bool = False
    store: Store = "s3"


@dataclass
class _Signed:
    path: str
    terms: Terms
    until: float | None
    used: bool = False


class SignedURLs:
    """The signed URLs of one registry. Thread-safe. The oldest of more than 10,000 are no good."""

    def __init__(self, owner: str, clock: Clock, secrets: Secrets) -> None:
        self._owner = owner
        self._clock = clock
        self._secrets = secrets
        self._lock = threading.Lock()
        self._known: dict[str, _Signed] = {}
        self._last: dict[tuple[str, Terms], str] = {}
        self._numbered = 0

    def clear(self) -> None:
        """Know none."""
        with self._lock:
            self._known.clear()
            self._last.clear()
            self._numbered = 0

    def sign(self, path: str, terms: Terms, *, fresh: bool = True) -> str:
        """Return a path with the query that signs it; not `fresh`: the one that was given before,
        be it expired or not."""
        with self._lock:
            old = self._last.get((path, terms))
            if old is not None and not fresh:
                return old
            self._numbered += 1
            name = f"signed URL {self._numbered} of {self._owner}"
            value = self._secrets.new(name, owner=self._owner, kind="signed URL")
            until = None if terms.ttl is None else self._clock.now() + terms.ttl
            self._known[value] = _Signed(path, terms, until)
            if len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
            said = _EXPIRES if terms.ttl is None else terms.ttl
            signed = f"{path}?X-Signature={value}&X-Expires={said:g}"
            self._last[path, terms] = signed
            return signed

    def refusal(self, request: Request) -> Reply | None:
        """Return the refusal of a request for a signed path, or None where it may pass."""
        with self._lock:
            found = self._known.get(request.argument("X-Signature") or "")
            if found is None or found.path != request.raw_path:
                return _refused(403, "s3", "signature")
            terms = found.terms
            if terms.reject_authorization and request.header("authorization") is not None:
                return _refused(400, terms.store, "authorization")
            if found.until is not None and self._clock.now() >= found.until:
                return _refused(403, terms.store, "expired")
            if terms.method_bound and request.method != "GET":
                return _refused(403, terms.store, "signature")
            if terms.single_use and found.used:
                return _refused(403, terms.store, "used")
            found.used = True
        return None


_WORDS = {
    "s3": {
        "signature": ("SignatureDoesNotMatch", "the signature isn't for this request"),
        "authorization": ("InvalidArgument", "one way to authenticate is enough: there are two"),
        "expired": ("AccessDenied", "the time of this signed request is over"),
        "used": ("AccessDenied", "this signed request was made before"),
    },
    "azure": {
        "signature": ("AuthenticationFailed", "the signature isn't for this request"),
        "authorization": ("InvalidAuthenticationInfo", "the Authorization header isn't understood"),
        "expired": ("AuthenticationFailed", "the signature's time is over"),
        "used": ("AuthorizationFailure", "the signature was used before"),
    },
}


def _refused(status: int, store: Store, why: str) -> Reply:
    code, message = _WORDS[store][why]
    headers: Headers = (("Content-Type", "application/xml"),)
    if store == "azure":
        headers = (*headers, ("x-ms-error-code", code))
    said = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(status, headers, f'<?xml version="1.0" encoding="UTF-8"?>\n{said}'.encode())
