"""Faults of challenges, and of a token service: what it answers, and what its tokens are worth.

Those about a token act on what the answer says when their turn comes: after a `token_response`
that leaves the token away, they have nothing to bite on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fakeregistry.auth.answers import filled
from fakeregistry.auth.grants import Grant, check_policy, granted, scope_text
from fakeregistry.auth.guards import DENY_STATUSES, challenges_of
from fakeregistry.messages import Headers, error, without_header
from fakeregistry.script import Act, Script

from .base import Faults, Setting, at_least, single_line
from .status import Status


@dataclass(frozen=True)
class Challenge:
    """Refuse with this WWW-Authenticate text; a list of texts makes a header of each.

    `{realm}`, `{service}` and `{scope}` stand for the true ones.
    """

    text: str | tuple[str, ...]

    def __post_init__(self) -> None:
        texts = (self.text,) if isinstance(self.text, str) else tuple(self.text)
        at_least("challenge: the number of texts", len(texts), 1)
        for text in texts:
            single_line("challenge", text)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say it instead of the true challenge."""
        if not setting.facts.denied:
            return script
        words = setting.host.challenge_words(setting.request, setting.facts)
        said = challenges_of(self.text, words)
        headers: Headers = tuple(("WWW-Authenticate", text) for text in said)
        return replace(
            script, headers=(*without_header(script.headers, "WWW-Authenticate"), *headers)
        )


@dataclass(frozen=True)
class NoChallenge:
    """Refuse without WWW-Authenticate, which every 401 should have (RFC 9110, 15.5.2)."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Leave it away."""
        headers = without_header(script.headers, "WWW-Authenticate")
        if not setting.facts.denied or headers == script.headers:
            return script
        return replace(script, headers=headers)


@dataclass(frozen=True)
class TokenExpiredStatus:
    """Refuse an expired token by this status and without a challenge; the honest one is 401."""

    code: int = 403

    def __post_init__(self) -> None:
        if self.code not in DENY_STATUSES:
            known = ", ".join(map(str, DENY_STATUSES))
            raise ValueError(f"token_expired_status {self.code}: it must be one of {known}")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say it where a token has expired."""
        if setting.facts.problem != "expired_token":
            return script
        said = error(self.code, "DENIED", "the token has expired")
        return script.with_reply(said.status, said.headers, said.body)


@dataclass(frozen=True)
class TokenResponse:
    """Change fields of a token answer: `set` some to any value, `drop` others.

    In texts, `{token}` is the token, `{wrong_token}` one that nobody issued, `{now}` the time, and
    `{now+3600}` an hour later.
    """

    set: Mapping[str, Any] | None = field(default=None, hash=False)
    drop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.set and not self.drop:
            raise ValueError("token_response: it needs set or drop")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Write the document anew."""
        document = _document(script, setting)
        if document is None:
            return script
        words = {"wrong_token": setting.host.secret("wrong token", "bearer token")}
        token = _token(document)
        if token is not None:
            words["token"] = token
        changed = {key: value for key, value in document.items() if key not in self.drop}
        changed |= filled(self.set or {}, words, setting.clock.date())
        return _said(script, changed)


@dataclass(frozen=True)
class TokenTtl:
    """Issue tokens that live so many `seconds` on the registry's clock, whatever is said."""

    seconds: float

    def __post_init__(self) -> None:
        at_least("token_ttl", self.seconds, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Limit the token that is just issued."""

        def limit(grant: Grant) -> None:
            grant.until = setting.clock.now() + self.seconds

        return _limited(script, setting, limit)


@dataclass(frozen=True)
class TokenUses:
    """Issue tokens that die after `n` requests."""

    n: int

    def __post_init__(self) -> None:
        at_least("token_uses", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Limit the token that is just issued."""

        def limit(grant: Grant) -> None:
            grant.uses = self.n

        return _limited(script, setting, limit)


@dataclass(frozen=True)
class TokenAlwaysRejected:
    """Issue tokens that no registry will ever take."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Spoil the token that is just issued."""

        def limit(grant: Grant) -> None:
            grant.rejected = True

        return _limited(script, setting, limit)


@dataclass(frozen=True)
class TokenBound:
    """Issue tokens that are good for less than they say: one repository, some actions, one host.

    `host` is the name of a registry: it alone takes the token.
    """

    repository: str | None = None
    actions: tuple[str, ...] = ()
    host: str | None = None

    def __post_init__(self) -> None:
        if self.repository is None and not self.actions and self.host is None:
            raise ValueError("token_bound: it needs repository, actions or host")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Limit the token that is just issued."""

        def limit(grant: Grant) -> None:
            grant.bind(self.repository, self.actions)
            grant.host = self.host or grant.host

        return _limited(script, setting, limit)


@dataclass(frozen=True)
class TokenPost:
    """Answer a token request by POST with this status, as services do that know GET alone.

    `body` is said instead of an error; it is HTML where it begins like it.
    """

    status: int = 404
    body: str | None = None

    def __post_init__(self) -> None:
        Status(self.status)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse a POST."""
        if setting.facts.kind != "token" or setting.request.method != "POST":
            return script
        said = Status(self.status, self.body).edit(script, setting)
        if self.body is None or not self.body.lstrip().startswith("<"):
            return said
        return replace(said, headers=(("Content-Type", "text/html; charset=utf-8"),))


@dataclass(frozen=True)
class OfflineToken:
    """Refuse, by this status, a token request by GET that asks for a refresh token too."""

    status: int = 401

    def __post_init__(self) -> None:
        Status(self.status)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse who says offline_token=true."""
        if setting.facts.kind != "token" or setting.request.argument("offline_token") != "true":
            return script
        return Status(self.status).edit(script, setting)


@dataclass(frozen=True)
class ScopePolicyFault:
    """Grant other scopes than were asked for: "last_scope_wins", "first_scope_wins", or
    "refuse_extra" (403 where more than one is asked, or more than is given).
    """

    policy: str

    def __post_init__(self) -> None:
        check_policy(self.policy)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Narrow the token that is just issued, or refuse."""
        document = _document(script, setting)
        grant = None if document is None else setting.host.grant(_token(document) or "")
        if document is None or grant is None:
            return script
        request = setting.request
        pairs = request.form if request.method == "POST" else request.query
        texts = [value for key, value in pairs if key == "scope"]
        # What the honest service has granted already is all that there is to grant.
        scopes = granted(texts, grant.scopes, check_policy(self.policy))
        if scopes is None:
            said = error(403, "DENIED", "more is asked than is given here")
            return script.with_reply(said.status, said.headers, said.body)
        if scopes == grant.scopes:
            return script

        def narrow(one: Grant) -> None:
            one.scopes = scopes

        if "scope" in document:
            script = _said(script, {**document, "scope": scope_text(scopes)})
        return _limited(script, setting, narrow)


@dataclass(frozen=True)
class RotateCredentials:
    """Let the registry's passwords be new from now on; with `tokens` every token is dead too."""

    tokens: bool = False

    def edit(self, script: Script, setting: Setting) -> Script:
        """Change them first: the answer is the honest one."""
        host = setting.host
        return replace(script, before=(*script.before, Act(lambda: host.rotate(self.tokens))))


def _document(script: Script, setting: Setting) -> dict[str, Any] | None:
    """The token answer as JSON; None where it is none."""
    if setting.facts.kind != "token" or script.status != 200:
        return None
    try:
        document = json.loads(bytes(script.body))
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _token(document: Mapping[str, Any]) -> str | None:
    found = document.get("access_token", document.get("token"))
    return found if isinstance(found, str) else None


def _said(script: Script, document: Mapping[str, Any]) -> Script:
    return script.with_body(json.dumps(document).encode())


def _limited(script: Script, setting: Setting, limit: Callable[[Grant], None]) -> Script:
    """Limit the token that is in the answer, before the answer begins."""
    document = _document(script, setting)
    grant = None if document is None else setting.host.grant(_token(document) or "")
    if grant is None:
        return script
    known: Grant = grant
    return replace(script, before=(*script.before, Act(lambda: limit(known))))


FAULTS: Faults = {
    "challenge": Challenge,
    "no_challenge": NoChallenge,
    "token_expired_status": TokenExpiredStatus,
    "token_response": TokenResponse,
    "token_ttl": TokenTtl,
    "token_uses": TokenUses,
    "token_always_rejected": TokenAlwaysRejected,
    "token_bound": TokenBound,
    "token_post": TokenPost,
    "offline_token": OfflineToken,
    "scope_policy": ScopePolicyFault,
    "rotate_credentials": RotateCredentials,
}
