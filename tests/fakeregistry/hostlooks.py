"""Looks and samples for the faults of hosts: redirects, challenges, tokens, negotiation, state.

What a token is worth shows only on later requests: `tried` makes them, for the rules that fired.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from seen import Seen

Look = Callable[[Any, Seen, Seen | None], bool]

INDEXES = ("index", "manifest.list")


def _json(seen: Seen) -> dict[str, Any]:
    try:
        found = json.loads(seen.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _header(seen: Seen, name: str) -> str:
    return seen.header(name) or ""


# redirects


def _redirect(fault: Any, seen: Seen, _: Seen | None) -> bool:
    location = seen.header("location")
    if seen.status != fault.code:
        return False
    if fault.form in ("no_location", "empty"):
        return location == (None if fault.form == "no_location" else "")
    begins = {
        "scheme_relative": "//",
        "query_only": "?",
        "parent": "../",
        "relative": "/",
        "userinfo": "http",
    }
    first = "" if fault.chain and fault.to else begins.get(fault.form, "")
    told = bool(location) and str(location).startswith(first)
    signed = fault.ttl is not None and not fault.chain
    return told and (not signed or "X-Signature=" in str(location))


def _upload_location(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    location = _header(seen, "location")
    return seen.method == "POST" and "://" in location


# challenges and tokens


def _challenge(fault: Any, seen: Seen, _: Seen | None) -> bool:
    texts = [fault.text] if isinstance(fault.text, str) else list(fault.text)
    said = seen.values("www-authenticate")
    # What stands in braces is filled in.
    begins = [text.partition("{")[0] for text in texts]
    return len(said) == len(texts) and all(
        one.startswith(begin) for one, begin in zip(said, begins, strict=True)
    )


def _no_challenge(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.status == 401 and not seen.values("www-authenticate")


def _expired_status(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.status == fault.code and "Authorization" in seen.asked


def _token_response(fault: Any, seen: Seen, _: Seen | None) -> bool:
    said = _json(seen)
    plain = {
        key: value
        for key, value in (fault.set or {}).items()
        if not (isinstance(value, str) and "{" in value)
    }
    there = all(key in said for key in fault.set or {})
    return there and plain.items() <= said.items() and not set(fault.drop) & set(said)


def _refused_later(_: Any, seen: Seen, __: Seen | None) -> bool:
    return bool(seen.worth) and 400 <= seen.worth[-1] < 500


def _token_post(fault: Any, seen: Seen, _: Seen | None) -> bool:
    body = fault.body is None or seen.body == fault.body.encode()
    return seen.method == "POST" and seen.status == fault.status and body


def _offline(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return "offline_token=true" in seen.path and seen.status == fault.status


def _scope_policy(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if fault.policy == "refuse_extra":
        return seen.status == 403
    return 401 in seen.worth


def _rotate(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.rotated


def _garbage(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.raw == fault.text.encode() and seen.end.startswith("fin")


# negotiation and what there is


def _negotiate(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    if fault.policy in ("strict", "not_acceptable"):
        return seen.status == (404 if fault.policy == "strict" else 406)
    kind = _header(seen, "content-type")
    other = honest is None or kind != honest.header("content-type")
    return seen.status == 200 and other and not any(word in kind for word in INDEXES)


def _tag_flip(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    told = _header(seen, "docker-content-digest")
    other = honest is None or told != honest.header("docker-content-digest")
    true = seen.method == "HEAD" or told == f"sha256:{hashlib.sha256(seen.body).hexdigest()}"
    return seen.status == 200 and other and true


def _deleted(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.status == 404


def _status(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.status == fault.status


HOST_LOOKS: Mapping[str, Look] = {
    "redirect": _redirect,
    "upload_location": _upload_location,
    "challenge": _challenge,
    "no_challenge": _no_challenge,
    "token_expired_status": _expired_status,
    "token_response": _token_response,
    "token_ttl": _refused_later,
    "token_uses": _refused_later,
    "token_always_rejected": _refused_later,
    "token_bound": _refused_later,
    "token_post": _token_post,
    "offline_token": _offline,
    "scope_policy": _scope_policy,
    "rotate_credentials": _rotate,
    "garbage": _garbage,
    "negotiate": _negotiate,
    "tag_flip": _tag_flip,
    "deleted": _deleted,
    "missing_repo": _status,
    "require_ns": _status,
    "reject_unknown_query": _status,
}

TRIED = frozenset(
    {"token_ttl", "token_uses", "token_always_rejected", "token_bound", "scope_policy"}
)


def tried(walk: Any, seen: Seen, faults: Mapping[str, Any]) -> list[int]:
    """The statuses of what the token that was just issued opens; with a limit, until it is met."""
    said = _json(seen)
    token = said.get("access_token") or said.get("token")
    query = parse_qs(urlsplit(seen.path).query)
    served = [
        one
        for one in walk.registries.registries.values()
        if getattr(one.auth, "service", None) in query.get("service", [])
    ]
    if not isinstance(token, str) or not served:
        return []
    scopes = " ".join(query.get("scope", [])).split()
    names = [scope.split(":", 1)[1].rpartition(":")[0] for scope in scopes]
    times = min(faults["token_uses"].n + 1, 5) if "token_uses" in faults else 1
    if "token_ttl" in faults:
        walk.registries.clock.advance(faults["token_ttl"].seconds)
    statuses = []
    # A token without a scope is for the ping alone.
    for name in (names or [""]) * times:
        path = f"/v2/{quote(name)}/tags/list" if name else "/v2/"
        asked = Seen(served[0].name, "GET", path, {})
        line = walk.line(served[0].name, "skip", "none")
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        line.ask(asked, head.encode(), 1 << 16)
        line.close()
        statuses.append(asked.status)
    return statuses


_HEAD = """
[[registry]]
tls = $TLS
[[registry]]
name = "cdn"
[[image]]
[[image]]
id = "other"
name = "app/other"
"""
_BEARER = """
[[registry]]
tls = $TLS
auth = { scheme = "bearer", user = "alice" }
[[image]]
[[image]]
name = "app/other"
"""
_INDEX = """
[[registry]]
tls = $TLS
[[image]]
platforms = ["linux/arm64", "linux/amd64"]
"""
_TWO_SCOPES = """
[[rule]]
lie = false
bait = true
on = "challenge"
challenge = '''Bearer realm="{realm}",service="{service}",\
scope="repository:app/web:pull repository:app/other:pull"'''
"""


def _rule(world: str, on: str, keys: str) -> str:
    return f'{world}[[rule]]\nbait = true\non = "{on}"\n{keys}\n'


HOST_SAMPLES: Mapping[str, str] = {
    "upload_location": _rule(_HEAD, "upload", 'upload_location = "cdn"'),
    "challenge": _rule(_BEARER, "challenge", 'challenge = ["Negotiate", "Basic"]'),
    "no_challenge": _rule(_BEARER, "ping", "no_challenge = true"),
    "token_expired_status": _rule(
        _rule(_BEARER, "token", "token_ttl = 0"), "challenge", "token_expired_status = 403"
    ),
    "token_response": _rule(
        _BEARER,
        "token",
        'token_response = { set = { expires_in = "300", token = "{wrong_token}" },'
        ' drop = ["access_token"] }',
    ),
    "token_ttl": _rule(_BEARER, "token", 'token_ttl = "2s"'),
    "token_uses": _rule(_BEARER, "token", "token_uses = 1"),
    "token_always_rejected": _rule(_BEARER, "token", "token_always_rejected = true"),
    "token_bound": _rule(_BEARER, "token", 'token_bound = { actions = ["push"] }'),
    "token_post": _rule(_BEARER, "token", 'token_post = { status = 200, body = "<html>" }'),
    "offline_token": _rule(_BEARER, "token", "offline_token = 401"),
    "scope_policy": _rule(_BEARER + _TWO_SCOPES, "token", 'scope_policy = "last_scope_wins"'),
    "rotate_credentials": _rule(_BEARER, "manifest", "rotate_credentials = true"),
    "garbage": _rule(_HEAD, "blob", 'garbage = "no HTTP"'),
    "negotiate": _rule(_INDEX, "manifest", 'negotiate = "list_only_if_accepted"'),
    "tag_flip": _rule(_HEAD, "manifest", 'tag_flip = { image = "other" }'),
    "deleted": _rule(_HEAD, "blob", "layer = 0\nafter = 1\ndeleted = true"),
    "missing_repo": _rule(_HEAD, "manifest", "missing_repo = 403"),
    "require_ns": _rule(_HEAD, "manifest", 'require_ns = "docker.io"'),
    "reject_unknown_query": _rule(_HEAD, "manifest", "reject_unknown_query = true"),
}
"""Whole files, in which `$TLS` stands for true or false."""
