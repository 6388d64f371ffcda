"""One repository at its hosts: authority, retries, and errors that say who answered what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from reference.auth import Authorizer
from reference.config import Config
from reference.errors import (
    AuthError,
    AuthorizationFailed,
    IntegrityError,
    ManifestError,
    NotFound,
    PullError,
    RateLimited,
    RegistryError,
    Silent,
    TransportError,
    safe_url,
)
from reference.hosts import Host
from reference.names import Name
from reference.retries import LIMITED, Retrying
from reference.transport import Answer, Ask, Transport

LARGEST_ERROR = 64 * 1024
MOST_CHALLENGES = 2
"""How many 401 of one request are answered: one that asks for authority, one for an old token."""
MOST_REPEATS = 5
"""How often containerd asks again, whatever the reason."""


class Remote(Retrying):
    """Asks the hosts of one repository for manifests and blobs."""

    def __init__(
        self, config: Config, transport: Transport, authorizer: Authorizer, name: Name
    ) -> None:
        self.config = config
        self.transport = transport
        self.authorizer = authorizer
        self.name = name
        self.quirks = config.quirks
        self.silent: set[Host] = set()
        """Hosts that kept this pull waiting: it asks them no more while there are others."""
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
        end: int | None = None,
        last: bool = True,
    ) -> Answer:
        """Ask `host` for a manifest or blob, from byte `offset` on, up to and without `end`.

        The answer has status 2xx, or 416; everything else is raised: RegistryError, AuthError or
        TransportError. `last` says that no other host is left, so that trying again is worth it.
        """
        if not last and host in self.silent:
            raise Silent(f"{host.authority}: didn't answer in time before")
        patience = self.patience() if end or not last else None
        headers = {"Accept": accept} | range_of(offset, end)
        url = host.url(self.name.path, kind, reference, self.name.domain)
        pauses = self.pauses()
        hasty = iter(range(MOST_REPEATS if self.quirks.rate_limits_ignored else 0))
        authority: str | None = None
        refused: str | None = None
        challenges = 0
        while True:
            authority = self.authorizer.authorize(host, self.scope, stale=refused)
            ask = self.request(host, method, url, headers, authority)
            try:
                answer = self.sent(
                    self.transport.send, replace(ask, patience=patience), pauses, again=last
                )
            except Silent:
                if end is None:  # else it is one part that starves
                    self.silent.add(host)
                raise
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
            elif answer.status in LIMITED and next(hasty, None) is not None:
                answer.discard()
            elif 200 <= answer.status < 300 or (answer.status == 416 and (offset or end)):
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

    def patience(self) -> float | None:
        """Seconds to wait for a host where there is another, or for a part of many.

        The pull's own patience is the progress timeout, so two of these may fail (incident A09).
        """
        if self.quirks.answers_may_take_for_ever:
            return None
        return self.config.progress_timeout / 3 or None

    # What is tried again.

    def challenged(self, host: Host, url: str, answer: Answer, sent: str | None) -> bool:
        """Whether a 401 is answered: only the host's own is.

        A redirect's target has no business with the credentials of the host that named it.
        """
        return answer.ask.url == url and self.authorizer.challenged(host, answer, sent)

    def wants_get(self, url: str, answer: Answer) -> bool:
        """Whether it was HEAD that was refused (MAN-04), or a URL is signed for GET alone (I02)."""
        return answer.status == 405 or (answer.status == 403 and answer.ask.url != url)

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


def range_of(offset: int, end: int | None = None) -> dict[str, str]:
    """The Range header for the bytes from `offset` on, up to and without `end`; none for all."""
    if not offset and end is None:
        return {}
    return {"Range": f"bytes={offset}-{'' if end is None else end - 1}"}


def _pairs(headers: Any) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        for each in (value,) if isinstance(value, str) else value:
            yield name, each
