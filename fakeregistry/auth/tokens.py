"""Bearer tokens (Docker's token and OAuth2 documents): what a registry takes, and what it issues.

Tokens age on the topology's clock: it runs like any other, and `clock.advance` makes hours of
nothing. They also die by `expire()`, and after `token_uses` requests. What is dead is answered 401
with `error="invalid_token"` (RFC 6750, 3.1). The token service itself is in `tokendesk`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fakeregistry.messages import Facts, Request, error

from .answers import TOKEN_FIELDS
from .grants import EVERYTHING, Grant, Scope, Users, check_policy
from .guards import (
    DENY_STATUSES,
    Auth,
    BasicAuth,
    Challenge,
    Credentials,
    Denial,
    Problem,
    basic,
    basic_credentials,
)

if TYPE_CHECKING:
    from fakeregistry.registry import Registry

LIFE = "life"
"""What `expires_in` is when nobody says otherwise: the truth."""
USUAL_LIFE = 300.0
"""So long a token lives, in seconds, when nobody says otherwise."""


class BearerAuth(Auth):
    """Bearer tokens from a token service, on this registry or another. See `bearer`."""

    def __init__(
        self,
        user: str | None = None,
        *,
        realm: Registry | str | None = None,
        service: str | None = None,
        anonymous: bool = False,
        post: bool = True,
        refresh: bool = True,
        offline_token: int | None = None,
        token_field: str = "both",
        expires_in: Any = LIFE,
        issued_at: float | str | None = None,
        extra: Mapping[str, Any] | None = None,
        token_ttl: float | None = None,
        token_uses: int | None = None,
        token_always_rejected: bool = False,
        token_expired_status: int = 401,
        scope_policy: str = "exact",
        **guarding: Any,
    ) -> None:
        super().__init__(user, **guarding)
        if token_field not in TOKEN_FIELDS:
            raise ValueError(f"token_field {token_field!r}: {', '.join(TOKEN_FIELDS)}")
        if token_ttl is not None and not token_ttl >= 0:
            raise ValueError(f"token_ttl {token_ttl}: it must be at least 0 seconds")
        if token_expired_status not in DENY_STATUSES:
            known = ", ".join(map(str, DENY_STATUSES))
            raise ValueError(f"token_expired_status {token_expired_status}: {known}")
        self._realm = realm
        self._service = service
        self.anonymous = anonymous
        self.post = post
        self.refresh = refresh
        self.offline_token = offline_token
        self.token_field = token_field
        self._expires_in = expires_in
        self.issued_at = issued_at
        self.extra = dict(extra or {})
        self.token_ttl = token_ttl
        self.token_uses = token_uses
        self.reject_tokens = token_always_rejected
        self.token_expired_status = token_expired_status
        self.scope_policy = check_policy(scope_policy)
        self._grants: dict[str, Grant] = {}
        self._refresh_tokens: dict[str, str | None] = {}
        self._issued = 0
        self._refreshed = 0

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for, by the names of the constructor's arguments; None: not said."""
        realm = self._realm
        return {
            **super().settings,
            "realm": realm if realm is None or isinstance(realm, str) else realm.name,
            "service": self._service,
            "anonymous": self.anonymous,
            "post": self.post,
            "refresh": self.refresh,
            "offline_token": self.offline_token,
            "token_field": self.token_field,
            "expires_in": "omitted" if self._expires_in is None else self._expires_in,
            "issued_at": self.issued_at,
            "extra": self.extra or None,
            "token_ttl": self.token_ttl,
            "token_uses": self.token_uses,
            "token_always_rejected": self.reject_tokens or None,
            "token_expired_status": self.token_expired_status,
            "scope_policy": self.scope_policy,
        }

    @property
    def realm_registry(self) -> Registry:
        """The registry that issues the tokens."""
        realm = self._realm
        if realm is None:
            return self.registry
        return self.registry.topology.registry(realm) if isinstance(realm, str) else realm

    @property
    def realm(self) -> str:
        """The URL of the token endpoint."""
        return self.realm_registry.url_for("/token")

    @property
    def service(self) -> str:
        """The service by which the token endpoint knows this registry."""
        return self._service or self.registry.host

    # the life of tokens

    @property
    def life(self) -> float:
        """How many seconds a token lives on the topology's clock."""
        if self.token_ttl is not None:
            return self.token_ttl
        said = self._expires_in
        if said == LIFE:
            return USUAL_LIFE
        number = isinstance(said, int | float) and not isinstance(said, bool)
        return said if number and said > 0 else math.inf

    @property
    def expires_in(self) -> Any:
        """What an answer says of a token's life: any value; None says nothing."""
        if self._expires_in != LIFE:
            return self._expires_in
        return None if math.isinf(self.life) else math.ceil(self.life)

    @property
    def issued(self) -> int:
        """How many tokens were issued."""
        return self._issued

    def expire(self) -> None:
        """Let every token issued so far be expired."""
        with self.lock:
            for grant in self._grants.values():
                grant.dead = True

    def revoke_refresh_tokens(self) -> None:
        """Refuse every refresh token issued so far."""
        with self.lock:
            self._refresh_tokens = dict.fromkeys(self._refresh_tokens)

    @property
    def registry_token(self) -> str:
        """A token for everything, issued without asking (a CRI AuthConfig's `registry_token`)."""
        name = f"registry token of {self.registry.name}"
        user = self.credentials.username
        return self.issue(EVERYTHING, name=name, user=user, kind="registry token")

    @property
    def identity_token(self) -> str:
        """A refresh token issued without asking (a CRI AuthConfig's `identity_token`)."""
        value = self._secret(f"identity token of {self.registry.name}", "identity token")
        with self.lock:
            self._refresh_tokens.setdefault(value, self.credentials.username)
        return value

    @property
    def wrong_token(self) -> str:
        """A token that nobody issued, and that is a canary all the same."""
        return self._secret(f"wrong token of {self.registry.name}", "bearer token")

    @property
    def expired_token(self) -> str:
        """A token for everything that has expired already."""
        name = f"expired token of {self.registry.name}"
        value = self.issue(EVERYTHING, name=name, user=self.credentials.username)
        with self.lock:
            self._grants[value].dead = True
        return value

    def issue(
        self,
        scopes: frozenset[Scope],
        *,
        name: str | None = None,
        user: str | None = None,
        kind: str = "bearer token",
    ) -> str:
        """Issue a token for scopes, to a user or to nobody in particular."""
        with self.lock:
            if name is None:
                self._issued += 1
                name = f"token {self._issued} of {self.registry.name}"
            value = self._secret(name, kind)
            until = self.registry.topology.clock.now() + self.life
            self._grants[value] = Grant(
                scopes, self.token_uses, None if math.isinf(until) else until, user
            )
            return value

    def issue_refresh(self, user: str | None = None) -> str:
        """Issue a refresh token to a user; None: to the first one."""
        with self.lock:
            self._refreshed += 1
            name = f"refresh token {self._refreshed} of {self.registry.name}"
            value = self._secret(name, "refresh token")
            self._refresh_tokens[value] = user or self.credentials.username
            return value

    def knows_refresh(self, value: str) -> bool:
        """Whether a refresh token is good."""
        return self.refreshed_user(value) is not None

    def refreshed_user(self, value: str) -> str | None:
        """Whose refresh token this is; None where it is no good."""
        return self._refresh_tokens.get(value)

    def grant(self, value: str) -> Grant | None:
        """What a token of this auth is for; None where it isn't one."""
        return self._grants.get(value)

    # refusing

    def subject(self, request: Request) -> str | None:
        """The user to whom the token was issued, or whose name and password are given."""
        scheme, _, value = (request.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer":
            return super().subject(request)
        grant = self._accepted(value.strip())
        return None if grant is None else grant.user

    def _accepted(self, value: str) -> Grant | None:
        """A token of this auth; or of another that shares its token service and its service."""
        found = self._grants.get(value)
        if found is None and self._service is not None:
            for other in self.registry.topology.registries.values():
                auth = other.auth
                if (
                    isinstance(auth, BearerAuth)
                    and auth.service == self._service
                    and auth.realm_registry is self.realm_registry
                ):
                    found = found or auth.grant(value)
        if found is not None and found.host not in (None, self.registry.name):
            return None
        return found

    def _denial(self, request: Request, facts: Facts, action: str) -> Denial | None:
        repository = facts.repository
        scheme, _, value = (request.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer":
            return self._refused("no_credentials", request, repository)
        with self.lock:
            grant = self._accepted(value.strip())
            if grant is None or self.reject_tokens or grant.rejected:
                return self._refused("wrong_credentials", request, repository, "invalid_token")
            if not grant.use(self.registry.topology.clock.now()):
                status = self.token_expired_status
                if status != 401:
                    return Denial(error(status, "DENIED", "the token has expired"), "expired_token")
                return self._refused("expired_token", request, repository, "invalid_token")
            if repository is not None and not grant.covers(repository, action):
                return self._refused("scope", request, repository, "insufficient_scope")
        return None

    def _refused(
        self, problem: Problem, request: Request, repository: str | None, said: str = ""
    ) -> Denial:
        words = self.challenge_words(repository, request.method)
        fields = [f'{name}="{value}"' for name, value in words.items() if value]
        if said:
            fields.append(f'error="{said}"')
        return self._refusal(problem, words, "Bearer " + ",".join(fields))

    def challenge_words(self, repository: str | None, method: str) -> dict[str, str]:
        """What a challenge to a request of this method says: realm, service and scope."""
        actions = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(method, "pull,push")
        scope = f"repository:{repository}:{actions}" if repository else ""
        return {"realm": self.realm, "service": self.service, "scope": scope}


def bearer(
    user: str | None = None,
    *,
    users: Users | None = None,
    realm: Registry | str | None = None,
    service: str | None = None,
    anonymous: bool = False,
    post: bool = True,
    refresh: bool = True,
    offline_token: int | None = None,
    token_field: str = "both",
    expires_in: Any = LIFE,
    issued_at: float | str | None = None,
    extra: Mapping[str, Any] | None = None,
    token_ttl: float | None = None,
    token_uses: int | None = None,
    token_always_rejected: bool = False,
    token_expired_status: int = 401,
    scope_policy: str = "exact",
    only: Iterable[str] | None = None,
    repositories: Iterable[str] | None = None,
    challenge: Challenge = None,
    no_challenge: bool = False,
    deny_status: int = 401,
) -> BearerAuth:
    """Return Bearer auth. What it guards and how it says no is as for `basic`.

    `realm`: the registry (or its name) that issues tokens, else this one. `service`: registries
    that share it and the realm take each other's tokens. `anonymous`: pull tokens without
    credentials. `post`: whether OAuth2 POST is offered (else 405). `refresh`: whether refresh
    tokens are given when asked for; `offline_token`: the status that refuses who asks by GET.

    Of the token answer: `token_field` both, token, access_token, different (only access_token is
    good), neither or null; `expires_in` any value (None: omitted), else the truth; `issued_at` so
    many seconds from now, any text, or None; `extra`: more fields, or others in their place.

    Of the tokens: `token_ttl` seconds on the topology's clock (else as `expires_in` says, or 300);
    `token_uses`: it dies after so many requests; `token_always_rejected`; `token_expired_status`:
    400, 403 or 404 instead of a challenge; `scope_policy`: one of `grants.SCOPE_POLICIES`.
    """
    return BearerAuth(
        user,
        users=users,
        realm=realm,
        service=service,
        anonymous=anonymous,
        post=post,
        refresh=refresh,
        offline_token=offline_token,
        token_field=token_field,
        expires_in=expires_in,
        issued_at=issued_at,
        extra=extra,
        token_ttl=token_ttl,
        token_uses=token_uses,
        token_always_rejected=token_always_rejected,
        token_expired_status=token_expired_status,
        scope_policy=scope_policy,
        only=only,
        repositories=repositories,
        challenge=challenge,
        no_challenge=no_challenge,
        deny_status=deny_status,
    )


__all__ = [
    "Auth",
    "BasicAuth",
    "BearerAuth",
    "Credentials",
    "basic",
    "basic_credentials",
    "bearer",
]
