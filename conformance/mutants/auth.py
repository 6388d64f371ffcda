"""Mutants that misread challenges, repeat what was refused, or let secrets out."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from conformance.mutate import mutant
from reference.auth import Authorizer, Credentials, Token
from reference.challenge import Challenge
from reference.errors import AuthorizationFailed, InvalidAuth
from reference.hosts import Host
from reference.pull import Puller
from reference.remote import Remote
from reference.transport import Answer, Ask, Transport


class _OnlyWithLogin(Authorizer):
    def fetch(self, host: Host, challenge: Challenge, scopes: tuple[str, ...]) -> Token:
        """Nobody without a login gets a token."""
        if not self.credentials(host).secret:
            raise AuthorizationFailed("no credentials were given")
        return super().fetch(host, challenge, scopes)


@mutant(
    "no-token-without-login",
    area="auth",
    kills={"auth/bearer-challenge-is-answered", "incident/token-is-called-token"},
)
class NoTokenWithoutLogin(Puller):
    """Gives up where a registry asks for a token and no credentials were given."""

    authorizer = _OnlyWithLogin


class _Forgetful(Authorizer):
    def fetch(self, host: Host, challenge: Challenge, scopes: tuple[str, ...]) -> Token:
        """Whoever has a login is nobody to the token service."""
        realm = self.realm(host, challenge)
        service = challenge.parameters.get("service")
        return self.by_get(host, realm, service, scopes, Credentials())


@mutant(
    "token-without-the-password",
    area="auth",
    kills={
        "auth/object-storage-behind-a-token-registry",
        "auth/token-is-fetched-with-the-password",
        "incident/challenge-names-two-scopes",
        "incident/challenge-values-without-quotes",
        "incident/commas-inside-a-quoted-challenge",
        "incident/layers-alone-are-guarded",
        "incident/many-clients-refresh-at-once",
        "incident/negotiate-stands-before-bearer",
        "incident/open-ping-and-guarded-repository",
        "incident/token-lifetime-is-left-out",
        "incident/tokens-are-for-one-repository",
    },
)
class TokenWithoutThePassword(Puller):
    """Asks for every token as nobody, whatever credentials were given."""

    authorizer = _Forgetful


class _BearerOnly(Authorizer):
    def choose(self, challenges: Iterable[Challenge]) -> Challenge | None:
        """Basic is of the past."""
        return super().choose(each for each in challenges if each.scheme == "bearer")


@mutant("bearer-only", area="auth", kills={"auth/basic-challenge-is-answered"})
class BearerOnly(Puller):
    """Knows tokens alone, and leaves a Basic challenge unanswered."""

    authorizer = _BearerOnly


class _Stubborn(Remote):
    def ask(self, *arguments: Any, **options: Any) -> Answer:
        """Thirty times the same."""
        for _ in range(30):
            try:
                return super().ask(*arguments, **options)
            except AuthorizationFailed as error:
                refusal = error
        raise refusal


@mutant(
    "refused-login-is-repeated",
    area="auth",
    kills={
        "auth/401-without-challenge-is-refused",
        "auth/token-refused-for-ever-ends",
        "auth/wrong-password-for-a-token-is-refused",
        "auth/wrong-password-is-refused-and-bounded",
        "incident/missing-repository-is-401",
        "incident/token-is-refused-for-ever",
    },
)
class RefusedLoginIsRepeated(Puller):
    """Repeats what was answered by 401, thirty times over."""

    remote = _Stubborn


class _FirstOnly(Authorizer):
    def choose(self, challenges: Iterable[Challenge]) -> Challenge | None:
        """The first or none."""
        return super().choose(tuple(challenges)[:1])


@mutant(
    "first-challenge-only",
    area="auth",
    kills={
        "auth/bearer-is-found-beside-unknown-scheme",
        "auth/challenge-behind-another-in-one-line",
        "incident/negotiate-stands-before-bearer",
    },
)
class FirstChallengeOnly(Puller):
    """Looks at the first challenge, whether it is understood or not."""

    authorizer = _FirstOnly


class _LastOnly(Authorizer):
    def choose(self, challenges: Iterable[Challenge]) -> Challenge | None:
        """The last or none."""
        return super().choose(tuple(challenges)[-1:])


@mutant("last-challenge-only", area="auth", kills={"auth/challenge-before-another-in-one-line"})
class LastChallengeOnly(Puller):
    """Lets a later challenge take the place of the one before."""

    authorizer = _LastOnly


class _Misreading(Authorizer):
    """Reads challenges after something was done to them."""

    def misread(self, line: str) -> str:
        """The line as this one sees it."""
        return line

    def challenges(self, lines: Iterable[str]) -> tuple[Challenge, ...]:
        """What is left of them."""
        return super().challenges(map(self.misread, lines))


class _CommaSplits(_Misreading):
    def misread(self, line: str) -> str:
        """A comma inside of quotes ends the value."""
        return re.sub(r'="([^",]*),[^"]*"', r'="\1"', line)


@mutant(
    "comma-ends-a-value",
    area="auth",
    kills={"auth/comma-inside-quotes", "incident/commas-inside-a-quoted-challenge"},
)
class CommaEndsAValue(Puller):
    """Splits challenges at every comma, also inside of quotes."""

    authorizer = _CommaSplits


class _CaseMatters(_Misreading):
    def misread(self, line: str) -> str:
        """What is written in another way is another scheme."""
        return line if line.startswith(("Bearer", "Basic")) else f"X-{line}"


@mutant("case-of-schemes-matters", area="auth", kills={"auth/scheme-and-keys-in-any-case"})
class CaseOfSchemesMatters(Puller):
    """Knows 'Bearer', and not 'BEARER'."""

    authorizer = _CaseMatters


class _NoBlanks(_Misreading):
    def misread(self, line: str) -> str:
        """A blank before a comma ends everything."""
        return re.split(r'"\s+,', line)[0] + '"' if re.search(r'"\s+,', line) else line


@mutant("blank-before-a-comma-ends-it", area="auth", kills={"auth/blanks-around-commas"})
class BlankBeforeACommaEndsIt(Puller):
    """Loses the parameters that follow a blank before a comma."""

    authorizer = _NoBlanks


class _KeepsBackslashes(_Misreading):
    def misread(self, line: str) -> str:
        r"""Only `\"` is understood."""
        return re.sub(r'\\([^"])', r"\\\\\1", line)


@mutant("backslash-stays", area="auth", kills={"auth/escaped-quote-in-a-challenge"})
class BackslashStays(Puller):
    """Takes the backslash of a quoted pair for a part of the value."""

    authorizer = _KeepsBackslashes


class _NoBadWhitespace(_Misreading):
    def misread(self, line: str) -> str:
        """Nothing after a name without its equals sign."""
        return re.split(r"[\s,]+\w+\s+=", line)[0]


@mutant("blank-before-equals-ends-it", area="auth", kills={"auth/blanks-around-equals"})
class BlankBeforeEqualsEndsIt(Puller):
    """Loses a parameter with a blank before its equals sign, and all that follow."""

    authorizer = _NoBadWhitespace


class _BareRealm(Authorizer):
    def realm(self, host: Host, challenge: Challenge) -> str:
        """Up to the question mark."""
        return super().realm(host, challenge).partition("?")[0]


@mutant(
    "realm-query-is-dropped",
    area="auth",
    kills={"auth/realm-query-is-kept", "incident/commas-inside-a-quoted-challenge"},
)
class RealmQueryIsDropped(Puller):
    """Builds the token request from the realm's path, and forgets its query."""

    authorizer = _BareRealm


class _Pinging(Remote):
    def challenged(self, host: Host, url: str, answer: Answer, sent: str | None) -> bool:
        """Whoever answers `/v2/` to anybody asks for no login."""
        with self.transport.hop(Ask("GET", f"{host.scheme}://{host.authority}/v2/")) as pong:
            if pong.status == 200:
                return False
        return super().challenged(host, url, answer, sent)


@mutant(
    "only-the-ping-is-asked-for-a-challenge",
    area="auth",
    kills={
        "auth/challenge-for-the-manifest-alone",
        "incident/layers-alone-are-guarded",
        "incident/open-ping-and-guarded-repository",
    },
)
class OnlyThePingIsAskedForAChallenge(Puller):
    """Decides by the answer to `/v2/` alone whether a login is asked for."""

    remote = _Pinging


class _AnyRealm(Authorizer):
    def realm(self, host: Host, challenge: Challenge) -> str:
        """What the challenge says, over whatever it says."""
        return challenge.parameters["realm"]


@mutant(
    "password-to-a-plain-realm",
    area="auth",
    kills={"auth/password-stays-from-a-plain-http-realm"},
)
class PasswordToAPlainRealm(Puller):
    """Sends the password to the token service that is named, be it over plain http."""

    authorizer = _AnyRealm


class _Obliging(Remote):
    def challenged(self, host: Host, url: str, answer: Answer, sent: str | None) -> bool:
        """The storage asks, and is told."""
        if answer.ask.url != url and self.authorizer.auth is not None:
            told = (("Authorization", self.authorizer.basic(host)),)
            self.transport.hop(replace(answer.ask, private=told)).discard()
        return super().challenged(host, url, answer, sent)


@mutant(
    "password-to-storage-that-asks",
    area="auth",
    kills={
        "auth/storage-that-asks-gets-no-password",
        "incident/storage-asks-for-a-token",
    },
)
class PasswordToStorageThatAsks(Puller):
    """Answers the challenge of a redirect's target with the registry's password."""

    remote = _Obliging


class _Carrying(Transport):
    def same_host(self, ask: Ask, target: Ask) -> bool:
        """All hosts are one."""
        return True


@mutant(
    "authorization-follows-redirects",
    area="auth",
    kills={
        "auth/secrets-stay-with-their-hosts",
        "auth/storage-that-asks-gets-no-password",
        "incident/every-object-is-redirected",
        "incident/storage-is-a-subdomain",
        "incident/storage-refuses-authorization",
    },
)
class AuthorizationFollowsRedirects(Puller):
    """Keeps the Authorization header on a redirect to another host."""

    transport = _Carrying


class _Telling(Authorizer):
    def credentials(self, host: Host) -> Credentials:
        """The error shows what it is about."""
        try:
            return super().credentials(host)
        except InvalidAuth as error:
            given = self.auth.auth if self.auth else ""
            raise InvalidAuth(f"{error}: {base64.b64decode(given).decode()}") from None


@mutant("secret-in-the-error", area="auth", kills={"auth/secret-in-no-error"})
class SecretInTheError(Puller):
    """Prints the credentials that it can't make sense of."""

    authorizer = _Telling
