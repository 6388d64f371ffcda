"""Mutants that make too much of an answer that says no, or too little."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from conformance.mutate import mutant
from reference.auth import Authorizer, Token
from reference.errors import AuthorizationFailed, ConfigError, RateLimited
from reference.pull import Puller
from reference.remote import LARGEST_ERROR, Remote
from reference.transport import Answer, Ask, Transport


class _TrustsErrors(Remote):
    def error_document(self, answer: Answer) -> tuple[str, str]:
        """Whoever refuses says why, by the book."""
        if answer.ask.method == "HEAD":
            return "", ""
        first = json.loads(answer.read(LARGEST_ERROR))["errors"][0]
        return str(first["code"]), str(first["message"])


@mutant(
    "falls-over-error-bodies",
    area="transport",
    kills={
        "incident/denied-by-a-web-page",
        "incident/error-document-of-no-errors",
    },
)
class FallsOverErrorBodies(Puller):
    """Takes it for granted that the body of an error is an error document."""

    remote = _TrustsErrors


class _TypesDetails(Remote):
    def error_document(self, answer: Answer) -> tuple[str, str]:
        """A code is one of ours, and a detail is a text."""
        code, message = super().error_document(answer)
        if code == "ERROR_OF_ANOTHER_AGE":
            raise KeyError(code)
        return code, message


@mutant("knows-all-error-codes", area="transport", kills={"incident/error-of-another-age"})
class KnowsAllErrorCodes(Puller):
    """Looks an error's code up in a table, and falls over one that isn't there."""

    remote = _TypesDetails


class _ReadsOn(Remote):
    def error_document(self, answer: Answer) -> tuple[str, str]:
        """All of it may be of interest."""
        return "", answer.read(1 << 40).decode(errors="replace")[:80]


@mutant("reads-errors-whole", area="transport", kills={"incident/error-body-without-end"})
class ReadsErrorsWhole(Puller):
    """Reads the body of an error to its end, wherever that is."""

    remote = _ReadsOn


class _Hammering(Remote):
    def pauses(self) -> Iterator[float]:
        """Once more, and at once."""
        return iter([0.0] * 40)

    def retry_after(self, answer: Answer) -> float | None:
        """Sooner is better."""
        return 0.0


@mutant(
    "hammers",
    area="transport",
    kills={
        "incident/quota-is-used-up",
        "incident/retry-after-as-a-date",
        "incident/server-errors-without-end",
        "transport/retry-after-is-waited-for",
    },
)
class Hammers(Puller):
    """Repeats what was refused forty times, without a pause."""

    remote = _Hammering


class _AllTheSame(Transport):
    def hop(self, ask: Ask) -> Answer:
        """A server error is a server error."""
        answer = super().hop(ask)
        if answer.status in (501, 505, 507):
            answer.status = 503
        return answer


@mutant("repeats-every-server-error", area="transport", kills={"incident/not-implemented"})
class RepeatsEveryServerError(Puller):
    """Tries again after 501, 505 and 507 as after 503."""

    transport = _AllTheSame


class _OnceIsFinal(Remote):
    def ask(self, *arguments: Any, **options: Any) -> Answer:
        """Whoever is busy speaks for everybody."""
        try:
            return super().ask(*arguments, **options)
        except RateLimited as error:
            raise ConfigError(str(error)) from None


@mutant(
    "mirrors-429-is-final",
    area=("transport", "hosts"),
    kills={"incident/mirror-is-at-its-limit", "incident/mirror-rate-limits"},
)
class Mirrors429IsFinal(Puller):
    """Ends where a mirror limits requests."""

    remote = _OnceIsFinal


class _AsksForTokensAgain(Authorizer):
    def read_token(self, ask: Ask, names: tuple[str, ...]) -> Token:
        """It may change its mind, for thirty times."""
        for _ in range(30):
            with suppress(AuthorizationFailed):
                return super().read_token(ask, names)
        return super().read_token(ask, names)


@mutant(
    "argues-with-the-token-service",
    area="transport",
    kills={"incident/token-service-denies"},
)
class ArguesWithTheTokenService(Puller):
    """Asks for a token thirty times, whatever the token service says."""

    authorizer = _AsksForTokensAgain
