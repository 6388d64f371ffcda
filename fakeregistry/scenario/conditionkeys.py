"""Conditions as keys of a rule, and of an expectation: those of `registry.on`, with its names.

Two are called otherwise, because a fault has the name: `with_header` and `with_alpn`. A mistake in
a value is told in the words of `fakeregistry.rules.conditions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakeregistry.rules.conditions import ALPN, AUTHZ, When

from .model import METHODS
from .reader import Table, size_of

ASKING = (
    "method",
    "range",
    "accept",
    "authorized",
    "authz",
    "with_header",
    "query",
    "with_alpn",
    "repo",
    "tag",
)
"""What is asked of a request: for rules, and for `[[expect.requests]]`."""
AROUND = ("concurrency", "bytes_sent_at_least", "time_at_least", "after_rule", "chance")
"""What is asked of its registry: for rules alone."""

_CALLED = {"with_header": "header", "with_alpn": "alpn"}


def asking_of(table: Table) -> dict[str, Any]:
    """Read what is asked of a request, as `registry.on` and `registry.requests` take it."""
    return _checked(
        table,
        {
            "method": table.choice("method", METHODS, "") or None,
            "range": _range(table),
            "accept": _named(table, "accept"),
            "authorized": _flag(table, "authorized"),
            "authz": _named(table, "authz"),
            "with_header": _wanted(table, "with_header"),
            "query": _wanted(table, "query"),
            "with_alpn": table.text("with_alpn") or None,
            "repo": table.text("repo") or None,
            "tag": table.text("tag") or None,
        },
    )


def around_of(table: Table) -> dict[str, Any]:
    """Read what is asked of the registry around a request, as `registry.on` takes it."""
    chance = table.take("chance")
    if chance is not None and (isinstance(chance, bool) or not isinstance(chance, int | float)):
        table.problem("chance", f"chance = {chance!r}: it must be a number from 0 to 1")
        chance = None
    sent = table.size("bytes_sent_at_least", 0) if table.has("bytes_sent_at_least") else None
    return _checked(
        table,
        {
            "concurrency": table.integer("concurrency", least=1),
            "bytes_sent_at_least": sent,
            "time_at_least": table.seconds("time_at_least"),
            "after_rule": table.text("after_rule") or None,
            "chance": chance,
        },
    )


def words_of(conditions: Mapping[str, Any]) -> str:
    """Conditions as a person says them, or nothing."""
    return When.of(**conditions).words


def _checked(table: Table, given: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions that stand there, each checked alone, so that its line is known."""
    kept: dict[str, Any] = {}
    for key, value in given.items():
        if value is None:
            continue
        name = _CALLED.get(key, key)
        try:
            When.of(**{name: value})
        except ValueError as problem:
            table.problem(key, str(problem))
        else:
            kept[name] = value
    return kept


def _flag(table: Table, key: str) -> bool | None:
    return table.flag(key) if table.has(key) else None


def _range(table: Table) -> bool | dict[str, Any] | None:
    value = table.take("range")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        sizes = {key: size_of(one) for key, one in value.items() if isinstance(one, str)}
        return value | {key: size for key, size in sizes.items() if size is not None}
    wanted = 'true, false, or a table such as { start = 0, end = "open" }'
    table.problem("range", f"range = {value!r}: it must be {wanted}")
    return None


def _named(table: Table, key: str) -> str | dict[str, Any] | None:
    value = table.take(key)
    if value is None or isinstance(value, str | dict):
        return value
    table.problem(key, f"{key} = {value!r}: it must be a text or a table")
    return None


def _wanted(table: Table, key: str) -> dict[str, Any] | None:
    """A name that must be there, or names with what is wanted of their values."""
    value = table.take(key)
    if value is None:
        return None
    if isinstance(value, str):
        return {value: True}
    if isinstance(value, dict) and all(
        isinstance(one, str | bool | dict) for one in value.values()
    ):
        return value
    wanted = 'text, true/false or { matches = "…" }'
    table.problem(key, f"{key} must be a name, or {{ name = {wanted} }}")
    return None


# the JSON Schema

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}


def _table(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def asking_schema(size: dict[str, Any]) -> dict[str, Any]:
    """The schema of what is asked of a request; `size` is that of a number of bytes."""
    bound = {"anyOf": [_COUNT, size]}
    wanted = {"anyOf": [_TEXT, {"type": "boolean"}, _table(matches=_TEXT)]}
    named = {"anyOf": [_TEXT, {"type": "object", "additionalProperties": wanted}]}
    kind = {"enum": list(AUTHZ)}
    return {
        "method": {"description": "the method of the request", "enum": list(METHODS)},
        "range": {
            "description": "whether there is a Range header; or its first byte, its last one "
            '("open": without an end), its last n bytes, or whether it asks for several ranges',
            "anyOf": [
                {"type": "boolean"},
                _table(
                    start=bound,
                    end={"anyOf": [{"const": "open"}, bound]},
                    suffix=bound,
                    multirange={"type": "boolean"},
                ),
            ],
        },
        "accept": {
            "description": "a media type that Accept names, or one that it lacks",
            "anyOf": [_TEXT, _table(includes=_TEXT, lacks=_TEXT)],
        },
        "authorized": {
            "description": "whether there is an Authorization header",
            "type": "boolean",
        },
        "authz": {
            "description": "the kind of Authorization, and the user whom it speaks for",
            "anyOf": [kind, _table(kind=kind, subject=_TEXT)],
        },
        "with_header": {"description": "a header, and what is wanted of its value", **named},
        "query": {"description": "a name in the query, and what is wanted of its value", **named},
        "with_alpn": {
            "description": "the protocol by which the request came; without ALPN http/1.1",
            "enum": list(ALPN),
        },
        "repo": {"description": "the repository that is asked for", **_TEXT},
        "tag": {"description": "the tag that is asked for", **_TEXT},
    }


def around_schema(size: dict[str, Any], time: dict[str, Any]) -> dict[str, Any]:
    """The schema of what is asked of the registry around; `size` and `time` as elsewhere."""
    return {
        "concurrency": {
            "description": "so many exchanges of this target are under way, this one included",
            "type": "integer",
            "minimum": 1,
        },
        "bytes_sent_at_least": size
        | {"description": "so many body bytes were sent by the registry"},
        "time_at_least": time | {"description": "so many seconds on the registry's clock"},
        "after_rule": {"description": "the name of a rule that has fired", **_TEXT},
        "chance": {
            "description": "from 0 to 1: who is lucky follows from the seed",
            "type": "number",
            "minimum": 0,
            "maximum": 1,
        },
    }
