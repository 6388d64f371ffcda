"""Mutants that ask token services wrongly, or misread what they answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from conformance.mutate import mutant
from reference.auth import Authorizer, Credentials, Token, parse_auth
from reference.challenge import Challenge
from reference.errors import AuthorizationFailed
from reference.hosts import Host
from reference.pull import Puller
from reference.transport import Ask


class _OneName(Authorizer):
    name = ""

    def token_in(self, document: dict[str, Any], names: tuple[str, ...], where: str) -> str:
        """Under one name alone, in the answer to a GET."""
        return super().token_in(document, (self.name,) if len(names) > 1 else names, where)


class _AccessTokenOnly(_OneName):
    name = "access_token"


@mutant(
    "reads-access-token-alone",
    area="tokens",
    kills={"incident/token-is-called-token", "tokens/token-field-alone"},
)
class ReadsAccessTokenAlone(Puller):
    """Looks for a token under `access_token` alone."""

    authorizer = _AccessTokenOnly


class _TokenOnly(_OneName):
    name = "token"


@mutant(
    "reads-token-alone",
    area="tokens",
    kills={"tokens/access-token-field-alone", "tokens/fields-that-differ"},
)
class ReadsTokenAlone(Puller):
    """Looks for a token under `token` alone."""

    authorizer = _TokenOnly


class _SureOfTokens(Authorizer):
    def token_in(self, document: dict[str, Any], names: tuple[str, ...], where: str) -> str:
        """One of them has to be there."""
        return str(next(iter([document[name] for name in names if name in document])))


@mutant(
    "dies-of-an-answer-without-token",
    area="tokens",
    kills={
        "incident/token-answer-is-a-list",
        "tokens/answer-without-token-is-refused",
    },
)
class DiesOfAnAnswerWithoutToken(Puller):
    """Takes it for granted that a token is in the answer."""

    authorizer = _SureOfTokens


class _SureOfJson(Authorizer):
    def document(self, body: bytes, where: str) -> dict[str, Any]:
        """What else could it be."""
        document: dict[str, Any] = json.loads(body)
        return document


@mutant(
    "dies-of-an-html-answer",
    area="tokens",
    kills={
        "incident/token-answer-is-a-list",
        "incident/token-answer-is-cut",
        "incident/token-post-brings-a-web-page",
        "tokens/html-answer-is-refused",
    },
)
class DiesOfAnHtmlAnswer(Puller):
    """Takes it for granted that the answer is JSON."""

    authorizer = _SureOfJson


class _Silent(Authorizer):
    def read_token(self, ask: Ask, names: tuple[str, ...]) -> Token:
        """Something went wrong."""
        try:
            return super().read_token(ask, names)
        except AuthorizationFailed as error:
            raise AuthorizationFailed("something went wrong", error.status) from None


@mutant("token-error-is-kept-back", area="tokens", kills={"tokens/server-error-is-refused"})
class TokenErrorIsKeptBack(Puller):
    """Doesn't say with which status the token service refused."""

    authorizer = _Silent


class _PostOr404(Authorizer):
    def falls_back(self, status: int | None, credentials: Credentials) -> bool:
        """Not after a 404."""
        return status != 404 and super().falls_back(status, credentials)


@mutant(
    "token-post-404-is-final",
    area="tokens",
    kills={"incident/token-post-is-not-found", "tokens/post-404-falls-back-to-get"},
)
class TokenPost404IsFinal(Puller):
    """Gives up where the token service knows no POST."""

    authorizer = _PostOr404


class _PostOr405(Authorizer):
    def falls_back(self, status: int | None, credentials: Credentials) -> bool:
        """Not after a 405."""
        return status != 405 and super().falls_back(status, credentials)


@mutant(
    "token-post-405-is-final",
    area="tokens",
    kills={"incident/token-post-is-not-allowed", "tokens/post-405-falls-back-to-get"},
)
class TokenPost405IsFinal(Puller):
    """Gives up where the token service refuses POST by its name."""

    authorizer = _PostOr405


class _Trusting(Authorizer):
    def token(
        self, host: Host, challenge: Challenge, scopes: tuple[str, ...], stale: str | None
    ) -> Token:
        """A token is good until its time is over."""
        return super().token(host, challenge, scopes, None)


@mutant(
    "refused-token-is-used-again",
    area="tokens",
    kills={"incident/token-expires-between-layers", "tokens/expired-token-is-replaced"},
)
class RefusedTokenIsUsedAgain(Puller):
    """Goes on with the token that was refused, because its time isn't over."""

    authorizer = _Trusting


class _Greedy(Authorizer):
    def scopes(self, challenge: Challenge, scope: str) -> tuple[str, ...]:
        """One never knows."""
        return (*super().scopes(challenge, scope), scope.replace(":pull", ":pull,push"))


@mutant(
    "asks-for-push-too",
    area="tokens",
    kills={"incident/token-service-refuses-more-than-asked", "tokens/scope-is-this-repository"},
)
class AsksForPushToo(Puller):
    """Asks for tokens that allow to push."""

    authorizer = _Greedy


class _Modest(Authorizer):
    def scopes(self, challenge: Challenge, scope: str) -> tuple[str, ...]:
        """Its own scope alone."""
        return (scope,)


@mutant("own-scope-alone", area="tokens", kills={"tokens/second-scope-of-the-challenge"})
class OwnScopeAlone(Puller):
    """Asks for its own scope, whatever the challenge asks for."""

    authorizer = _Modest


class _NamedOnly(Authorizer):
    def credentials(self, host: Host) -> Credentials:
        """Without a name there is nobody."""
        found = super().credentials(host)
        return found if found.username else Credentials()


@mutant("identity-token-is-ignored", area="tokens", kills={"tokens/identity-token-is-exchanged"})
class IdentityTokenIsIgnored(Puller):
    """Doesn't know what to do with an identity token."""

    authorizer = _NamedOnly


class _LastColon(Authorizer):
    def credentials(self, host: Host) -> Credentials:
        """The user's name comes last."""
        found = super().credentials(host)
        swapped = self.auth is not None and bool(self.auth.auth)
        return Credentials(found.secret, found.username) if swapped else found


@mutant("auth-field-is-read-backwards", area="tokens", kills={"tokens/auth-field-is-decoded"})
class AuthFieldIsReadBackwards(Puller):
    """Takes `auth` for password and user, in this order."""

    authorizer = _LastColon


class _Generous(Authorizer):
    def credentials(self, host: Host) -> Credentials:
        """Whoever asks."""
        given = None if self.auth is None else replace(self.auth, server_address="")
        return parse_auth(given, host.authority)


@mutant(
    "server-address-is-ignored",
    area="tokens",
    kills={"tokens/credentials-of-another-host-stay-unused"},
)
class ServerAddressIsIgnored(Puller):
    """Shows credentials to every host, whomever they are for."""

    authorizer = _Generous
