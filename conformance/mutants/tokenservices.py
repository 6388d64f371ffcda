"""Mutants that token services in the field bring to a fall: each has one bug of the incidents."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from conformance.mutate import mutant
from reference.auth import Authorizer, Credentials, Token
from reference.challenge import Challenge
from reference.config import Request
from reference.errors import AuthorizationFailed, PullError
from reference.hosts import Host
from reference.progress import Cancellation
from reference.pull import Pulled, Puller
from reference.remote import Remote
from reference.transport import Answer, Ask


class _MadeUp(Authorizer):
    def token_in(self, document: dict[str, Any], names: tuple[str, ...], where: str) -> str:
        """Whatever stands there is a token."""
        return str(next(document[name] for name in names if name in document))


@mutant(
    "null-is-a-token",
    area="tokens",
    kills={
        "incident/token-answer-holds-null",
        "incident/token-answer-is-a-list",
        "tokens/answer-without-token-is-refused",
    },
)
class NullIsAToken(Puller):
    """Turns whatever is in the token's place into a text, and shows that to the registry."""

    authorizer = _MadeUp


class _AtHome(Authorizer):
    def realm(self, host: Host, challenge: Challenge) -> str:
        """The registry's own service, as always."""
        own = urlsplit(super().realm(host, challenge))
        return urlunsplit(own._replace(scheme=host.scheme, netloc=host.authority))


@mutant("tokens-come-from-home", area="tokens", kills={"incident/token-service-is-another-host"})
class TokensComeFromHome(Puller):
    """Asks the registry itself for tokens, whatever host the challenge names."""

    authorizer = _AtHome


class _BareHead(Remote):
    def request(
        self, host: Host, method: str, url: str, headers: dict[str, str], authority: str | None
    ) -> Ask:
        """HEAD is harmless."""
        shown = None if method == "HEAD" else authority
        return super().request(host, method, url, headers, shown)


@mutant(
    "head-without-the-token",
    area="tokens",
    kills={
        "incident/challenge-names-two-scopes",
        "incident/challenge-values-without-quotes",
        "incident/commas-inside-a-quoted-challenge",
        "incident/every-request-needs-the-token",
        "incident/many-clients-refresh-at-once",
        "incident/negotiate-stands-before-bearer",
        "incident/open-ping-and-guarded-repository",
        "incident/token-is-called-access-token",
        "incident/token-is-called-token",
        "incident/token-lifetime-is-left-out",
        "incident/token-service-is-another-host",
        "incident/tokens-are-for-one-repository",
        "tokens/auth-field-is-decoded",
        "tokens/identity-token-is-exchanged",
        "tokens/scope-is-this-repository",
    },
)
class HeadWithoutTheToken(Puller):
    """Shows the token with GET, and not with HEAD."""

    remote = _BareHead


class _Insisting(Remote):
    def ask(self, *arguments: Any, **options: Any) -> Answer:
        """Not without a token."""
        answer = super().ask(*arguments, **options)
        if not any(name.lower() == "authorization" for name, _ in answer.ask.private):
            answer.discard()
            raise AuthorizationFailed("there is no token service")
        return answer


@mutant(
    "not-without-a-token",
    area="tokens",
    kills={"incident/layers-alone-are-guarded", "incident/registry-asks-for-no-token"},
)
class NotWithoutAToken(Puller):
    """Insists on a token where nobody asks for one."""

    remote = _Insisting


class _PostOr401(Authorizer):
    def falls_back(self, status: int | None, credentials: Credentials) -> bool:
        """Not after a 401."""
        return status != 401 and super().falls_back(status, credentials)


@mutant("token-post-401-is-final", area="tokens", kills={"incident/token-post-is-unauthorized"})
class TokenPost401IsFinal(Puller):
    """Gives up where POST to the token service is answered by 401."""

    authorizer = _PostOr401


class _AnyWay(Authorizer):
    def falls_back(self, status: int | None, credentials: Credentials) -> bool:
        """Whatever it was."""
        return True


@mutant(
    "get-after-any-post",
    area="tokens",
    kills={
        "incident/token-post-brings-a-web-page",
        "incident/token-post-fails",
        "incident/token-post-is-forbidden",
    },
)
class GetAfterAnyPost(Puller):
    """Tries GET after every POST that brought no token."""

    authorizer = _AnyWay


class _Offline(Authorizer):
    def by_get(
        self,
        host: Host,
        realm: str,
        service: str | None,
        scopes: tuple[str, ...],
        credentials: Credentials,
    ) -> Token:
        """And a refresh token, please."""
        return super().by_get(host, f"{realm}?offline_token=true", service, scopes, credentials)


@mutant(
    "always-asks-for-a-refresh-token",
    area="tokens",
    kills={"incident/refresh-token-is-not-for-everybody"},
)
class AlwaysAsksForARefreshToken(Puller):
    """Asks for a refresh token on each pull, and takes no for an answer."""

    authorizer = _Offline


class _Backwards(Authorizer):
    def scopes(self, challenge: Challenge, scope: str) -> tuple[str, ...]:
        """From the last to the first."""
        return super().scopes(challenge, scope)[::-1]


@mutant(
    "scopes-from-the-last",
    area="tokens",
    kills={"incident/token-service-honours-the-last-scope"},
)
class ScopesFromTheLast(Puller):
    """Asks for the repository's own scope before those that it doesn't need."""

    authorizer = _Backwards


class _Patient(Remote):
    def ask(self, *arguments: Any, **options: Any) -> Answer:
        """Once more with another token."""
        try:
            return super().ask(*arguments, **options)
        except PullError as error:
            if getattr(error, "status", None) not in (400, 403):
                raise
        self.authorizer.__init__(self.transport, self.authorizer.auth)  # type: ignore[misc]
        return super().ask(*arguments, **options)


@mutant(
    "any-denial-asks-for-a-token",
    area="tokens",
    kills={"incident/expired-token-is-denied-by-400", "incident/expired-token-is-denied-by-403"},
)
class AnyDenialAsksForAToken(Puller):
    """Takes 400 and 403 for a matter of tokens, and fetches another one."""

    remote = _Patient


class _Exact(Authorizer):
    def lifetime(self, expires_in: object) -> float:
        """A whole number of seconds that fits 32 bits."""
        fits = isinstance(expires_in, int) and 0 < expires_in < 1 << 31
        if expires_in is not None and not fits:
            raise AuthorizationFailed("the token's life isn't a number of seconds")
        return super().lifetime(expires_in)


@mutant(
    "token-lives-are-small-numbers",
    area="tokens",
    kills={
        "incident/token-lifetime-as-text",
        "incident/token-lifetime-is-negative",
        "incident/token-lifetime-of-millennia",
    },
)
class TokenLivesAreSmallNumbers(Puller):
    """Refuses a good token for what is said of its life."""

    authorizer = _Exact


class _Dated(Authorizer):
    def document(self, body: bytes, where: str) -> dict[str, Any]:
        """Issued in the past, or not at all."""
        document = super().document(body, where)
        try:
            issued = datetime.fromisoformat(document.get("issued_at", "2000-01-01T00:00:00+00:00"))
        except ValueError:
            raise AuthorizationFailed("the token's date isn't one") from None
        if (issued - datetime.now(UTC)).total_seconds() > math.pi:
            raise AuthorizationFailed("the token isn't valid yet")
        return document


@mutant(
    "believes-in-dates-of-tokens",
    area="tokens",
    kills={"incident/token-is-issued-in-the-future", "incident/token-issue-date-is-no-date"},
)
class BelievesInDatesOfTokens(Puller):
    """Refuses a good token for what is said of its date."""

    authorizer = _Dated


class _OnceIsEnough(Authorizer):
    def pauses(self) -> Iterator[float]:
        """No second time."""
        return iter(())


@mutant(
    "token-requests-are-not-repeated",
    area="tokens",
    kills={
        "incident/token-service-fails-once",
        "incident/token-service-resets-once",
        "incident/token-service-says-too-many-requests",
    },
)
class TokenRequestsAreNotRepeated(Puller):
    """Is patient with registries, and not with token services."""

    authorizer = _OnceIsEnough


@mutant("failed-token-is-remembered", area="tokens", kills={"incident/failed-token-is-not-kept"})
class FailedTokenIsRemembered(Puller):
    """Keeps the failure of a token request for every later pull."""

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """It failed before."""
        kept = self.root / "failed-token"
        if kept.exists():
            raise AuthorizationFailed(json.loads(kept.read_text()))
        try:
            return super().pull(request, cancellation=cancellation)
        except AuthorizationFailed as error:
            kept.write_text(json.dumps(str(error)))
            raise


class _Boundless(Authorizer):
    def read_token(self, ask: Ask, names: tuple[str, ...]) -> Token:
        """All of it."""
        with self.transport.hop(ask) as answer:
            if answer.status == 200:
                answer.read(1 << 29)
            else:
                answer.discard()
        return super().read_token(ask, names)


@mutant("token-answers-are-read-whole", area="tokens", kills={"incident/token-answer-without-end"})
class TokenAnswersAreReadWhole(Puller):
    """Reads a token answer to its end, however far that is."""

    authorizer = _Boundless
