"""Authentication: Basic, and Bearer with a token service (Docker's token and OAuth2 documents).

Tokens expire on the registry's own clock, which has no hands: `expire()`, or after `token_uses`
requests, and then the registry answers 401 with `error="invalid_token"`.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .messages import Headers, Reply, Request, error

if TYPE_CHECKING:
    from .registry import Registry

Scope = tuple[str, str]
"""A repository name and an action (pull, push, delete); `*` stands for any."""
_EVERYTHING: frozenset[Scope] = frozenset({("*", "*")})


@dataclass(frozen=True)
class Credentials:
    """A user's name and password."""

    username: str
    password: str = field(repr=False)


class Auth:
    """Who may do what on one registry. Set as `registry.auth`, which gives it its credentials."""

    def __init__(self, user: str | None = None) -> None:
        self._user = user
        self._registry: Registry | None = None
        self._credentials: Credentials | None = None
        self.lock = threading.RLock()

    def __repr__(self) -> str:
        # Of its settings alone: no port, no secret, so that equal worlds describe themselves alike.
        said = [f"{name}={value!r}" for name, value in self.settings.items() if value is not None]
        return f"{type(self).__name__}({', '.join(said)})"

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for, by the names of the constructor's arguments; None: not said."""
        return {"user": self._user}

    @property
    def registry(self) -> Registry:
        """The registry that this guards; raises RuntimeError before it is set anywhere."""
        if self._registry is None:
            raise RuntimeError("set this auth on a registry first: registry.auth = ...")
        return self._registry

    @property
    def credentials(self) -> Credentials:
        """The user's name and password: the password is a canary made from the seed."""
        if self._credentials is None:
            raise RuntimeError("set this auth on a registry first: registry.auth = ...")
        return self._credentials

    def attach(self, registry: Registry) -> None:
        """Guard a registry, with credentials of its own."""
        self._registry = registry
        password = registry.topology.secrets.new(f"password of {registry.name}")
        self._credentials = Credentials(self._user or f"{registry.name}-user", password)

    def rotate(self) -> Credentials:
        """Change the password: the old one is refused from now on."""
        name = f"new password of {self.registry.name}"
        password = self.registry.topology.secrets.new(name)
        self._credentials = Credentials(self.credentials.username, password)
        return self._credentials

    def knows(self, username: str, password: str) -> bool:
        """Whether these are the credentials."""
        return self.credentials == Credentials(username, password)

    def subject(self, request: Request) -> str | None:
        """The name of the user who asks, right or wrong; None where no name is known."""
        given = basic_credentials(request)
        return None if given is None else given[0]

    def deny(self, request: Request, repository: str | None, action: str) -> Reply | None:
        """Return the refusal of a request, or None where it may pass."""
        raise NotImplementedError


class BasicAuth(Auth):
    """Basic authentication on every request (RFC 7617)."""

    def __init__(
        self, user: str | None = None, challenge: str | Sequence[str] | None = None
    ) -> None:
        super().__init__(user)
        self.challenge = challenge

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for, by the names of the constructor's arguments; None: not said."""
        return {**super().settings, "challenge": self.challenge}

    def deny(self, request: Request, repository: str | None, action: str) -> Reply | None:
        """Refuse a request without the right name and password."""
        given = basic_credentials(request)
        if given is not None and self.knows(*given):
            return None
        raw = f'Basic realm="{self.registry.name}"' if self.challenge is None else self.challenge
        return refusal(_challenges(raw, {}), given is not None)


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
        token_field: str = "both",
        expires_in: int | None = 300,
        extra: Mapping[str, Any] | None = None,
        token_uses: int | None = None,
        challenge: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(user)
        if token_field not in ("both", "token", "access_token"):
            raise ValueError(f"token_field {token_field!r}: both, token or access_token")
        self._realm = realm
        self._service = service
        self.anonymous = anonymous
        self.post = post
        self.refresh = refresh
        self.token_field = token_field
        self.expires_in = expires_in
        self.extra = dict(extra or {})
        self.token_uses = token_uses
        self.challenge = challenge
        self.reject_tokens = False
        self._grants: dict[str, Grant] = {}
        self._refresh_tokens: dict[str, bool] = {}
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
            "token_field": self.token_field,
            "expires_in": self.expires_in,
            "extra": self.extra or None,
            "token_uses": self.token_uses,
            "challenge": self.challenge,
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

    @property
    def issued(self) -> int:
        """How many tokens were issued."""
        return self._issued

    def expire(self) -> None:
        """Let every token issued so far be expired."""
        with self.lock:
            for grant in self._grants.values():
                grant.expired = True

    def revoke_refresh_tokens(self) -> None:
        """Refuse every refresh token issued so far."""
        with self.lock:
            self._refresh_tokens = dict.fromkeys(self._refresh_tokens, False)

    @property
    def registry_token(self) -> str:
        """A token for everything, issued without asking (a CRI AuthConfig's `registry_token`)."""
        name = f"registry token of {self.registry.name}"
        return self.issue(_EVERYTHING, name=name, user=self.credentials.username)

    @property
    def identity_token(self) -> str:
        """A refresh token issued without asking (a CRI AuthConfig's `identity_token`)."""
        value = self.registry.topology.secrets.new(f"identity token of {self.registry.name}")
        with self.lock:
            self._refresh_tokens.setdefault(value, True)
        return value

    def issue(
        self, scopes: frozenset[Scope], *, name: str | None = None, user: str | None = None
    ) -> str:
        """Issue a token for scopes, to a user or to nobody in particular."""
        with self.lock:
            if name is None:
                self._issued += 1
                name = f"token {self._issued} of {self.registry.name}"
            value = self.registry.topology.secrets.new(name)
            self._grants[value] = Grant(scopes, self.token_uses, user=user)
            return value

    def issue_refresh(self) -> str:
        """Issue a refresh token."""
        with self.lock:
            self._refreshed += 1
            name = f"refresh token {self._refreshed} of {self.registry.name}"
            value = self.registry.topology.secrets.new(name)
            self._refresh_tokens[value] = True
            return value

    def knows_refresh(self, value: str) -> bool:
        """Whether a refresh token is good."""
        return self._refresh_tokens.get(value, False)

    def subject(self, request: Request) -> str | None:
        """The user to whom the token was issued, or whose name and password are given."""
        scheme, _, value = (request.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer":
            return super().subject(request)
        grant = self._grants.get(value.strip())
        return None if grant is None else grant.user

    def deny(self, request: Request, repository: str | None, action: str) -> Reply | None:
        """Refuse a request without a good token whose scope covers it."""
        scheme, _, value = (request.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer":
            return self._refuse(repository, action, None)
        with self.lock:
            grant = self._grants.get(value.strip())
            if grant is None or self.reject_tokens or not grant.use():
                return self._refuse(repository, action, "invalid_token")
            if repository is not None and not grant.covers(repository, action):
                return self._refuse(repository, action, "insufficient_scope")
        return None

    def _refuse(self, repository: str | None, action: str, problem: str | None) -> Reply:
        actions = {"pull": "pull", "push": "pull,push", "delete": "delete"}[action]
        scope = f"repository:{repository}:{actions}" if repository else ""
        words = {"realm": self.realm, "service": self.service, "scope": scope}
        raw = self.challenge
        if raw is None:
            fields = [f'{name}="{value}"' for name, value in words.items() if value]
            if problem:
                fields.append(f'error="{problem}"')
            raw = "Bearer " + ",".join(fields)
        return refusal(_challenges(raw, words), problem is not None)


@dataclass
class Grant:
    """What a token allows, and how long it lives: `uses` requests, or None for any number."""

    scopes: frozenset[Scope]
    uses: int | None = None
    expired: bool = False
    user: str | None = None

    def use(self) -> bool:
        """Use the token once; False where it is expired."""
        if self.uses is not None:
            self.expired = self.expired or self.uses <= 0
            self.uses -= 1
        return not self.expired

    def covers(self, repository: str, action: str) -> bool:
        """Whether the scopes allow an action on a repository."""
        return any(
            name in ("*", repository) and allowed in ("*", action) for name, allowed in self.scopes
        )


def basic_credentials(request: Request) -> tuple[str, str] | None:
    """Return name and password of a Basic Authorization header, or None."""
    scheme, _, value = (request.header("authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ("", "")
    name, _, password = text.partition(":")
    return name, password


def refusal(challenges: Sequence[str], given: bool) -> Reply:
    """Return a 401 with its challenges."""
    headers: Headers = tuple(("WWW-Authenticate", challenge) for challenge in challenges)
    message = "the credentials are not accepted" if given else "authentication required"
    return error(401, "UNAUTHORIZED", message, headers=headers)


def _challenges(raw: str | Sequence[str], words: Mapping[str, str]) -> list[str]:
    """Return challenge headers; `{realm}`, `{service}` and `{scope}` stand for the true ones."""
    challenges = [raw] if isinstance(raw, str) else list(raw)
    for name, value in words.items():
        challenges = [text.replace("{" + name + "}", value) for text in challenges]
    return challenges


def basic(user: str | None = None, *, challenge: str | Sequence[str] | None = None) -> BasicAuth:
    """Return Basic auth; `challenge` replaces the WWW-Authenticate text (a list: headers)."""
    return BasicAuth(user, challenge)


def bearer(
    user: str | None = None,
    *,
    realm: Registry | str | None = None,
    service: str | None = None,
    anonymous: bool = False,
    post: bool = True,
    refresh: bool = True,
    token_field: str = "both",
    expires_in: int | None = 300,
    extra: Mapping[str, Any] | None = None,
    token_uses: int | None = None,
    challenge: str | Sequence[str] | None = None,
) -> BearerAuth:
    """Return Bearer auth.

    `realm`: the registry (or its name) that issues tokens, else this one. `anonymous`: pull tokens
    without credentials. `post`: whether OAuth2 POST is offered (else 405). `refresh`: whether
    refresh tokens are given when asked for. `token_field`: both, token or access_token. `extra`:
    more fields of the token answer. `token_uses`: a token dies after so many requests. `challenge`
    replaces the WWW-Authenticate text: `{realm}`, `{service}`, `{scope}` stand for the true ones.
    """
    return BearerAuth(
        user,
        realm=realm,
        service=service,
        anonymous=anonymous,
        post=post,
        refresh=refresh,
        token_field=token_field,
        expires_in=expires_in,
        extra=extra,
        token_uses=token_uses,
        challenge=challenge,
    )
