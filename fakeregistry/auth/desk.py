"""The token endpoint: GET as Docker's token document has it, POST as its OAuth2 document has it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fakeregistry.messages import Reply, Request, error

from .answers import filled, issued_text, named
from .grants import PULL, granted, scope_text
from .tokens import BearerAuth, basic_credentials

if TYPE_CHECKING:
    from fakeregistry.registry import Registry


class TokenDesk:
    """The token endpoint of a registry: serves every registry that names it as its realm."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def _auth(self, service: str | None) -> BearerAuth | None:
        served = [
            registry.auth
            for registry in self._registry.topology.registries.values()
            if isinstance(registry.auth, BearerAuth)
            and registry.auth.realm_registry is self._registry
        ]
        if service is None:
            return served[0] if len(served) == 1 else None
        return next((auth for auth in served if auth.service == service), None)

    def answer_token(self, request: Request) -> Reply:
        """Answer a token request: GET with Basic credentials or none, or an OAuth2 POST."""
        if request.method == "POST":
            return self._post(request)
        if request.method not in ("GET", "HEAD"):
            return error(405, "UNSUPPORTED", "GET or POST", headers={"Allow": "GET, POST"})
        auth = self._auth(request.argument("service"))
        if auth is None:
            return error(400, "DENIED", "unknown service")
        given = basic_credentials(request)
        if given is None:
            if not auth.anonymous or request.header("authorization") is not None:
                return error(401, "UNAUTHORIZED", "authentication required")
        elif not auth.knows(*given):
            return error(401, "UNAUTHORIZED", "incorrect username or password")
        offline = request.argument("offline_token") == "true"
        if offline and auth.offline_token is not None:
            return error(auth.offline_token, "UNAUTHORIZED", "no refresh tokens are given here")
        scopes = [value for key, value in request.query if key == "scope"]
        user = None if given is None else given[0]
        return _token(auth, scopes, user, refresh=offline and given is not None)

    def _post(self, request: Request) -> Reply:
        form = dict(request.form)
        auth = self._auth(form.get("service"))
        if auth is None:
            return _oauth_error("invalid_request", "unknown service")
        if not auth.post:
            return error(405, "UNSUPPORTED", "only GET here", headers={"Allow": "GET"})
        scopes = [value for key, value in request.form if key == "scope"]
        offline = form.get("access_type") == "offline"
        match form.get("grant_type"):
            case "password":
                user = form.get("username", "")
                if not auth.knows(user, form.get("password", "")):
                    return _oauth_error("invalid_grant", "incorrect username or password")
                return _token(auth, scopes, user, refresh=offline, oauth=True)
            case "refresh_token":
                value = form.get("refresh_token", "")
                owner = auth.refreshed_user(value)
                if owner is None:
                    return _oauth_error("invalid_grant", "the refresh token is not valid")
                # The very same one comes back, and only to who asks for one.
                kept = value if offline else None
                return _token(auth, scopes, owner, oauth=True, kept=kept)
            case other:
                return _oauth_error("unsupported_grant_type", f"grant type {other}")


def _token(
    auth: BearerAuth,
    texts: list[str],
    user: str | None,
    *,
    refresh: bool = False,
    oauth: bool = False,
    kept: str | None = None,
) -> Reply:
    scopes = granted(texts, PULL if user is None else auth.rights(user), auth.scope_policy)
    if scopes is None:
        return error(403, "DENIED", "more is asked than is given here")
    value = auth.issue(scopes, user=user)
    field = auth.token_field
    # The OAuth2 document knows no other name than access_token.
    document: dict[str, Any] = named(
        value, auth.wrong_token, "access_token" if oauth and field == "both" else field
    )
    if oauth:
        document["scope"] = scope_text(scopes)
    if auth.expires_in is not None:
        document["expires_in"] = auth.expires_in
    now = auth.registry.topology.clock.date()
    if auth.issued_at is not None:
        document["issued_at"] = issued_text(auth.issued_at, now)
    if kept is not None:
        document["refresh_token"] = kept
    elif refresh and auth.refresh:
        document["refresh_token"] = auth.issue_refresh(user)
    words = {"token": value, "wrong_token": auth.wrong_token}
    document.update(filled(auth.extra, words, now))
    headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
    return Reply(200, headers, json.dumps(document).encode())


def _oauth_error(code: str, description: str) -> Reply:
    body = json.dumps({"error": code, "error_description": description}).encode()
    return Reply(400, (("Content-Type", "application/json"),), body)
