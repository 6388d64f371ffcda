"""One repository at its hosts: authority, retries, and errors that say who answered what."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Iterator
from typing import Any

from reference.auth import Authorizer
from reference.config import Config
from reference.errors import (
    AuthError,
    AuthorizationFailed,
    ConnectionLost,
    IntegrityError,
    ManifestError,
    NotFound,
    PullError,
    RateLimited,
    RegistryError,
    TransportError,
    safe_url,
)
from reference.hosts import Host
from reference.names import Name
from reference.transport import Answer, Ask, Transport

LARGEST_ERROR = 64 * 1024
FIRST_PAUSE = 0.1
"""Seconds before the first repetition where the server named no time; then doubled each time."""
MOST_CHALLENGES = 2
"""How many 401 of one request are answered: one that asks for authority, one for an old token."""
MOST_REPEATS = 5
"""How often containerd asks again, whatever the reason."""
_LIMITED = frozenset({408, 429})
_RETRIED = _LIMITED | {500, 502, 503, 504}


class Remote:
    """Asks the hosts of one repository for manifests and blobs."""

    def __init__(
        self, config: Config, transport: Transport, authorizer: Authorizer, name: Name
    ) -> None:
        self.config = config
        self.transport = transport
        self.authorizer = authorizer
        self.name = name
        self.quirks = config.quirks
        self.most_challenges = MOST_REPEATS if self.quirks.tokens_without_end else MOST_CHALLENGES

    @property
    def scope(self) -> str:
        """The token scope that reading this repository needs."""
        return f"repository:{self.name.path}:pull"

    def ask(
        self,
        host: Host,
        method: str,
        kind: str,
        reference: str,
        *,
        accept: str,
        offset: int = 0,
        last: bool = True,
    ) -> Answer:
        """Ask `host` for a manifest or blob, from byte `offset` on.

        The answer has status 2xx, or 416; everything else is raised: RegistryError, AuthError or
        TransportError. `last` says that no other host is left, so that trying again is worth it.
        """
        headers = {"Accept": accept} | ({"Range": f"bytes={offset}-"} if offset else {})
        url = host.url(self.name.path, kind, reference, self.name.domain)
        pauses = self.pauses()
        hasty = iter(range(MOST_REPEATS if self.quirks.rate_limits_ignored else 0))
        authority: str | None = None
        refused: str | None = None
        challenges = 0
        while True:
            authority = self.authorizer.authorize(host, self.scope, stale=refused)
            try:
                answer = self.transport.send(self.request(host, method, url, headers, authority))
            except TransportError as error:
                if not (last and self.is_transient(error)) or (pause := next(pauses, None)) is None:
                    raise
                self.transport.cancellation.wait(pause)
                continue
            if (
                answer.status == 401
                and challenges < self.most_challenges
                and self.challenged(host, url, answer, authority)
            ):
                challenges += 1
                refused = authority
                answer.discard()
            elif method == "HEAD" and self.wants_get(url, answer):
                answer.discard()
                method = "GET"
            elif answer.status in _LIMITED and next(hasty, None) is not None:
                answer.discard()
            elif self.is_retried(answer.status) and last and self.pause(answer, pauses):
                continue
            elif 200 <= answer.status < 300 or (answer.status == 416 and offset):
                return answer
            else:
                raise self.refusal(answer, kind, reference)

    def request(
        self, host: Host, method: str, url: str, headers: dict[str, str], authority: str | None
    ) -> Ask:
        """The request with what is particular to the host."""
        private = [*_pairs(self.config.headers), *_pairs(host.headers)]
        if "Accept" in headers:
            private = [pair for pair in private if pair[0].lower() != "accept"]
        if authority is not None:
            private = [pair for pair in private if pair[0].lower() != "authorization"]
            private.append(("Authorization", authority))
        return Ask(
            method, url, headers, tuple(private), tls=host.tls, dial_timeout=host.dial_timeout
        )

    # What is tried again.

    def challenged(self, host: Host, url: str, answer: Answer, sent: str | None) -> bool:
        """Whether a 401 is answered: only the host's own is.

        A redirect's target has no business with the credentials of the host that named it.
        """
        return answer.ask.url == url and self.authorizer.challenged(host, answer, sent)

    def wants_get(self, url: str, answer: Answer) -> bool:
        """Whether it was HEAD that was refused (MAN-04), or a URL is signed for GET alone (I02)."""
        return answer.status == 405 or (answer.status == 403 and answer.ask.url != url)

    def is_transient(self, error: TransportError) -> bool:
        """Whether the connection broke in a way that may not happen again."""
        return isinstance(error, ConnectionLost) and not self.quirks.errors_not_repeated

    def is_retried(self, status: int) -> bool:
        """Whether an answer may be another one after a pause."""
        off = self.quirks.rate_limits_ignored, self.quirks.errors_not_repeated
        return status in _RETRIED and not off[status >= 500]

    def pause(self, answer: Answer, pauses: Iterator[float]) -> bool:
        """Wait before a repetition as long as the server asks for; False when that is too long."""
        pause = next(pauses, None)
        if pause is None:
            return False
        asked = self.retry_after(answer)
        if asked is not None and asked > self.config.retry_after_cap:
            return False
        answer.discard()
        self.transport.cancellation.wait(pause if asked is None else asked)
        return True

    def pauses(self) -> Iterator[float]:
        """The seconds to wait before each repetition, where the server doesn't name a time."""
        return iter([FIRST_PAUSE * 2**n for n in range(self.config.retry_attempts)])

    def retry_after(self, answer: Answer) -> float | None:
        """The seconds that a Retry-After header asks for: a number or a date (RFC 9110 10.2.3)."""
        value = str(answer.headers.get("retry-after", "")).strip()
        if re.fullmatch(r"[0-9]{1,9}", value):
            return float(value)
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
        except (TypeError, ValueError, OverflowError):
            return None

    # What went wrong.

    def refusal(self, answer: Answer, kind: str, reference: str) -> PullError:
        """The error for an answer that is no success; reads its error document, bounded."""
        with answer:
            code, message = (self.authorizer.hide(text) for text in self.error_document(answer))
        what = f"{kind.removesuffix('s')} {reference} of {self.name.repository}"
        where = safe_url(answer.ask.url)
        if answer.status in (401, 403):
            detail = ": ".join(filter(None, (code, message)))
            return AuthorizationFailed(
                f"{what}: pull access denied, repository does not exist or may require "
                f"authorization: {where} answered {answer.status}" + (detail and f" ({detail})"),
                answer.status,
            )
        kinds = {404: NotFound, 429: RateLimited}
        return kinds.get(answer.status, RegistryError)(
            what, status=answer.status, host=where, code=code, message=message
        )

    def error_document(self, answer: Answer) -> tuple[str, str]:
        """Code and message of the first error in an OCI error document; empty without one."""
        if answer.ask.method == "HEAD":
            return "", ""
        try:
            errors: Any = json.loads(answer.read(LARGEST_ERROR))["errors"]
            return str(errors[0].get("code") or ""), str(errors[0].get("message") or "")
        except (TransportError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return "", ""


class Failures:
    """What each host said no with, and which of it tells the user most."""

    def __init__(self) -> None:
        self.errors: list[PullError] = []

    def add(self, error: PullError) -> None:
        """Note an error and go on to the next host."""
        self.errors.append(error)

    def worst(self) -> PullError:
        """The error of the host that came furthest (HOST-39); the first of equals."""
        return max(self.errors, key=self.distance)

    def distance(self, error: PullError) -> int:
        """How far a host came before it failed; the order is of no other meaning."""
        for kind, distance in _DISTANCES:
            if isinstance(error, kind):
                return distance
        return 0


_DISTANCES: tuple[tuple[type[PullError], int], ...] = (
    (IntegrityError, 5),
    (ManifestError, 5),
    (AuthError, 4),
    (RateLimited, 4),
    (NotFound, 2),
    (RegistryError, 3),
    (TransportError, 1),
)


def _pairs(headers: Any) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        for each in (value,) if isinstance(value, str) else value:
            yield name, each
