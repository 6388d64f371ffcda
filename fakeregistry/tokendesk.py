"""The token endpoint: GET as Docker's token document has it, POST as its OAuth2 document has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .messages import Reply, Request, error
from .tokens import BearerAuth, Scope, basic_credentials

if TYPE_CHECKING:
    from .registry import Registry


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
        scopes = parse_scopes([value for key, value in request.query if key == "scope"])
        given = basic_credentials(request)
        if given is None:
            if not auth.anonymous or request.header("authorization") is not None:
                return error(401, "UNAUTHORIZED", "authentication required")
            scopes = frozenset(scope for scope in scopes if scope[1] == "pull")
        elif not auth.knows(*given):
            return error(401, "UNAUTHORIZED", "incorrect username or password")
        offline = request.argument("offline_token") == "true" and given is not None
        user = None if given is None else given[0]
        return _token(auth, scopes, refresh=offline, user=user)

    def _post(self, request: Request) -> Reply:
        form = dict(request.form)
        auth = self._auth(form.get("service"))
        if auth is None:
            return _oauth_error("invalid_request", "unknown service")
        if not auth.post:
            return error(405, "UNSUPPORTED", "only GET here", headers={"Allow": "GET"})
        scopes = parse_scopes([value for key, value in request.form if key == "scope"])
        match form.get("grant_type"):
            case "password":
                if not auth.knows(form.get("username", ""), form.get("password", "")):
                    return _oauth_error("invalid_grant", "incorrect username or password")
                offline = form.get("access_type") == "offline"
                user = form.get("username")
                return _token(auth, scopes, refresh=offline, oauth=True, user=user)
            case "refresh_token":
                if not auth.knows_refresh(form.get("refresh_token", "")):
                    return _oauth_error("invalid_grant", "the refresh token is not valid")
                user, kept = auth.credentials.username, form["refresh_token"]
                return _token(auth, scopes, oauth=True, kept=kept, user=user)
            case other:
                return _oauth_error("unsupported_grant_type", f"grant type {other}")


def _token(
    auth: BearerAuth,
    scopes: frozenset[Scope],
    *,
    refresh: bool = False,
    oauth: bool = False,
    kept: str | None = None,
    user: str | None = None,
) -> Reply:
    value = auth.issue(scopes, user=user)
    document: dict[str, Any] = {}
    if auth.token_field in ("both", "token") and not (oauth and auth.token_field == "both"):
        document["token"] = value
    if auth.token_field in ("both", "access_token"):
        document["access_token"] = value
    if oauth:
        document["scope"] = " ".join(
            f"repository:{name}:{action}" for name, action in sorted(scopes)
        )
    if auth.expires_in is not None:
        document["expires_in"] = auth.expires_in
    if kept is not None:
        document["refresh_token"] = kept
    elif refresh and auth.refresh:
        document["refresh_token"] = auth.issue_refresh()
    document.update(auth.extra)
    headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
    return Reply(200, headers, json.dumps(document).encode())


def _oauth_error(code: str, description: str) -> Reply:
    body = json.dumps({"error": code, "error_description": description}).encode()
    return Reply(400, (("Content-Type", "application/json"),), body)


def parse_scopes(texts: Sequence[str]) -> frozenset[Scope]:
    """Parse scopes (`repository:app/web:pull,push`, several by blanks) into pairs."""
    found = set()
    for text in " ".join(texts).split():
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind.partition("(")[0] == "repository" and name:
            found |= {(name, action) for action in actions.split(",") if action}
    return frozenset(found)
