"""Authentication: who may do what on a registry, and how it says no. Basic is here too.

Bearer is in `tokens`, its token service in `tokendesk`.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fakeregistry.messages import ERROR_CODES, KINDS, Facts, Headers, Reply, Request, error

from .grants import EVERYTHING, Scope, Users, allows, rights_of

if TYPE_CHECKING:
    from fakeregistry.registry import Registry

Problem = Literal["no_credentials", "wrong_credentials", "expired_token", "scope", "no_right"]
"""Why a request is refused."""
Challenge = str | Sequence[str] | None
"""A WWW-Authenticate text, or several of them: a header each. None: the true one."""
DENY_STATUSES = (400, 401, 403, 404)

_UNGUARDED = frozenset({"redirect_target", "foreign_url", "proxy"})
"""What is open unless `only` names it: signed URLs carry their own right."""
_WORDS = {"manifest": ("tag_manifest", "manifest")}


@dataclass(frozen=True)
class Credentials:
    """A user's name and password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Denial:
    """A refusal, and why."""

    reply: Reply
    problem: Problem


class Auth:
    """Who may do what on one registry. Set as `registry.auth`, which gives it its credentials.

    See `basic` for the arguments, which every kind of authentication has.
    """

    def __init__(
        self,
        user: str | None = None,
        *,
        users: Users | None = None,
        only: Iterable[str] | None = None,
        repositories: Iterable[str] | None = None,
        challenge: Challenge = None,
        no_challenge: bool = False,
        deny_status: int = 401,
    ) -> None:
        if deny_status not in DENY_STATUSES:
            raise ValueError(f"deny_status {deny_status}: {', '.join(map(str, DENY_STATUSES))}")
        self._user = user
        self._users = {name: tuple(rights) for name, rights in (users or {}).items()}
        self._rights = {name: rights_of(rights) for name, rights in self._users.items()}
        self.only = None if only is None else tuple(only)
        self._kinds = None if self.only is None else _kinds(self.only)
        self.repositories = None if repositories is None else tuple(repositories)
        self.challenge = challenge
        self.no_challenge = no_challenge
        self.deny_status = deny_status
        self._registry: Registry | None = None
        self._passwords: dict[str, str] = {}
        self._rotated = 0
        self.lock = threading.RLock()

    def __repr__(self) -> str:
        # Of its settings alone: no port, no secret, so that equal worlds describe themselves alike.
        said = [f"{name}={value!r}" for name, value in self.settings.items() if value is not None]
        return f"{type(self).__name__}({', '.join(said)})"

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for, by the names of the constructor's arguments; None: not said."""
        return {
            "user": self._user,
            "users": self._users or None,
            "only": self.only,
            "repositories": self.repositories,
            "challenge": self.challenge,
            "no_challenge": self.no_challenge or None,
            "deny_status": None if self.deny_status == 401 else self.deny_status,
        }

    # users

    @property
    def registry(self) -> Registry:
        """The registry that this guards; raises RuntimeError before it is set anywhere."""
        if self._registry is None:
            raise RuntimeError("set this auth on a registry first: registry.auth = ...")
        return self._registry

    @property
    def credentials(self) -> Credentials:
        """The first user's name and password: the password is a canary made from the seed."""
        if self._registry is None:
            raise RuntimeError("set this auth on a registry first: registry.auth = ...")
        return self.credentials_of(next(iter(self._passwords)))

    def credentials_of(self, user: str) -> Credentials:
        """A user's name and password; KeyError where there is no such user."""
        return Credentials(user, self._passwords[user])

    @property
    def wrong_credentials(self) -> Credentials:
        """The first user's name with a password that never was any good, and is a canary too."""
        name = f"wrong password of {self.registry.name}"
        return Credentials(self.credentials.username, self._secret(name, "password"))

    def attach(self, registry: Registry) -> None:
        """Guard a registry, with credentials of its own."""
        self._registry = registry
        first = self._user or next(iter(self._users), f"{registry.name}-user")
        self._passwords = {first: self._secret(f"password of {registry.name}", "password")}
        for user in self._users:
            if user != first:
                named = f"password ({user}) of {registry.name}"
                self._passwords[user] = self._secret(named, "password")

    def _secret(self, name: str, kind: str) -> str:
        return self.registry.topology.secrets.new(name, owner=self.registry.name, kind=kind)

    def rotate(self) -> Credentials:
        """Change every password: the old ones are refused from now on. Returns the first user's."""
        with self.lock:
            self._rotated += 1
            again = "" if self._rotated == 1 else f" {self._rotated}"
            for number, user in enumerate(self._passwords):
                whose = "" if number == 0 else f" ({user})"
                name = f"new{again} password{whose} of {self.registry.name}"
                self._passwords[user] = self._secret(name, "password")
            return self.credentials

    def knows(self, username: str, password: str) -> bool:
        """Whether these are somebody's credentials."""
        return self._passwords.get(username) == password

    def rights(self, user: str) -> frozenset[Scope]:
        """What a user may do."""
        return self._rights.get(user, EVERYTHING)

    def subject(self, request: Request) -> str | None:
        """The name of the user who asks, right or wrong; None where no name is known."""
        given = basic_credentials(request)
        return None if given is None else given[0]

    def challenge_words(self, repository: str | None, method: str) -> Mapping[str, str]:
        """What a challenge to a request of this method says."""
        return {"realm": self.registry.name}

    # refusing

    def guards(self, facts: Facts) -> bool:
        """Whether anybody is asked who he is for this kind of request, in this repository."""
        if self.repositories is not None and facts.repository not in self.repositories:
            return False
        return facts.kind not in _UNGUARDED if self._kinds is None else facts.kind in self._kinds

    def deny(self, request: Request, facts: Facts, action: str) -> Denial | None:
        """Return the refusal of a request, or None where it may pass."""
        return self._denial(request, facts, action) if self.guards(facts) else None

    def _denial(self, request: Request, facts: Facts, action: str) -> Denial | None:
        raise NotImplementedError

    def _refusal(self, problem: Problem, words: Mapping[str, str], usual: str) -> Denial:
        """A refusal with its challenges; `usual` is the true one, `words` replace placeholders."""
        status = self.deny_status
        challenges: list[str] = []
        # Who hides what he has (404) or says a plain no (403) says nothing of tokens either.
        if not self.no_challenge and (status == 401 or self.challenge is not None):
            challenges = challenges_of(usual if self.challenge is None else self.challenge, words)
        headers: Headers = tuple(("WWW-Authenticate", text) for text in challenges)
        if status == 401:
            given = problem != "no_credentials"
            said = "the credentials are not accepted" if given else "authentication required"
            return Denial(error(401, "UNAUTHORIZED", said, headers=headers), problem)
        return Denial(error(status, *ERROR_CODES[status], headers=headers), problem)


class BasicAuth(Auth):
    """Basic authentication (RFC 7617). See `basic`."""

    def _denial(self, request: Request, facts: Facts, action: str) -> Denial | None:
        given = basic_credentials(request)
        if given is None or not self.knows(*given):
            problem: Problem = "no_credentials" if given is None else "wrong_credentials"
            words = self.challenge_words(facts.repository, request.method)
            return self._refusal(problem, words, f'Basic realm="{words["realm"]}"')
        repository = facts.repository
        if repository is not None and not allows(self.rights(given[0]), repository, action):
            return Denial(error(403, *ERROR_CODES[403]), "no_right")
        return None


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


def challenges_of(raw: str | Sequence[str], words: Mapping[str, str]) -> list[str]:
    """Return challenge headers; `{realm}`, `{service}` and `{scope}` stand for the true ones."""
    challenges = [raw] if isinstance(raw, str) else list(raw)
    for name, value in words.items():
        challenges = [text.replace("{" + name + "}", value) for text in challenges]
    return challenges


def _kinds(words: Sequence[str]) -> frozenset[str]:
    for word in words:
        if word not in KINDS:
            raise ValueError(f"only {word!r}: it must be one of {', '.join(KINDS)}")
    return frozenset(kind for word in words for kind in _WORDS.get(word, (word,)))


def basic(
    user: str | None = None,
    *,
    users: Users | None = None,
    only: Iterable[str] | None = None,
    repositories: Iterable[str] | None = None,
    challenge: Challenge = None,
    no_challenge: bool = False,
    deny_status: int = 401,
) -> BasicAuth:
    """Return Basic auth.

    `user`: the name of the one who may do everything. `users`: several, each with rights such as
    `app/web:pull,push`, `app/web` (to pull) or `*`. `only`: the kinds of request that are guarded
    (`blob`, `manifest`, `config`, `ping`, `redirect_target` …), else all but redirect targets and
    foreign URLs. `repositories`: guarded ones; the others, and the ping, are open. `challenge`
    replaces the WWW-Authenticate text (a list: headers). `no_challenge`: a 401 without one.
    `deny_status`: 400, 403 or 404 instead, which carry only a `challenge` of your own.
    """
    return BasicAuth(
        user,
        users=users,
        only=only,
        repositories=repositories,
        challenge=challenge,
        no_challenge=no_challenge,
        deny_status=deny_status,
    )
