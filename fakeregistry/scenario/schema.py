"""The JSON Schema of scenario files, for editors. `check` knows more: names, ranges, what fits.

Faults come from :data:`fakeregistry.faults.FAULTS`, so a new one is in the schema by itself.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from fakeregistry.faults import FAULTS
from fakeregistry.rules.rule import SCOPES

from .asked import AUTHS, CAPABILITIES, CLIENT_CERTIFICATES, DECRYPTION_KEYS, OUTCOMES, TRUSTS
from .authparts import auth_schema
from .conditionkeys import around_schema, asking_schema
from .contentschema import image_schema, layer_schema
from .faultkeys import choices, needed, parameters
from .model import ADDRESSES, LISTENING, TARGETS, TLS
from .objects import PARTS
from .reader import SIZE, TIME

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_FLAG: Schema = {"type": "boolean"}
_SIZE: Schema = {
    "description": 'bytes: 4096 or "64KiB"',
    "anyOf": [{"type": "integer"}, {"type": "string", "pattern": rf"^\s*{SIZE}\s*$"}],
}
_TIME: Schema = {
    "description": 'seconds: 2.5 or "10s"',
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": rf"^\s*{TIME}\s*$"}],
}
_NONE: Schema = {"enum": [False, "forever"]}
_TEXTS_BY_NAME: Schema = {"type": "object", "additionalProperties": _TEXT}


def schema() -> Schema:
    """The JSON Schema (draft 2020-12) of a scenario file, as plain data."""
    return {
        "$schema": DRAFT,
        "title": "A scenario of fakeregistry",
        **_table(
            {
                "incident": _ref("incident"),
                "registry": _one_or_more("registry"),
                "proxy": _one_or_more("proxy"),
                "image": _one_or_more("image"),
                "rule": _one_or_more("rule"),
                "pull": _one_or_more("pull"),
                "expect": _ref("expect"),
            },
            required=("image",),
        ),
        "$defs": {
            "incident": _incident(),
            "registry": _registry(),
            "proxy": _proxy(),
            "image": image_schema(),
            "layer": layer_schema(),
            "rule": _rule(),
            "pull": _pull(),
            "host": _host(),
            "expect": _expect(),
            "requests": _requests(),
            "connections": _table({"registry": _TEXT, **_BOUNDS}),
        },
        "dependentRequired": {"pull": ["expect"], "expect": ["pull"]},
    }


def _table(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    table: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return table | ({"required": list(required)} if required else {})


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _many(name: str) -> Schema:
    return {"type": "array", "items": _ref(name)}


def _one_or_more(name: str) -> Schema:
    return {"anyOf": [_ref(name), _many(name)]}


def _words(*words: str) -> Schema:
    return {"enum": list(words)}


def _count(least: int) -> Schema:
    return {"type": "integer", "minimum": least}


_BOUNDS: Schema = dict.fromkeys(("at_least", "at_most"), _count(0))


def _incident() -> Schema:
    texts = dict.fromkeys(("title", "id", "did", "wrong", "right", "case"), _TEXT)
    return _table({**texts, "links": _TEXTS}, ("title",))


def _registry() -> Schema:
    return _table(
        {
            "name": {"type": "string", "pattern": "^[a-z0-9-]+$"},
            "tls": {"enum": [True, False, *TLS]},
            "client_certificate": _FLAG,
            "auth": auth_schema(_TEXT, _TEXTS, _FLAG, _TIME),
            "listening": _words(*LISTENING),
            "address": _words(*ADDRESSES),
            "http2": _FLAG,
            "max_concurrent_streams": _count(0),
            "host": _TEXT,
            "prefix": {"type": "string", "pattern": "^/"},
            "canary": _FLAG,
        }
    )


def _proxy() -> Schema:
    known = _registry()["properties"]
    names = ("name", "tls", "client_certificate", "auth", "listening", "address", "host")
    return _table({name: known[name] for name in names})


def _target() -> Schema:
    return {
        "on": _words(*TARGETS),
        "registry": _TEXT,
        "image": _TEXT,
        "layer": _count(0),
        "digest": _TEXT,
        "platform": _TEXT,
        "by": _words("tag", "digest"),
        **asking_schema(_SIZE),
    }


def _rule() -> Schema:
    return _table(
        {
            **_target(),
            "always": _FLAG,
            **dict.fromkeys(("first", "nth", "after", "every"), _count(1)),
            "once": {"description": "only the first time", "const": True},
            "per": {"description": "what the window counts for", **_words(*SCOPES)},
            **around_schema(_SIZE, _TIME),
            **dict.fromkeys(("observe", "bait", "lie"), _FLAG),
            "name": {"description": "what other rules call this one by", **_TEXT},
            **{name: _fault(make) for name, make in FAULTS.items()},
        },
        ("on",),
    )


def _pull() -> Schema:
    others = _table({"of": _TEXT}, ("of",))
    proxies = _table({"name": _TEXT, "auth": _words(*AUTHS)}, ("name",))
    return _table(
        {
            "image": _TEXT,
            "platform": _TEXT,
            "by_digest": _FLAG,
            "auth": {"anyOf": [_words(*AUTHS), others]},
            "trust": _words(*TRUSTS),
            "client_certificate": _words(*CLIENT_CERTIFICATES),
            "decryption_key": _words(*DECRYPTION_KEYS),
            "plain_http": _FLAG,
            "http2": _FLAG,
            "proxy": {"anyOf": [_TEXT, proxies]},
            "hosts": {"type": "array", "items": {"anyOf": [_TEXT, _ref("host")]}},
            "headers": _TEXTS_BY_NAME,
            "timeout": _TIME,
            "progress_timeout": _TIME,
            "max_concurrent_downloads": _count(1),
            "times": _count(1),
            "parallel": _count(1),
            "store": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$"},
            **dict.fromkeys(("cancel_at", "kill_at", "leave_at"), _TEXT),
            "without": _TEXTS,
            "outcome": _words(*OUTCOMES),
        }
    )


def _host() -> Schema:
    return _table(
        {
            "registry": _TEXT,
            "server": _FLAG,
            "capabilities": {"type": "array", "items": _words(*CAPABILITIES)},
            "path": {"type": "string", "pattern": "^(/|$)"},
            "override_path": _FLAG,
            "headers": _TEXTS_BY_NAME,
            "dial_timeout": _TIME,
            "trust": _words(*TRUSTS),
            "client_certificate": _FLAG,
            "resolves": _FLAG,
        },
        ("registry",),
    )


def _expect() -> Schema:
    return _table(
        {
            "outcome": _words(*OUTCOMES),
            **dict.fromkeys(("content", "rootfs", "absent", "no_leak"), _FLAG),
            "requests": _many("requests"),
            "connections": _many("connections"),
            "untouched": _TEXTS,
            "fetched_at_most": {"type": "number", "minimum": 1},
            "at_least_s": _TIME,
            "at_most_s": _TIME,
            "requirements": _TEXTS,
            "capabilities": _TEXTS,
        },
        ("outcome",),
    )


def _requests() -> Schema:
    further = {"in_flight_at_most": _count(1), "bytes_at_most": _SIZE, "apart_s": _TIME}
    return _table({**_target(), **_BOUNDS, **further}, ("on",))


def _fault(make: Any) -> Schema:
    """A fault: its first argument alone, a table of arguments, or `true` for the defaults."""
    hints, must = parameters(make), needed(make)
    arguments = {name: _argument(hint) for name, hint in hints.items()}
    forms: list[Schema] = []
    if not must:
        forms.append({"const": True})
    if not must - set(list(hints)[:1]):
        forms += list(arguments.values())[:1]
    forms.append(_table(arguments, tuple(name for name in hints if name in must)))
    return {"description": summary(make), "anyOf": forms}


def _argument(hint: Any) -> Schema:
    allowed = choices(hint)
    if Any in allowed or object in allowed:
        return {}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _argument(get_args(hint)[0]), "minItems": 1}
    forms: list[Schema] = []
    if int in allowed:
        forms.append(_SIZE)
    elif float in allowed:
        forms.append(_TIME)
    if str in allowed or bytes in allowed:
        forms.append(_TEXT)
    if bytes in allowed:
        forms.append(_object())
    if bool in allowed:
        forms.append(_FLAG)
    forms += [_argument(one) for one in allowed if get_origin(one) is tuple]
    if any(get_origin(one) is Mapping for one in allowed):
        forms.append({"type": "object"})
    if type(None) in allowed:
        forms.append(_NONE)
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _object() -> Schema:
    """An object that the file names where a fault takes bytes."""
    return _table(
        {"image": _TEXT, "layer": _count(0), "part": _words(*PARTS), "platform": _TEXT}
    ) | {"minProperties": 1}


def summary(make: Any) -> str:
    """The first sentences of a fault's own description, on one line."""
    return (inspect.getdoc(make) or "").partition("\n\n")[0].replace("\n", " ")


def signature(make: Any) -> str:
    """A fault's arguments as they stand in a rule: `n, terminated = false`."""
    told = []
    for item in dataclasses.fields(make):
        if item.default is dataclasses.MISSING:
            told.append(item.name)
        else:
            told.append(f"{item.name} = {_shown(item.default)}")
    return ", ".join(told)


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "true" if value is True else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
