"""The part of JSON Schema that the shipped schemas use, with errors that a person can act on.

A full validator would be one more dependency for every user; the schemas stay ordinary 2020-12
ones (the tests run them through `jsonschema`), and this reads: ``type``, ``enum``, ``const``,
``pattern``, ``properties``, ``required``, ``additionalProperties``, ``items``, ``minItems``,
``minLength``, ``minimum``, ``exclusiveMinimum``, ``$ref`` into ``$defs``, and ``oneOf`` whose
branches are told apart by a ``const``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["problem_of", "schema"]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


@cache
def schema(name: str) -> Mapping[str, Any]:
    """The shipped schema ``conformance/schemas/<name>.schema.json``."""
    text = (files("conformance") / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def problem_of(document: Any, against: Mapping[str, Any]) -> str | None:
    """The first thing in `document` that its schema forbids, in one line; None: it is valid."""
    return next(_problems(document, against, against, ""), None)


def _problems(
    value: Any, rule: Mapping[str, Any], whole: Mapping[str, Any], where: str
) -> Iterator[str]:
    if "$ref" in rule:
        yield from _problems(value, whole["$defs"][rule["$ref"].rpartition("/")[2]], whole, where)
    at = where or "the document"
    kind = rule.get("type")
    if kind is not None and not _is(value, kind):
        yield f"{at} must be of type {kind}, not {_shown(value)}"
        return
    if "const" in rule and value != rule["const"]:
        yield f"{at} must be {rule['const']!r}, not {_shown(value)}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{at} must be one of {', '.join(map(str, rule['enum']))}, not {_shown(value)}"
    if isinstance(value, str):
        if "pattern" in rule and re.search(rule["pattern"], value) is None:
            yield f"{at} must look like {rule['pattern']}, not {_shown(value)}"
        if len(value) < rule.get("minLength", 0):
            yield f"{at} must not be empty"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "minimum" in rule and value < rule["minimum"]:
            yield f"{at} must be at least {rule['minimum']}, not {value}"
        if "exclusiveMinimum" in rule and value <= rule["exclusiveMinimum"]:
            yield f"{at} must be more than {rule['exclusiveMinimum']}, not {value}"
    if isinstance(value, list):
        if len(value) < rule.get("minItems", 0):
            yield f"{at} must not be empty"
        for number, item in enumerate(value):
            yield from _problems(item, rule.get("items", {}), whole, f"{where}[{number}]")
    if isinstance(value, dict):
        yield from _members(value, rule, whole, where)
    if "oneOf" in rule:
        yield from _branch(value, rule["oneOf"], whole, where)


def _members(
    value: dict[str, Any], rule: Mapping[str, Any], whole: Mapping[str, Any], where: str
) -> Iterator[str]:
    known: Mapping[str, Any] = rule.get("properties", {})
    other = rule.get("additionalProperties", True)
    for key, member in value.items():
        path = f"{where}.{key}" if where else key
        if key in known:
            if known[key] is not True:
                yield from _problems(member, known[key], whole, path)
        elif other is False:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            yield f"unknown key {path!r}{hint}"
        elif other is not True:
            yield from _problems(member, other, whole, path)
    for key in rule.get("required", ()):
        if key not in value:
            yield f"{where or 'the document'} lacks the key {key!r}"


def _branch(
    value: Any, branches: list[Mapping[str, Any]], whole: Mapping[str, Any], where: str
) -> Iterator[str]:
    """Judge by the branch whose constants fit: its message is the one that helps."""
    for branch in branches:
        constants = {
            key: rule["const"]
            for key, rule in branch.get("properties", {}).items()
            if isinstance(rule, dict) and "const" in rule
        }
        if isinstance(value, dict) and all(value.get(k) == v for k, v in constants.items()):
            yield from _problems(value, branch, whole, where)
            return
    yield f"{where or 'the document'} fits none of the forms that are allowed"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind != "boolean":
        return False
    return isinstance(value, _TYPES[kind])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
