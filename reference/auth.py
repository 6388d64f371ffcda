"""Credentials and tokens: who may see the user's secret, and how a challenge is answered.

The flow is the distribution project's token authentication (token.md, oauth.md): ask without
credentials, and on 401 fetch a token from the realm that the challenge names. The secret goes to
the registry that the user named and to that registry's realm, and nowhere else: a mirror gets it
only where the configuration says so, a redirect's target never.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from reference import compat_auth
from reference.challenge import Challenge, parse_challenges
from reference.compat import Quirks
from reference.config import AuthConfig
from reference.errors import AuthorizationFailed, InvalidAuth, safe_url
from reference.hosts import DOCKER_HUB, Host
from reference.retries import Retrying
from reference.transport import Answer, Ask, Transport

CLIENT_ID = "refpull"
DEFAULT_LIFETIME = 60.0
"""Seconds that a token lives when its server doesn't say (token.md)."""
_FOR_EVER = 10**9
LARGEST_TOKEN_ANSWER = 1024 * 1024
_SHORTEST_SECRET = 4
"""Characters; a shorter one would be found in words that have nothing to do with it."""
_SCHEMES = ("bearer", "basic")
_NO_POST = frozenset({400, 401, 404})
_TOKEN = re.compile(r"[\x21-\x7e]+")
_NONE = Quirks()
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", DOCKER_HUB})


@dataclass(frozen=True)
class Credentials:
    """A user and a secret; without a user the secret is a refresh token, without both nobody."""

    username: str = ""
    secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Refuse what can't be sent: JSON, and the command line, can hold half a character."""
        try:
            f"{self.username}{self.secret}".encode()
        except UnicodeEncodeError:
            raise InvalidAuth("the credentials given are not text in UTF-8") from None


@dataclass(frozen=True)
class Token:
    """A bearer token and when it ends (seconds of the monotonic clock)."""

    value: str = field(repr=False)
    expires: float

    def fresh(self, now: float) -> bool:
        """Whether it can still be used."""
        return now < self.expires


def parse_auth(auth: AuthConfig | None, host: str, quirks: Quirks = _NONE) -> Credentials:
    """The credentials that `auth` has for `host` (host[:port]), as the seed's ParseAuth.

    Nothing where `server_address` names another host. Unlike the seed it also understands an
    address without a scheme, and Docker Hub by any of its names (Q-04).
    """
    if auth is None:
        return Credentials()
    if auth.server_address and not names_host(auth.server_address, host, quirks):
        return Credentials()
    if auth.username:
        return Credentials(auth.username, auth.password)
    if auth.identity_token:
        return Credentials("", auth.identity_token)
    if auth.auth:
        try:
            decoded = base64.b64decode(auth.auth, validate=True).decode()
        except (binascii.Error, ValueError):
            raise InvalidAuth("the auth given is not base64 of user:password") from None
        username, colon, password = decoded.partition(":")
        if not colon:
            raise InvalidAuth("the auth given has no colon between user and password")
        return Credentials(
            username, password.strip("\0") if quirks.nuls_cut_off_passwords else password
        )
    return Credentials()


def names_host(address: str, host: str, quirks: Quirks = _NONE) -> bool:
    """Whether a server address (a URL or host[:port][/path]) means `host`."""
    try:
        if quirks.server_address_is_a_url:
            return compat_auth.url_names_host(address, host)
        named = urlsplit(address if "://" in address else f"//{address}").netloc
    except ValueError:
        raise InvalidAuth("the server address given can't be parsed") from None
    named, host = named.rpartition("@")[2].lower(), host.lower()
    return named == host or (named in _HUB_NAMES and host in _HUB_NAMES)


class Authorizer(Retrying):
    """Answers the challenges of one pull's hosts and keeps their tokens."""

    def __init__(self, transport: Transport, auth: AuthConfig | None) -> None:
        self.transport = transport
        self.auth = auth
        self.quirks = transport.config.quirks
        self._lock = threading.Lock()
        self._challenges: dict[str, Challenge] = {}
        self._secrets: set[str] = set()
        self._tokens: dict[tuple[str, ...], Token] = {}
        self._flights: dict[tuple[str, ...], Future[Token]] = {}

    def authorize(self, host: Host, scope: str, *, stale: str | None = None) -> str | None:
        """The Authorization header for a request to `host`; None until it asked for one.

        `stale` is a header that was refused: a token that it carried isn't used again.
        """
        challenge = self._challenges.get(host.authority)
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            return self.basic(host)
        scopes = self.scopes(challenge, scope)
        return f"Bearer {self.token(host, challenge, scopes, stale).value}"

    def challenged(self, host: Host, answer: Answer, sent: str | None) -> bool:
        """Take in a 401; True when the request is worth sending again with new authority."""
        challenge = self.choose(self.challenges(answer.headers.get_list("www-authenticate")))
        if challenge is None:
            return False
        with self._lock:
            self._challenges[host.authority] = challenge
        if self.quirks.tokens_without_end:
            named = challenge.scheme == "bearer" and challenge.parameters.get("error")
            return sent is None or not named
        # The same user and password would be refused again; a token may just have ended.
        return sent is None or challenge.scheme == "bearer"

    def challenges(self, lines: Iterable[str]) -> tuple[Challenge, ...]:
        """What the WWW-Authenticate lines of an answer ask for."""
        if self.quirks.one_challenge_a_line:
            return tuple(filter(None, map(compat_auth.challenge_of_line, lines)))
        return parse_challenges(lines)

    def choose(self, challenges: Iterable[Challenge]) -> Challenge | None:
        """The challenge to answer: Bearer before Basic, others are not understood (AUTH-16)."""
        known = [challenge for challenge in challenges if challenge.scheme in _SCHEMES]
        return min(known, key=lambda challenge: _SCHEMES.index(challenge.scheme), default=None)

    # Who may see what.

    def credentials(self, host: Host) -> Credentials:
        """What `host`, and the realm it names, may be told."""
        if self.may_see(host):
            return parse_auth(self.auth, host.authority, self.quirks)
        return parse_auth(host.auth, host.authority, self.quirks)

    def may_see(self, host: Host) -> bool:
        """Whether the credentials given with the pull are for `host`.

        They are for the registry that the image names. A mirror is another party: it sees them
        only when their server address says so (AUTH-36, Q-05).
        """
        if self.auth is None or self.quirks.credentials_for_whoever_asks:
            return self.auth is not None
        if self.auth.server_address:
            return names_host(self.auth.server_address, host.authority, self.quirks)
        return host.origin

    def hide(self, text: str) -> str:
        """`text` of a server without the secrets that were sent: some quote what they refuse."""
        with self._lock:
            secrets = sorted(self._secrets, key=len, reverse=True)
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "<hidden>")
        return text

    def _sends(self, *secrets: str) -> None:
        with self._lock:
            self._secrets.update(secrets)

    def realm(self, host: Host, challenge: Challenge) -> str:
        """The token server's URL; an https registry can't send its clients to a plain one."""
        realm = challenge.parameters.get("realm", "")
        try:
            parts = urlsplit(realm)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            valid = False
        if not valid:
            raise AuthorizationFailed(f"{host.authority}: no usable realm in the token challenge")
        if host.scheme == "https" and parts.scheme != "https":
            raise AuthorizationFailed(
                f"{host.authority}: its token server {safe_url(realm)} is not https"
            )
        return realm

    def scopes(self, challenge: Challenge, scope: str) -> tuple[str, ...]:
        """What the token is to allow: this repository, and what the challenge asks for."""
        return tuple(sorted({scope, *challenge.parameters.get("scope", "").split()}))

    def basic(self, host: Host) -> str:
        """The header of HTTP Basic authentication."""
        credentials = self.credentials(host)
        if not credentials.username or not credentials.secret:
            raise AuthorizationFailed(
                f"{host.authority}: no basic auth credentials: pull access denied, "
                "repository does not exist or may require authorization"
            )
        header = _basic(credentials)
        self._sends(credentials.secret, header.removeprefix("Basic "))
        return header

    # Tokens.

    def token(
        self, host: Host, challenge: Challenge, scopes: tuple[str, ...], stale: str | None
    ) -> Token:
        """A fresh token for the scopes. Threads that want the same one wait for one fetch."""
        key = (host.authority, challenge.parameters.get("realm", ""), *scopes)
        with self._lock:
            token = self._tokens.get(key)
            fresh = token and token.fresh(time.monotonic()) and f"Bearer {token.value}" != stale
            if token and (fresh or self.quirks.tokens_without_end):
                return token
            flight = self._flights.get(key)
            leading = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not leading:
            return flight.result()
        try:
            token = self.fetch(host, challenge, scopes)
        except BaseException as error:
            if not self.quirks.token_errors_kept:  # the next request may try again
                with self._lock:
                    del self._flights[key]
            flight.set_exception(error)
            raise
        with self._lock:
            self._secrets.add(token.value)
            self._tokens[key] = token
            del self._flights[key]
        flight.set_result(token)
        return token

    def fetch(self, host: Host, challenge: Challenge, scopes: tuple[str, ...]) -> Token:
        """Ask the realm: with a secret by POST (OAuth2) first, else by GET."""
        realm = self.realm(host, challenge)
        service = challenge.parameters.get("service")
        credentials = self.credentials(host)
        if credentials.secret:
            self._sends(credentials.secret)
            try:
                return self.by_post(host, realm, service, scopes, credentials)
            except AuthorizationFailed as error:
                if not self.falls_back(error.status, credentials):
                    raise
        return self.by_get(host, realm, service, scopes, credentials)

    def falls_back(self, status: int | None, credentials: Credentials) -> bool:
        """Whether a refused POST only means that the realm doesn't know OAuth2 (AUTH-05)."""
        return status in _NO_POST or (status == 405 and bool(credentials.username))

    def by_post(
        self,
        host: Host,
        realm: str,
        service: str | None,
        scopes: tuple[str, ...],
        credentials: Credentials,
    ) -> Token:
        """Get a token with the OAuth2 grant that fits the credentials."""
        form = {"scope": " ".join(scopes), "service": service or "", "client_id": CLIENT_ID}
        if credentials.username:
            form |= {"grant_type": "password", "username": credentials.username}
            form |= {"password": credentials.secret}
        else:
            form |= {"grant_type": "refresh_token", "refresh_token": credentials.secret}
        ask = Ask(
            "POST",
            realm,
            private=(("Content-Type", "application/x-www-form-urlencoded"),),
            tls=self.tls_of(host, realm),
            body=urlencode(form).encode(),
        )
        return self.read_token(ask, ("access_token",))

    def by_get(
        self,
        host: Host,
        realm: str,
        service: str | None,
        scopes: tuple[str, ...],
        credentials: Credentials,
    ) -> Token:
        """Get a token with a query, and HTTP Basic if there is a secret; each scope on its own."""
        parts = urlsplit(realm)
        query = parse_qsl(parts.query, keep_blank_values=True)
        query += [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        ask = Ask(
            "GET",
            urlunsplit(parts._replace(query=urlencode(query), fragment="")),
            private=(("Authorization", _basic(credentials)),) if credentials.secret else (),
            tls=self.tls_of(host, realm),
        )
        return self.read_token(ask, ("access_token", "token"))

    def tls_of(self, host: Host, realm: str) -> Any:
        """TLS for the realm: the registry's own where it is the same host."""
        same = (host.scheme, host.authority) == urlsplit(realm)[:2]
        return host.tls if same else self.transport.other_tls(host.tls, realm)

    def read_token(self, ask: Ask, names: tuple[str, ...]) -> Token:
        """Send a token request and read its answer; `names` are where the token may be."""
        where = safe_url(ask.url)
        asked = time.monotonic()
        # One hop: what is sent here is a secret, and a redirect's target isn't the realm.
        with self.sent(self.transport.hop, ask, self.pauses(), again=True) as answer:
            if answer.status != 200:
                answer.discard()
                raise AuthorizationFailed(
                    f"failed to fetch a token: {where} answered {answer.status}", answer.status
                )
            body = answer.read(LARGEST_TOKEN_ANSWER)
        document = self.document(body, where)
        value = self.token_in(document, names, where)
        return Token(value, asked + self.lifetime(document.get("expires_in")))

    def document(self, body: bytes, where: str) -> dict[str, Any]:
        """The token answer as an object; one of another form has no fields."""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise AuthorizationFailed(f"the token answer of {where} is not JSON") from None
        if self.quirks.typed_token_answers:
            compat_auth.check_types(document, where)
        return document if isinstance(document, dict) else {}

    def token_in(self, document: dict[str, Any], names: tuple[str, ...], where: str) -> str:
        """The token of an answer, under the first of its names that is there (AUTH-08, AUTH-10)."""
        value = next((value for name in names if (value := document.get(name))), None)
        if not isinstance(value, str) or not _TOKEN.fullmatch(value):
            raise AuthorizationFailed(f"{where} did not include a token in the response")
        return value

    def lifetime(self, expires_in: object) -> float:
        """Seconds that a token lives; what isn't a positive number means the default."""
        if isinstance(expires_in, int | float) and not isinstance(expires_in, bool):
            # An int may be too large for a float; a NaN is not above 0.
            return float(min(expires_in, _FOR_EVER)) if expires_in > 0 else DEFAULT_LIFETIME
        return DEFAULT_LIFETIME


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.secret}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
