"""Reads ``auth`` of a registry: what it asks for, and where its challenges and tokens lie.

The keys are the arguments of `fakeregistry.basic` and `fakeregistry.bearer`. What stands in ``lie``
is left out of an honest world.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakeregistry.auth.answers import TOKEN_FIELDS
from fakeregistry.auth.grants import SCOPE_POLICIES
from fakeregistry.auth.guards import DENY_STATUSES
from fakeregistry.auth.tokens import basic, bearer
from fakeregistry.messages import KINDS

from .model import AuthPart
from .reader import Source, Table

SCHEMES = ("basic", "bearer")
Kinds = Mapping[str, str | tuple[str, ...]]

_COMMON: Kinds = {
    "users": "rights",
    "only": "texts",
    "repositories": "texts",
    "challenge": "text or texts",
    "no_challenge": "flag",
    "deny_status": "status",
}
_BEARER: Kinds = {
    "service": "text",
    "anonymous": "flag",
    "post": "flag",
    "refresh": "flag",
    "offline_token": "status",
    "token_field": TOKEN_FIELDS,
    "expires_in": "value",
    "issued_at": "text or number",
    "extra": "values",
    "token_ttl": "seconds",
    "token_uses": "number",
    "token_always_rejected": "flag",
    "token_expired_status": "status",
    "scope_policy": SCOPE_POLICIES,
}


def keys_of(scheme: str) -> Kinds:
    """The keys of one scheme, and what they take: a kind, or one of some words."""
    return _COMMON if scheme == "basic" else {**_COMMON, **_BEARER}


def read_auth(source: Source, table: Table) -> AuthPart | None:
    """Read the key ``auth``; None where there is none, or where it makes no sense."""
    if not table.has("auth"):
        return None
    value = table.take("auth")
    if isinstance(value, str):
        value = {"scheme": value}
    if not isinstance(value, dict):
        table.problem("auth", 'auth must be "basic", "bearer", or a table with scheme')
        return None
    inner = Table(source, value, (*table.place, "auth"))
    named = inner.has("scheme")
    scheme = inner.choice("scheme", SCHEMES, "")
    if not scheme and named:
        return None
    if not scheme:
        inner.problem("scheme", 'auth needs scheme = "basic" or "bearer"')
        return None
    several = inner.has("users")
    user = inner.text("user") or ("user" if scheme == "basic" and not several else None)
    realm = inner.text("realm") or None
    if realm and scheme == "basic":
        inner.problem("realm", "basic auth has no realm elsewhere: leave it out")
    settings = _settings(inner, scheme)
    lies = inner.table("lie")
    lie = {} if lies is None else _settings(lies, scheme)
    if lies is not None:
        lies.finish(keys_of(scheme))
    inner.finish(keys_of(scheme))
    try:
        # Each value by itself is of the right kind; whether it makes sense, these know.
        (basic if scheme == "basic" else bearer)(**{**settings, **lie})
    except ValueError as problem:
        inner.problem("", f"auth: {problem}")
    return AuthPart("basic" if scheme == "basic" else "bearer", user, realm, settings, lie)


def _settings(table: Table, scheme: str) -> dict[str, Any]:
    said = {}
    for key, kind in keys_of(scheme).items():
        if table.has(key):
            value = _read(table, key, kind)
            if value is not None or key == "expires_in":
                said[key] = value
    return said


def _read(table: Table, key: str, kind: str | tuple[str, ...]) -> Any:
    if isinstance(kind, tuple):
        return table.choice(key, kind, kind[0])
    match kind:
        case "text":
            return table.text(key)
        case "flag":
            return table.flag(key)
        case "texts":
            return table.texts(key)
        case "status":
            return table.integer(key, least=200)
        case "number":
            return table.integer(key, least=1)
        case "seconds":
            return table.seconds(key)
        case "values":
            return table.values(key)
        case "rights":
            return _rights(table, key)
    value = table.take(key)
    if kind == "value":
        return None if value is False else value
    if isinstance(value, str) or (kind == "text or number" and type(value) in (int, float)):
        return value
    texts = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    if kind == "text or texts" and texts:
        return tuple(value)
    wanted = "a text, or seconds from now" if "number" in kind else "a text, or a list of texts"
    table.problem(key, f"{key} = {value!r}: it must be {wanted}")
    return None


def _rights(table: Table, key: str) -> dict[str, tuple[str, ...]]:
    said = table.values(key)
    for user, rights in said.items():
        if not isinstance(rights, list) or not all(isinstance(one, str) for one in rights):
            table.problem(key, f'{user} = {rights!r}: it must be a list such as ["app/web:pull"]')
            return {}
    return {user: tuple(rights) for user, rights in said.items()}


def auth_schema(text: Any, texts: Any, flag: Any, time: Any) -> dict[str, Any]:
    """The JSON Schema of ``auth``; the arguments are the schemas of the usual kinds."""
    kinds: dict[str, Any] = {
        "text": text,
        "flag": flag,
        "texts": texts,
        "status": {"type": "integer", "minimum": 200, "maximum": 599},
        "number": {"type": "integer", "minimum": 1},
        "seconds": time,
        "values": {"type": "object"},
        "rights": {"type": "object", "additionalProperties": texts},
        "value": {},
        "text or number": {"anyOf": [text, {"type": "number"}]},
        "text or texts": {"anyOf": [text, texts]},
    }
    keys = {
        key: {"enum": list(kind)} if isinstance(kind, tuple) else kinds[kind]
        for key, kind in keys_of("bearer").items()
    }
    keys["only"] = {"type": "array", "items": {"enum": list(KINDS)}}
    keys["deny_status"] = {"enum": list(DENY_STATUSES)}
    return {
        "anyOf": [
            {"enum": list(SCHEMES)},
            {
                "type": "object",
                "properties": {
                    "scheme": {"enum": list(SCHEMES)},
                    "user": text,
                    "realm": text,
                    **keys,
                    "lie": {
                        "description": "left out of an honest world",
                        "type": "object",
                        "properties": keys,
                        "additionalProperties": False,
                    },
                },
                "required": ["scheme"],
                "additionalProperties": False,
            },
        ]
    }
